//! Pulls and removals of images, and which of them made an image what it was.

use std::collections::BTreeSet;

use cri::IdentityKind;
use critape_calls::{Call, CallId, Stamp};

use crate::recording::{request_ids, response_ids};
use crate::sending::images::full;

/// A pull or a removal of an image that went well.
#[derive(Debug)]
pub(crate) struct ImageChange {
    pub(crate) call: CallId,
    pub(crate) at: Stamp,
    ended: Stamp,
    pub(crate) is_pull: bool,
    /// Whether it is replayed.
    pub(crate) is_sent: bool,
    /// What the image is called by it.
    pub(crate) names: BTreeSet<String>,
    /// What was asked for.
    asked: String,
    /// What a pull was answered with.
    content: Option<String>,
    /// Whether the image was otherwise before: pulls of what is there, many at a time or one after the other, change nothing.
    pub(crate) is_turn: bool,
}

impl ImageChange {
    /// `None` where the call is none.
    pub(crate) fn of(call: &Call, is_sent: bool) -> Option<Self> {
        let name = call.method().filter(|_| call.outcome.is_ok())?.name.as_str();
        let is_pull = match name {
            "PullImage" => true,
            "RemoveImage" => false,
            _ => return None,
        };
        let told: Vec<String> = response_ids(call).into_iter().map(|(_, id, _)| id).collect();
        let content = told.first().cloned();
        let asked = images_of(call).next().unwrap_or_default();
        let names = images_of(call).chain(told).flat_map(|name| [full(&name), Some(name)]).flatten();
        let (names, is_turn) = (names.collect(), true);
        let asked = full(&asked).unwrap_or(asked);
        let (call, at, ended) = (call.id, call.started, call.ended);
        Some(Self { call, at, ended, is_pull, is_sent, names, asked, content, is_turn })
    }
}

/// The images that a call names.
pub(crate) fn images_of(call: &Call) -> impl Iterator<Item = String> {
    let ids = request_ids(call).into_iter().filter(|(kind, _)| *kind == IdentityKind::Image);
    ids.map(|(_, image)| image)
}

/// Puts all changes of a tape in the order of their ends, and tells which of them are turns; `all_names` are those of an image.
pub(crate) fn in_turn(changes: &mut [ImageChange], all_names: impl Fn(&str) -> BTreeSet<String>) {
    changes.sort_by_key(|change| (change.ended, change.call));
    // What was asked for and has not been removed, and what it was.
    let mut there: Vec<(String, Option<String>, BTreeSet<String>)> = Vec::new();
    for change in changes {
        if change.is_pull {
            let known = there.iter().position(|(asked, ..)| *asked == change.asked);
            change.is_turn = known.is_none_or(|known| there[known].1 != change.content);
            known.map(|known| there.swap_remove(known));
            there.push((change.asked.clone(), change.content.clone(), change.names.clone()));
        } else {
            let names = all_names(&change.asked);
            let before = there.len();
            there.retain(|(_, _, of)| of.is_disjoint(&names));
            // What was there before the tape was removed as well.
            change.is_turn = there.len() < before || before == 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use cri::v1;

    use super::*;
    use crate::made_up;

    fn spec(image: &str) -> v1::ImageSpec {
        v1::ImageSpec { image: image.to_owned(), ..Default::default() }
    }

    /// A pull from `at` to `ended`, which was answered with this id.
    pub(crate) fn pull(id: u64, (at, ended): (u64, u64), image: &str, content: &str) -> Call {
        let asked = v1::PullImageRequest { image: Some(spec(image)), ..Default::default() };
        let said = v1::PullImageResponse { image_ref: format!("sha256:{content}") };
        made_up::call(id, "PullImage", (at, ended), &asked, &said)
    }

    fn removal(id: u64, at: u64, image: &str) -> Call {
        let asked = v1::RemoveImageRequest { image: Some(spec(image)) };
        made_up::call(id, "RemoveImage", (at, at + 1), &asked, &v1::RemoveImageResponse {})
    }

    fn turns(calls: &[Call]) -> Vec<u64> {
        let mut changes: Vec<ImageChange> =
            calls.iter().filter_map(|call| ImageChange::of(call, false)).collect();
        in_turn(&mut changes, |name| full(name).into_iter().chain([name.to_owned()]).collect());
        changes.iter().filter(|change| change.is_turn).map(|change| change.call.0).collect()
    }

    #[test]
    fn pulls_of_what_is_there_are_no_turns() {
        let calls = [
            pull(1, (0, 30), "app:1", "a"),
            pull(2, (5, 20), "docker.io/library/app:1", "a"),
            pull(3, (40, 50), "app:2", "a"),
            pull(4, (60, 70), "app:1", "b"),
            removal(5, 80, "app:1"),
            pull(6, (90, 95), "app:1", "b"),
            removal(7, 99, "other:1"),
        ];
        assert_eq!(turns(&calls), [2, 3, 4, 5, 6], "the first that ended, another name, another content");
        assert_eq!(turns(&calls[4..5]), [5], "it was there before");
    }
}
