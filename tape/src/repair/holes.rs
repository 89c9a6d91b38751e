//! What a hole in a segment does to its calls.
//!
//! A call that was going on where events are missing may have lost an answer, so it must not look whole: it ends there, as
//! truncated. One that the next segment goes on with has its end there. How many calls were in the hole, their numbers tell.

use std::collections::{BTreeMap, BTreeSet};

use critape_calls::Stamp;

use crate::schema::event::Kind;
use crate::schema::gap::Reason;
use crate::schema::{Event, Gap, Truncated};

/// The calls of a segment, as its events tell of them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Those that the next segment goes on with.
    pub(super) continued: BTreeSet<u64>,
    /// Those that have not ended, with their request paths.
    open: BTreeMap<u64, String>,
    /// The next number that a call can have.
    next: u64,
    /// When the last event was.
    last: u64,
    hole: Option<Hole>,
    was_cut: bool,
}

/// Events that are missing, until it is known how many calls there were in them.
#[derive(Debug)]
struct Hole {
    /// When the last event before it was.
    since: u64,
    /// When the first event after it was.
    until: Option<u64>,
    /// Calls that began before it and lost something.
    cut: BTreeSet<u64>,
}

impl Calls {
    pub(super) fn new(first_call: u64, continued: BTreeSet<u64>) -> Self {
        Self { continued, next: first_call, ..Self::default() }
    }

    /// Events are missing here. Gives the ends of the calls that were going on.
    pub(super) fn cut(&mut self) -> Vec<Event> {
        self.was_cut = true;
        let (goes_on, cut): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.open).into_iter().partition(|(call, _)| self.continued.contains(call));
        self.open = goes_on;
        let at = self.last;
        let hole = self.hole.get_or_insert_with(|| Hole { since: at, until: None, cut: BTreeSet::new() });
        hole.cut.extend(cut.keys());
        cut.into_keys().map(|call| Event { at, kind: Some(Kind::Truncated(Truncated { call })) }).collect()
    }

    /// Takes the next event. Says whether it stays, and gives what must stand before it.
    pub(super) fn take(&mut self, event: &Event) -> (bool, Option<Event>) {
        self.last = event.at;
        if let Some(hole) = &mut self.hole {
            hole.until.get_or_insert(event.at);
        }
        let Some(kind) = &event.kind else { return (true, None) };
        match kind {
            Kind::CallStarted(it) => {
                let gap = self.close_hole(it.call);
                self.next = self.next.max(it.call + 1);
                self.open.insert(it.call, it.path.clone());
                (true, gap)
            }
            Kind::CallContinues(it) => {
                self.open.insert(it.call, it.path.clone());
                (true, None)
            }
            _ => (self.take_part(kind), None),
        }
    }

    /// The same, of an event that belongs to a call, or to none.
    fn take_part(&mut self, kind: &Kind) -> bool {
        let Some(call) = call_of(kind) else { return true };
        let is_open = self.open.contains_key(&call);
        if ends(kind) {
            self.open.remove(&call);
        }
        if is_open || !self.was_cut {
            return true;
        }
        // It began in the hole, or was cut by it.
        if let Some(hole) = &mut self.hole
            && call < self.next
        {
            hole.cut.insert(call);
        }
        false
    }

    /// The segment is at its end; `next_call` is the number of the first call after it, where that is known.
    pub(super) fn end(&mut self, next_call: Option<u64>) -> Option<Event> {
        self.close_hole(next_call.unwrap_or(self.next))
    }

    /// The number of the next call, had the segment gone on.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The request path of an open call; nothing where it is not known.
    pub(super) fn path(&self, call: u64) -> &str {
        self.open.get(&call).map_or("", String::as_str)
    }

    /// When the last event was.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    fn close_hole(&mut self, next_call: u64) -> Option<Event> {
        let hole = self.hole.take()?;
        let missing = next_call.saturating_sub(self.next);
        self.next = self.next.max(next_call);
        let calls = hole.cut.len() as u64 + missing;
        Some(gap(self.last, calls, 0, hole.until.unwrap_or(self.last) - hole.since.min(self.last)))
    }
}

/// The event that says what is missing.
pub(super) fn gap(at: u64, calls: u64, bytes: u64, lasted: u64) -> Event {
    Event { at, kind: Some(Kind::Gap(Gap { calls, bytes, reason: Reason::Store.into(), lasted })) }
}

fn call_of(kind: &Kind) -> Option<u64> {
    match kind {
        Kind::HostPaths(it) => Some(it.call),
        Kind::Message(it) => Some(it.call),
        Kind::HalfClosed(it) => Some(it.call),
        Kind::ResponseStarted(it) => Some(it.call),
        Kind::Trailers(it) => Some(it.call),
        Kind::Reset(it) => Some(it.call),
        Kind::Truncated(it) => Some(it.call),
        _ => None,
    }
}

fn ends(kind: &Kind) -> bool {
    matches!(kind, Kind::Trailers(_) | Kind::Reset(_) | Kind::Truncated(_))
}

/// The time of an event of this segment.
pub(super) fn stamp(started: u64, at: u64) -> Stamp {
    Stamp(started.saturating_add(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{CallStarted, Trailers};

    fn started(at: u64, call: u64) -> Event {
        let start = CallStarted { call, path: format!("/{call}"), ..CallStarted::default() };
        Event { at, kind: Some(Kind::CallStarted(start)) }
    }

    fn ended(at: u64, call: u64) -> Event {
        Event { at, kind: Some(Kind::Trailers(Trailers { call, metadata: Vec::new() })) }
    }

    #[test]
    fn calls_around_a_hole_are_cut_and_those_in_it_are_counted() {
        let mut calls = Calls::new(1, [2].into());
        for event in [started(10, 1), ended(11, 1), started(12, 2), started(13, 3)] {
            assert_eq!(calls.take(&event), (true, None));
        }
        let cut = calls.cut();
        assert_eq!(cut, [Event { at: 13, kind: Some(Kind::Truncated(Truncated { call: 3 })) }]);
        assert_eq!(calls.path(2), "/2", "it goes on in the next segment");
        // The end of one that was cut, and of one that began in the hole.
        assert_eq!(calls.take(&ended(50, 3)), (false, None));
        assert_eq!(calls.take(&ended(51, 5)), (false, None));
        // 3 was cut; 4, 5 and 6 began in the hole.
        assert_eq!(calls.take(&started(52, 7)), (true, Some(gap(52, 4, 0, 37))));
        assert_eq!(calls.take(&ended(53, 7)), (true, None));
        assert_eq!(calls.end(Some(8)), None);
    }

    #[test]
    fn a_hole_at_the_end_is_counted_up_to_what_follows() {
        let mut calls = Calls::new(10, BTreeSet::new());
        calls.take(&started(5, 10));
        assert_eq!(calls.cut().len(), 1);
        assert_eq!(calls.end(Some(15)), Some(gap(5, 5, 0, 0)));
        assert_eq!(calls.next(), 15);
    }
}
