//! What beginnings of ids will mean when their calls are sent, told from the tape alone: ids are made, shown and removed in the order in
//! which that was recorded, in a map as the replay has one.

use std::collections::{BTreeMap, BTreeSet};

use cri::{IdentityKind, Method};
use critape_calls::{Call, CallId, IdentityMap, Resolution, Stamp, Unbound};

use super::tally::Tally;
use crate::recording::{request_ids, response_ids};
use crate::states::trajectory::Trajectory;

/// The length of a whole id.
const WHOLE: usize = 64;

/// What happens to ids, and where beginnings of them are asked for.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal {
    made: Vec<(Stamp, IdentityKind, String)>,
    removed: Vec<(Stamp, String)>,
    images: BTreeSet<String>,
    asked: BTreeMap<(Stamp, CallId), Vec<(IdentityKind, String)>>,
}

/// Calls that name something by the beginning of an id which means nothing, by what they say.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// It fits several things.
    pub(crate) ambiguous: BTreeMap<String, Tally>,
    /// It fits one that is older than the tape.
    pub(crate) older: BTreeMap<String, Tally>,
}

impl Rehearsal {
    /// Whether a name may be the beginning of an id.
    pub(crate) fn is_for(name: &str) -> bool {
        (1..WHOLE).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// A call that is replayed names something so.
    pub(crate) fn ask(&mut self, kind: IdentityKind, name: &str, call: &Call) {
        self.asked.entry((call.started, call.id)).or_default().push((kind, name.to_owned()));
    }

    /// An answer shows an image: a replay knows from then on what stands for it.
    pub(crate) fn shows_image(&mut self, id: &str, at: Stamp) {
        if self.images.insert(id.to_owned()) {
            self.made.push((at, IdentityKind::Image, id.to_owned()));
        }
    }

    /// A call that is replayed.
    pub(crate) fn call(&mut self, call: &Call, method: &Method) {
        if !call.outcome.is_ok() {
            return;
        }
        if matches!(method.name.as_str(), "RemoveContainer" | "RemovePodSandbox") {
            self.removed.extend(request_ids(call).into_iter().map(|(_, id)| (call.ended, id)));
        }
        if method.response_ids.iter().any(|id| id.produces) {
            let made = response_ids(call).into_iter().filter(|(.., produced)| *produced);
            self.made.extend(made.map(|(kind, id, _)| (call.ended, kind, id)));
        }
    }

    /// Goes through it all. `ids` has those of the tape declared.
    pub(crate) fn run(&self, ids: &IdentityMap, trajectory: &Trajectory) -> Doubts {
        let mut doubts = Doubts::default();
        if self.asked.is_empty() {
            return doubts;
        }
        let (mut ids, mut made, mut removed) = (ids.clone(), self.made.clone(), self.removed.clone());
        made.sort();
        removed.sort();
        let (mut made, mut removed) = (made.into_iter().peekable(), removed.into_iter().peekable());
        for ((at, call), names) in &self.asked {
            while let Some((_, kind, id)) = made.next_if(|(when, ..)| when < at) {
                ids.bind(kind, &id, &id);
            }
            while let Some((_, id)) = removed.next_if(|(when, _)| when < at) {
                trajectory.containers_of(&id).for_each(|container| ids.remove(container));
                ids.remove(&id);
            }
            // The first that means nothing keeps the call from being sent.
            for (kind, name) in names {
                let of = match ids.resolve(*kind, name) {
                    Resolution::Ambiguous => &mut doubts.ambiguous,
                    Resolution::Unbound(Unbound::OlderThanTape) => &mut doubts.older,
                    _ => continue,
                };
                of.entry(name.clone()).or_default().add(*call);
                break;
            }
        }
        doubts
    }
}
