//! What the calls of a slice follow from that is not in it: why a difference may be none.

use std::collections::{BTreeMap, BTreeSet};

use cri::{IdentityKind, Method};
use critape_calls::{Call, CallId, IdentityMap, Resolution, Stamp};
use critape_differ::{Compared, Divergence};

use crate::engine::Shared;
use crate::recording::followed::Change;
use crate::recording::image_changes::ImageChange;
use crate::recording::slice::subjects;
use crate::recording::{request_ids, response_ids};

/// What calls changed that are not sent.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// By sandbox or container, or by what a pod is called: when it was changed first, and by which call.
    objects: BTreeMap<String, (Stamp, CallId)>,
    /// The same of sandboxes that got a container: the others in them are as they were.
    hosts: BTreeMap<String, (Stamp, CallId)>,
    /// Pulls and removals of images in the order of their ends, those that are sent as well.
    pub(crate) images: Vec<ImageChange>,
}

impl LeftOut {
    /// Takes note of a call that is not sent.
    pub(crate) fn note(&mut self, change: Change) {
        let call = (change.started, change.call);
        let first = |all: &mut BTreeMap<String, (Stamp, CallId)>, name| {
            let first = all.entry(name).or_insert(call);
            *first = (*first).min(call);
        };
        change.changed.into_iter().for_each(|name| first(&mut self.objects, name));
        change.named.into_iter().for_each(|name| first(&mut self.hosts, name));
    }

    /// The calls, not sent so far, that made an image with one of these names what it was: from the beginning of the slice to this
    /// moment, and the last before that, if it was there.
    pub(crate) fn turns(&self, names: &BTreeSet<String>, since: Option<Stamp>, until: Stamp) -> Vec<CallId> {
        let turns = self.images.iter().filter(|change| change.is_turn && change.at < until);
        let turns = turns.filter(|change| !change.names.is_disjoint(names));
        let (early, of_its_time): (Vec<&ImageChange>, Vec<&ImageChange>) =
            turns.partition(|change| since.is_some_and(|since| change.at < since));
        let early = early.last().copied().filter(|change| change.is_pull);
        early
            .into_iter()
            .chain(of_its_time)
            .filter(|change| !change.is_sent)
            .map(|change| change.call)
            .collect()
    }

    fn last_change(&self, names: &BTreeSet<String>, at: Stamp) -> Option<&ImageChange> {
        let changes = self.images.iter().rev().filter(|change| change.is_turn || change.is_sent);
        let mut changes = changes.filter(|change| change.at < at);
        changes.find(|change| !change.names.is_disjoint(names))
    }

    /// The call that is not sent and had changed this object before then; calls may say the beginning of an id alone.
    fn of_object(&self, name: &str, until: Stamp) -> Option<CallId> {
        first_of(&self.objects, name, until)
    }

    /// The same, where it is named by the call that may follow from it.
    fn of_named(&self, name: &str, until: Stamp) -> Option<CallId> {
        self.of_object(name, until).into_iter().chain(first_of(&self.hosts, name, until)).min()
    }

    /// The same for anything that is on the live runtime.
    fn of_any(&self, ids: &IdentityMap, until: Stamp) -> Option<CallId> {
        let is_here = |id: &str| matches!(ids.resolve(IdentityKind::Object, id), Resolution::Live(_));
        let changed = self.objects.iter().filter(|(id, (at, _))| *at < until && is_here(id));
        changed.map(|(_, (_, call))| *call).min()
    }
}

fn first_of(all: &BTreeMap<String, (Stamp, CallId)>, name: &str, until: Stamp) -> Option<CallId> {
    // Nothing is the beginning of every id.
    let so_named =
        all.range(name.to_owned()..).take_while(|(id, _)| !name.is_empty() && id.starts_with(name));
    so_named.map(|(_, first)| first).filter(|(at, _)| *at < until).map(|(_, call)| *call).min()
}

/// The rule that lets pass how an image is named that was removed in the recording alone.
const IMAGE_LEFT: &str = "image-left-alone";

/// Whether a difference is in which image it is, or what it is called.
fn is_of_image(divergence: &Divergence) -> bool {
    const PARTS: [&str; 4] = ["image", "image_ref", "image_id", "user_specified_image"];
    divergence.path.segments().iter().any(|part| PARTS.contains(&part.as_str()))
}

impl Shared {
    /// A removal of an image is not sent. What runs from it goes on to name it.
    pub(crate) fn note_image_left(&self, call: &Call, method: &Method) {
        if method.name == "RemoveImage" && call.outcome.is_ok() {
            let images = request_ids(call).into_iter().filter(|(kind, _)| *kind == IdentityKind::Image);
            let names = images.flat_map(|(_, image)| self.script.survey.needs.all_names(&image));
            self.images_left.borrow_mut().push((call.id, call.started, names.collect()));
        }
    }

    /// Why nothing can be said of how a call names images, where these were removed in the recording alone; where more differs than
    /// that, what is of images is let pass.
    pub(crate) fn follows_from_image_left(&self, call: &Call, compared: &mut Compared) -> Option<String> {
        if !compared.divergences.iter().any(is_of_image) {
            return None;
        }
        let needs = &self.script.survey.needs;
        let shown = response_ids(call).into_iter().filter(|(kind, ..)| *kind == IdentityKind::Image);
        let shown: BTreeSet<String> = shown.flat_map(|(_, image, _)| needs.all_names(&image)).collect();
        let left_alone = self.images_left.borrow();
        let left_alone =
            left_alone.iter().rev().find(|(_, at, names)| *at < call.ended && !names.is_disjoint(&shown));
        let of_slice = || {
            let left_out = self.script.left_out.as_ref()?;
            let change = left_out.last_change(&shown, call.ended)?;
            (!change.is_sent && !change.is_pull).then_some(change.call)
        };
        let other = left_alone.map(|(other, ..)| *other).or_else(of_slice)?;
        let differing = compared.divergences.len();
        compared.divergences.retain(|it| !is_of_image(it));
        if !compared.divergences.is_empty() {
            let let_pass = differing - compared.divergences.len();
            (0..let_pass).for_each(|_| compared.merge(Compared::explained(IMAGE_LEFT)));
            return None;
        }
        Some(format!("its image was removed by call {other}, which is not sent here"))
    }

    /// Why nothing can be said of a call that differs, where it follows from one that is not in the slice.
    pub(crate) fn follows_from_left_out(&self, call: &Call, method: &Method) -> Option<String> {
        let left_out = self.script.left_out.as_ref()?;
        let survey = &self.script.survey;
        let named = subjects(call, &survey.objects);
        let mut sandboxes = named.iter().filter_map(|id| survey.trajectory.sandbox_of(id));
        let of_objects = named
            .iter()
            .find_map(|it| left_out.of_named(it, call.ended))
            .or_else(|| sandboxes.find_map(|it| left_out.of_object(it, call.ended)));
        let images = request_ids(call).into_iter().filter(|(kind, _)| *kind == IdentityKind::Image);
        let of_images = || {
            let of_image = |image: &str| {
                let change = left_out.last_change(&survey.needs.all_names(image), call.ended)?;
                (!change.is_sent).then_some(change.call)
            };
            images.map(|(_, image)| image).find_map(|image| of_image(&image))
        };
        let of_all = || match method.name.as_str() {
            "ListImages" | "ImageFsInfo" => {
                left_out.images.iter().find(|it| !it.is_sent && it.at < call.ended).map(|it| it.call)
            }
            _ if named.is_empty() => left_out.of_any(&self.ids.borrow(), call.ended),
            _ => None,
        };
        let other = of_objects.or_else(of_images).or_else(of_all)?;
        Some(format!("it follows from what call {other} did, which is not among those that are replayed"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::made_up::ms;
    use crate::recording::image_changes::in_turn;
    use crate::recording::image_changes::tests::pull;

    /// One that began first may end last.
    #[test]
    fn of_what_came_before_a_slice_its_last_pull_goes_along() {
        let calls =
            [pull(1, (0, 90), "app:1", "c"), pull(2, (5, 20), "app:1", "a"), pull(3, (60, 70), "app:1", "b")];
        let images = calls.iter().map(|call| ImageChange::of(call, false).unwrap()).collect();
        let mut left_out = LeftOut { images, ..LeftOut::default() };
        in_turn(&mut left_out.images, |name| BTreeSet::from([name.to_owned()]));
        let names = BTreeSet::from(["app:1".to_owned()]);
        let turns = |since: Option<u64>, until: u64| {
            let turns = left_out.turns(&names, since.map(|at| Stamp(ms(at))), Stamp(ms(until)));
            turns.into_iter().map(|call| call.0).collect::<Vec<_>>()
        };
        assert_eq!(turns(None, 100), [2, 3, 1]);
        assert_eq!(turns(None, 50), [2, 1]);
        assert_eq!(turns(Some(3), 100), [1, 2, 3]);
        assert_eq!(turns(Some(50), 100), [1, 3]);
    }
}
