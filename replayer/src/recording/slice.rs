//! A part of a tape: which calls are meant, which others they can't do without, and what is left out.
//!
//! What the calls of a slice show may come from calls that are not in it. Those that changed what its calls are about are sent as well,
//! where they are of its time, and those that pull the images that it names. What else its calls follow from is kept, to tell
//! afterwards why they differ.

use std::collections::{BTreeSet, HashMap};

use cri::v1;
use cri::wire::{content_at, take_varint, text_at};
use critape_calls::{Call, CallId, Ending, ObjectIndex, ObjectName, SandboxKey, Stamp, merged};
use critape_tape::{Tape, TapeError};
use prost::Message as _;

use crate::judging::left_out::LeftOut;
use crate::one_call::makes;
use crate::recording::followed::{Change, Uses, followed};
use crate::recording::image_changes::{ImageChange, images_of, in_turn};
use crate::recording::survey::Survey;
use crate::recording::{changes_objects, each_call, is_event_stream, is_object, request_ids, response_ids};

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
            parts.take(&call, is_sent, &survey);
        })?;
        let Parts { mut left_out, changes, uses, mut images, all_images, mut ends, until } = parts;
        let is_of_its_time = |at: Stamp| {
            selection.since.is_none_or(|since| at >= since) && selection.until.is_none_or(|until| at < until)
        };
        let (changes, of_other_time): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| is_of_its_time(change.started));
        ends.retain(|_, (at, _)| is_of_its_time(*at));
        let until = selection.until.map_or(until, |end| end.min(until));
        let mut needed = BTreeSet::new();
        let mut followed = followed(&changes, &uses, |id| survey.trajectory.sandbox_of(id));
        for (place, change) in changes.into_iter().enumerate() {
            if followed.remove(&place) {
                // What ended by itself has to have ended before what was done then.
                let ended = change.named.iter().filter_map(|id| ends.get(id));
                needed.extend(ended.filter(|(at, _)| *at <= change.started).map(|(_, call)| *call));
                needed.insert(change.call);
                images.extend(change.images);
            } else {
                left_out.note(change);
            }
        }
        of_other_time.into_iter().for_each(|change| left_out.note(change));
        needed.extend(
            ends.into_iter().filter(|(id, (at, _))| uses.last(id) > Some(*at)).map(|(_, (_, call))| call),
        );
        in_turn(&mut left_out.images, |image| survey.needs.all_names(image));
        for image in images {
            needed.extend(left_out.turns(&survey.needs.all_names(&image), selection.since, until));
        }
        for change in &mut left_out.images {
            let is_shown = all_images.is_some_and(|until| change.at < until);
            if is_shown && is_of_its_time(change.at) && !change.is_sent {
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
    /// The images that they name.
    images: BTreeSet<String>,
    /// Up to when they show all images.
    all_images: Option<Stamp>,
    /// When each container was first seen to have ended, by a read that is not meant.
    ends: HashMap<String, (Stamp, CallId)>,
    /// When the last meant call had ended.
    until: Stamp,
}

impl Parts {
    fn take(&mut self, call: &Call, is_sent: bool, survey: &Survey) {
        let objects = &survey.objects;
        if is_sent {
            self.until = self.until.max(call.ended);
        }
        if let Some(change) = ImageChange::of(call, is_sent) {
            self.images.extend(images_of(call).filter(|_| is_sent && !change.is_pull));
            self.left_out.images.push(change);
            return;
        }
        let named = || subjects(call, objects);
        if is_sent {
            self.images.extend(images_of(call));
            let named = named();
            match shows(call, &named) {
                Some(All::Images) => self.all_images = self.all_images.max(Some(call.ended)),
                Some(All::Objects) => self.uses.note_all(call.ended),
                None => {
                    // A sandbox has its containers for whoever looks at it or ends it.
                    let containers = named.iter().flat_map(|id| survey.trajectory.containers_of(id));
                    let containers: Vec<String> =
                        containers.filter(|_| !call.method().is_some_and(makes)).map(str::to_owned).collect();
                    self.uses.note(named.into_iter().chain(containers), call.ended);
                }
            }
        } else if changes_objects(call) {
            let (changed, named) = (changed(call, objects), named());
            if !changed.is_empty() {
                let (call, started, images) = (call.id, call.started, images_of(call).collect());
                self.changes.push(Change { call, started, changed, named, images });
            }
        } else if let Some(container) = ended(call) {
            self.ends.entry(container).or_insert((call.ended, call.id));
        }
    }
}

/// The container that a read shows to have ended.
fn ended(call: &Call) -> Option<String> {
    call.method().filter(|method| method.name == "ContainerStatus" && call.outcome.is_ok())?;
    let answer = merged(call)?;
    let state = content_at(&answer, &[1, 3]).and_then(|mut number| take_varint(&mut number));
    (state == Some(v1::ContainerState::ContainerExited as u64))
        .then(|| text_at(&answer, &[1, 1]))?
        .map(str::to_owned)
}

/// What a call shows that names nothing.
#[derive(Clone, Copy, Debug)]
enum All {
    Images,
    Objects,
}

/// Whether a call shows whatever there is.
fn shows(call: &Call, named: &[String]) -> Option<All> {
    let name = call.method()?.name.as_str();
    match name {
        "ListImages" | "ImageFsInfo" => Some(All::Images),
        "GetContainerEvents" => Some(All::Objects),
        _ if name.starts_with("List") && named.is_empty() => Some(All::Objects),
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
    use crate::recording::image_changes::tests::pull;

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
        let other = pull(2, (0, 1), "app:1", "a");
        assert_eq!(cut(other.clone(), Some(Stamp(0))), other, "no other call is cut");
    }
}
