//! At which moments of the second of two tapes a read may have seen what it saw on the first.
//!
//! Two runs go at their own pace, so that a read may agree with one that came earlier or later. But what changed an
//! object has happened or not, and has shown after a while: beyond that, another moment explains nothing.

use std::time::Duration;

use cri::IdentityKind;
use critape_calls::{Call, IdentityMap, Resolution};
use critape_differ::{Divergence, Kind};

use crate::recording::{is_object, is_thing, request_ids, response_ids};
use crate::states::trajectory::Trajectory;

/// How much longer the second run may take to show a change.
const SETTLE: Duration = Duration::from_secs(5);

/// The objects of a read that differs, by their ids on both tapes.
#[derive(Debug)]
pub(crate) struct Moments<'a> {
    before: &'a Trajectory,
    now: &'a Trajectory,
    objects: Vec<(String, String)>,
}

impl<'a> Moments<'a> {
    /// Of a read in which this was found.
    pub(crate) fn of(
        (before, now): (&'a Trajectory, &'a Trajectory),
        read: &Call,
        found: &[Divergence],
        ids: &IdentityMap,
    ) -> Self {
        let objects = objects(read, found, ids).into_iter().filter_map(|id| {
            let live = match ids.resolve(IdentityKind::Object, &id) {
                Resolution::Live(live) => live,
                Resolution::AsItIs => id.clone(),
                Resolution::Unbound(_) | Resolution::Ambiguous => return None,
            };
            Some((id, live))
        });
        Self { before, now, objects: objects.collect() }
    }

    /// Of what a read shows of this object alone, by its ids on both tapes.
    pub(crate) fn of_one((before, now): (&'a Trajectory, &'a Trajectory), id: &str, live_id: &str) -> Self {
        Self { before, now, objects: vec![(id.to_owned(), live_id.to_owned())] }
    }

    /// Whether this read of the second tape may show what the one of the first did. `usual` is the one that has its
    /// place.
    pub(crate) fn may_show(&self, read: &Call, usual: &Call, other: &Call) -> bool {
        self.objects.iter().all(|(id, live)| {
            let (before, now) = (self.before.changes_of(id), self.now.changes_of(live));
            // Where one client made other changes than the other, they can't be counted from the beginning.
            let wanted = if before.len() == now.len() { before.around(read) } else { now.around(usual) };
            let around = now.around(other);
            let is_between = around.0 <= wanted.1 && wanted.0 <= around.1;
            let took = before.since_last(read).zip(now.since_last(other));
            is_between && took.is_none_or(|(before, now)| now <= before.saturating_add(SETTLE))
        })
    }
}

/// What the read is about: what it asks for; else what is missing or surplus in its list; else all that is in it.
fn objects(read: &Call, found: &[Divergence], ids: &IdentityMap) -> Vec<String> {
    let asked: Vec<String> =
        request_ids(read).into_iter().filter(|(kind, _)| is_thing(*kind)).map(|(_, id)| id).collect();
    if !asked.is_empty() {
        return asked;
    }
    let settling = found.iter().filter(|it| it.settles);
    let element = |it: &Divergence| {
        let recorded = it.recorded["id"].as_str().map(str::to_owned);
        recorded.or_else(|| it.live["id"].as_str().map(|live| ids.to_recorded(live)))
    };
    let elements: Option<Vec<String>> =
        settling.map(|it| element(it).filter(|_| it.kind == Kind::Presence)).collect();
    elements.unwrap_or_else(|| {
        let shown = response_ids(read).into_iter();
        shown.filter(|(kind, ..)| is_object(*kind)).map(|(_, id, _)| id).collect()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cri::v1;
    use critape_calls::Identity;

    use super::*;
    use crate::made_up::call;

    const ID: &str = "c";

    fn read(at: u64) -> Call {
        let asked = v1::ContainerStatusRequest { container_id: ID.to_owned(), verbose: false };
        call(1, "ContainerStatus", (at, at + 1), &asked, &v1::ContainerStatusResponse::default())
    }

    /// A run that stops the container at these times, in milliseconds; each takes ten.
    fn run(stops: &[u64]) -> Trajectory {
        let mut trajectory = Trajectory::default();
        for at in stops {
            let asked = v1::StopContainerRequest { container_id: ID.to_owned(), timeout: 0 };
            let stop =
                call(9, "StopContainer", (*at, at + 10), &asked, &v1::StopContainerResponse::default());
            trajectory.add_change(&stop, &[] as &[Identity]);
        }
        trajectory
    }

    /// Whether the read at the first time may have been that at the last, which is not the one in its place.
    fn may_show(before: &[u64], now: &[u64], (at, usual, other): (u64, u64, u64)) -> bool {
        let (before, now) = (run(before), run(now));
        let moments = Moments::of((&before, &now), &read(at), &[], &IdentityMap::default());
        moments.may_show(&read(at), &read(usual), &read(other))
    }

    #[test]
    fn a_read_is_not_looked_for_beyond_a_change() {
        let (before, now) = ([1000, 60_000], [500, 50_000]);
        assert!(may_show(&before, &now, (2000, 600, 3000)));
        assert!(may_show(&before, &now, (2000, 100, 3000)), "it is a later read in this run");
        assert!(!may_show(&before, &now, (2000, 600, 400)), "not stopped yet");
        assert!(!may_show(&before, &now, (2000, 600, 50_100)), "changed again");
        assert!(may_show(&before, &now, (2000, 600, 505)), "while it is stopped");
    }

    #[test]
    fn what_a_change_does_shows_after_a_while() {
        let (before, now) = ([1000], [1000]);
        assert!(may_show(&before, &now, (1100, 1100, 6000)));
        assert!(!may_show(&before, &now, (1100, 1100, 31_000)), "listed for half a minute after its removal");
        assert!(may_show(&before, &now, (31_000, 1100, 36_000)), "it took as long when recorded");
    }

    #[test]
    fn where_changes_are_others_the_next_one_counts() {
        let (before, now) = ([1000, 60_000], [500, 700, 50_000]);
        assert!(may_show(&before, &now, (2000, 800, 3000)));
        assert!(!may_show(&before, &now, (2000, 800, 50_100)));
    }
}
