//! A part of a tape: which calls are meant, which others they can't do without, and what is left out.
//!
//! What the calls of a slice show may come from calls that are not in it. Those that changed what its calls are about are sent as well,
//! where they are of its time, and those that pull the images that it names. What else its calls follow from is kept, to tell
//! afterwards why they differ.

use std::collections::{BTreeSet, HashMap};

use cri::{IdentityKind, v1};
use critape_calls::{Call, CallId, Ending, ObjectIndex, ObjectName, SandboxKey, Stamp};
use critape_tape::{Tape, TapeError};
use prost::Message as _;

use crate::judging::left_out::LeftOut;
use crate::recording::followed::{Change, Uses, followed};
use crate::recording::survey::Survey;
use crate::recording::{changes_objects, each_call, is_event_stream, is_object, request_ids, response_ids};
use crate::sending::images::full;

/// Says which calls are replayed.
pub type Select<'a> = dyn Fn(&Call, &ObjectIndex) -> bool + 'a;

/// Which part of a tape is replayed.
#[expect(missing_debug_implementations, reason = "functions have no form")]
pub struct Selection<'a> {
    /// The calls that are meant.
    pub calls: &'a Select<'a>,
    /// When it begins: what was changed before goes along only where it is an image that was pulled.
    pub since: Option<Stamp>,
    /// When it ends: what streams showed from then on is not expected.
    pub until: Option<Stamp>,
}

/// A pull or a removal of an image that went well.
#[derive(Debug)]
pub(crate) struct ImageChange {
    pub(crate) call: CallId,
    pub(crate) at: Stamp,
    pub(crate) is_pull: bool,
    /// Whether it is replayed.
    pub(crate) is_sent: bool,
    /// What the image is called by it.
    pub(crate) names: BTreeSet<String>,
}

/// What has to be known of a slice before its calls are read.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// Calls that are sent though they are not meant.
    needed: BTreeSet<CallId>,
    pub(crate) left_out: LeftOut,
    /// All of the tape's: calls may name what is told of later.
    pub(crate) objects: ObjectIndex,
}

impl Slice {
    pub(crate) fn of(tape: &Tape, selection: &Selection<'_>) -> Result<Self, TapeError> {
        let mut survey = Survey::default();
        each_call(tape, &mut survey, |_, _| {})?;
        let mut parts = Parts::default();
        each_call(tape, &mut Survey::default(), |_, call| {
            let is_sent = (selection.calls)(&call, &survey.objects);
            parts.take(&call, is_sent, &survey.objects);
        })?;
        let Parts { mut left_out, mut changes, uses, mut images, all_images } = parts;
        left_out.images.sort_by_key(|change| change.at);
        let is_early = |at: Stamp| selection.since.is_some_and(|since| at < since);
        let (early, of_its_time) = changes.into_iter().partition(|change: &Change| is_early(change.started));
        changes = of_its_time;
        let followed = followed(&changes, uses, |id| survey.trajectory.sandbox_of(id));
        let mut needed = BTreeSet::new();
        for (place, change) in changes.into_iter().enumerate() {
            if followed.contains(&place) {
                needed.insert(change.call);
                change.images.into_iter().for_each(|it| images.entry(it).or_default().push(change.started));
            } else {
                left_out.note((change.started, change.call), change.concerned());
            }
        }
        early
            .into_iter()
            .for_each(|change: Change| left_out.note((change.started, change.call), change.concerned()));
        for (image, times) in images {
            let names = survey.needs.all_names(&image);
            needed.extend(times.into_iter().filter_map(|at| left_out.last_unsent(&names, at)));
        }
        for change in &mut left_out.images {
            let is_shown = all_images.is_some_and(|until| change.at < until) && !is_early(change.at);
            if is_shown && !change.is_sent {
                needed.insert(change.call);
            }
            change.is_sent |= needed.contains(&change.call);
        }
        Ok(Self { needed, left_out, objects: survey.objects })
    }

    /// Whether the calls that are meant can't do without this one.
    pub(crate) fn needs(&self, call: &Call) -> bool {
        self.needed.contains(&call.id)
    }
}

/// What a slice is made of, and what else the tape has.
#[derive(Debug, Default)]
struct Parts {
    left_out: LeftOut,
    /// Changes of objects that are not meant.
    changes: Vec<Change>,
    /// What the meant calls are about.
    uses: Uses,
    /// When they name which images.
    images: HashMap<String, Vec<Stamp>>,
    /// Up to when they show all images.
    all_images: Option<Stamp>,
}

impl Parts {
    fn take(&mut self, call: &Call, is_sent: bool, objects: &ObjectIndex) {
        if let Some(change) = image_change(call, is_sent) {
            self.left_out.images.push(change);
            return;
        }
        let named = || subjects(call, objects);
        if is_sent {
            images_of(call).for_each(|image| self.images.entry(image).or_default().push(call.started));
            match shows(call) {
                Some(All::Images) => self.all_images = self.all_images.max(Some(call.ended)),
                Some(All::Objects) => self.uses.note_all(call.ended),
                None => self.uses.note(named(), call.ended),
            }
        } else if changes_objects(call) {
            let (changed, named) = (changed(call, objects), named());
            let (call, started, images) = (call.id, call.started, images_of(call).collect());
            self.changes.push(Change { call, started, changed, named, images });
        }
    }
}

/// What a call shows that names nothing.
#[derive(Clone, Copy, Debug)]
enum All {
    Images,
    Objects,
}

/// Whether a call shows whatever there is.
fn shows(call: &Call) -> Option<All> {
    let name = call.method()?.name.as_str();
    match name {
        "ListImages" | "ImageFsInfo" => Some(All::Images),
        "GetContainerEvents" => Some(All::Objects),
        _ if name.starts_with("List") && request_ids(call).is_empty() => Some(All::Objects),
        _ => None,
    }
}

/// A stream of events without what came when the slice had ended.
pub(crate) fn cut(call: Call, until: Option<Stamp>) -> Call {
    let Some(until) = until.filter(|until| is_event_stream(&call) && call.ended > *until) else {
        return call;
    };
    let mut call = Call { ended: until, ..call };
    call.responses.retain(|message| message.at < until);
    // Whatever ended it then.
    call.outcome.ending = Ending::Cancelled;
    call
}

fn image_change(call: &Call, is_sent: bool) -> Option<ImageChange> {
    let name = call.method().filter(|_| call.outcome.is_ok())?.name.as_str();
    let is_pull = match name {
        "PullImage" => true,
        "RemoveImage" => false,
        _ => return None,
    };
    let told = response_ids(call).into_iter().map(|(_, id, _)| id);
    let names = images_of(call).chain(told).flat_map(|name| [full(&name), Some(name)]).flatten();
    Some(ImageChange { call: call.id, at: call.started, is_pull, is_sent, names: names.collect() })
}

fn images_of(call: &Call) -> impl Iterator<Item = String> {
    let ids = request_ids(call).into_iter().filter(|(kind, _)| *kind == IdentityKind::Image);
    ids.map(|(_, image)| image)
}

/// The sandboxes and containers that a call names, makes or asks for, by id and by what pods are called.
pub(crate) fn subjects(call: &Call, objects: &ObjectIndex) -> Vec<String> {
    let made = response_ids(call).into_iter().filter(|(_, _, produced)| *produced);
    let ids = request_ids(call).into_iter().chain(made.map(|(kind, id, _)| (kind, id)));
    let ids: Vec<String> = ids.filter(|(kind, _)| is_object(*kind)).map(|(_, id)| id).collect();
    let pods = ids.iter().filter_map(|id| match objects.name(id) {
        Some(ObjectName::Sandbox(key)) => Some(pod_name(key)),
        _ => None,
    });
    let pods: Vec<String> = pods.chain(asked_for(call)).collect();
    ids.into_iter().chain(pods).collect()
}

/// Those of them that are otherwise after it: what makes something changes that alone.
fn changed(call: &Call, objects: &ObjectIndex) -> Vec<String> {
    let made = response_ids(call).into_iter().filter(|(_, _, produced)| *produced);
    let made: Vec<String> = made.map(|(_, id, _)| id).collect();
    match call.method().map(|method| method.name.as_str()) {
        Some("CreateContainer") => made,
        Some("RunPodSandbox") => made.into_iter().chain(asked_for(call)).collect(),
        _ => subjects(call, objects),
    }
}

/// The pod that a `RunPodSandbox` asks for, which may not be made.
fn asked_for(call: &Call) -> Option<String> {
    let bytes = call.request().filter(|_| call.method().is_some_and(|it| it.name == "RunPodSandbox"))?;
    let metadata = v1::RunPodSandboxRequest::decode(bytes.as_ref()).ok()?.config?.metadata?;
    let v1::PodSandboxMetadata { name, uid, namespace, attempt } = metadata;
    Some(pod_name(&SandboxKey { namespace, name, uid, attempt }))
}

/// Two sandboxes of one name are in each other's way. No id has blanks in it.
fn pod_name(key: &SandboxKey) -> String {
    format!("{} {} {} {}", key.namespace, key.name, key.uid, key.attempt)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::made_up::{call, ms};

    fn pull(id: u64, at: u64, image: &str) -> Call {
        let image = v1::ImageSpec { image: image.to_owned(), ..Default::default() };
        let asked = v1::PullImageRequest { image: Some(image), ..Default::default() };
        let said = v1::PullImageResponse { image_ref: "sha256:a".to_owned() };
        call(id, "PullImage", (at, at + 1), &asked, &said)
    }

    #[test]
    fn an_image_is_there_by_its_last_pull() {
        let mut left_out = LeftOut::default();
        let pulls = [pull(1, 10, "app:1"), pull(2, 20, "app:1"), pull(3, 30, "other:1")];
        left_out.images = pulls.iter().filter_map(|call| image_change(call, false)).collect();
        let last = |left_out: &LeftOut, name: &str, at| {
            left_out.last_unsent(&BTreeSet::from([name.to_owned()]), Stamp(ms(at)))
        };
        assert_eq!(last(&left_out, "docker.io/library/app:1", 10), None, "not yet");
        assert_eq!(last(&left_out, "docker.io/library/app:1", 15), Some(CallId(1)));
        assert_eq!(last(&left_out, "app:1", 99), Some(CallId(2)));
        assert_eq!(last(&left_out, "sha256:a", 99), Some(CallId(3)), "by what the runtime called it");
        left_out.images[1].is_sent = true;
        assert_eq!(last(&left_out, "app:1", 99), None, "it is pulled anyway");
    }

    #[test]
    fn a_stream_ends_with_its_slice() {
        let said = v1::ContainerEventResponse::default();
        let stream = call(1, "GetContainerEvents", (0, 50), &v1::GetEventsRequest::default(), &said);
        let ends = |until: Option<u64>| {
            let cut = cut(stream.clone(), until.map(|at| Stamp(ms(at))));
            (cut.ended, cut.responses.len(), cut.outcome.ending)
        };
        for whole in [None, Some(50), Some(60)] {
            assert_eq!(ends(whole), (Stamp(ms(50)), 1, Ending::Status), "{whole:?}");
        }
        assert_eq!(ends(Some(20)), (Stamp(ms(20)), 0, Ending::Cancelled));
        let other = pull(2, 0, "app:1");
        assert_eq!(cut(other.clone(), Some(Stamp(0))), other, "no other call is cut");
    }
}
