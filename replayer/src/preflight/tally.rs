//! Counts of calls.

use critape_calls::CallId;
use critape_differ::{Effect, Limitation, LimitationKind};

/// How many calls there are of a sort, and the first of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) first: Option<CallId>,
    pub(super) last: Option<CallId>,
}

impl Tally {
    pub(crate) fn add(&mut self, call: CallId) {
        self.calls += 1;
        self.first = Some(self.first.map_or(call, |first| first.min(call)));
        self.last = Some(call);
    }

    /// As [`Self::add`], unless this call was the last that was added.
    pub(super) fn add_once(&mut self, call: CallId) {
        if self.last != Some(call) {
            self.add(call);
        }
    }

    pub(crate) fn limitation(self, kind: LimitationKind, effect: Effect, summary: String) -> Limitation {
        Limitation { kind, effect, summary, calls: self.calls, first_call: self.first.map(|call| call.0) }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        let first = self.first.into_iter().chain(other.first).min();
        Self { calls: self.calls + other.calls, first, last: self.last.max(other.last) }
    }
}
