//! Two ends of one call, recorded and live, whether the live one comes from a runtime or from another tape.

use std::time::Duration;

use bytes::Bytes;
use cri::Method;
use critape_calls::{Call, Ending, IdentityMap, Live, Outcome, Recorded, decode, merged};
use critape_differ::{Compared, Comparer, Trajectories};

use crate::answer::DEADLINE_SLACK;
use crate::recording::is_event_stream;
use crate::{binding, events};

/// How a call ended on the live side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) outcome: &'a Outcome,
    /// All response messages, as one.
    pub(crate) message: &'a Bytes,
    pub(crate) lasted: Duration,
}

impl<'a> End<'a> {
    fn of(call: &'a Call, message: &'a Bytes) -> Self {
        Self { outcome: &call.outcome, message, lasted: call.duration() }
    }
}

/// Binds what both answers say, where both calls went well.
pub(crate) fn bind(call: &Call, method: &Method, live: End<'_>, ids: &mut IdentityMap) {
    if !binding::binds(method) || !call.outcome.is_ok() || !live.outcome.is_ok() {
        return;
    }
    let read = |bytes: &Bytes| decode(method.output(), bytes);
    if let Some((recorded, live)) = merged(call).and_then(|bytes| read(&bytes)).zip(read(live.message)) {
        binding::bind(method, Recorded(&recorded), Live(&live), ids);
    }
}

/// As [`bind`], where both are on tapes.
pub(crate) fn bind_calls(call: &Call, other: &Call, method: &Method, ids: &mut IdentityMap) {
    let message = merged(other).unwrap_or_default();
    bind(call, method, End::of(other, &message), ids);
}

/// As [`compare`], where both are on tapes; streams of events are compared as such.
pub(crate) fn compare_calls(
    comparer: &Comparer<'_>,
    call: &Call,
    other: &Call,
    method: &Method,
    trajectories: &dyn Trajectories,
) -> Compared {
    if is_event_stream(call) {
        let ended = (other.outcome.ending == Ending::Status).then_some(&other.outcome);
        let live = events::sequences(other, method);
        return events::compare(comparer, call, method, &live, ended, trajectories);
    }
    let message = merged(other).unwrap_or_default();
    compare(comparer, call, method, End::of(other, &message), trajectories)
}

/// What the two differ in.
pub(crate) fn compare(
    comparer: &Comparer<'_>,
    call: &Call,
    method: &Method,
    live: End<'_>,
    trajectories: &dyn Trajectories,
) -> Compared {
    // What the client broke off may have ended by itself here; there is nothing to hold it against.
    if call.outcome.ending == Ending::Cancelled {
        let same = live.outcome.ending == Ending::Cancelled;
        return if same { Compared::default() } else { Compared::explained("broken-off") };
    }
    // At the deadline it is chance who speaks first: the client's timer, the runtime's, or what it was waiting for.
    let until_the_deadline =
        |lasted: Duration| call.deadline.is_some_and(|deadline| lasted + DEADLINE_SLACK >= deadline);
    let neither = !call.outcome.is_ok() && !live.outcome.is_ok();
    if neither && until_the_deadline(call.duration()) && until_the_deadline(live.lasted) {
        return Compared::explained("deadline");
    }
    let mut compared = comparer.outcomes(&method.name, Recorded(&call.outcome), Live(live.outcome));
    if call.outcome.is_ok()
        && live.outcome.is_ok()
        && let Some(recorded) = merged(call)
        && let Some(messages) =
            comparer.answers(method, Recorded(&recorded), Live(live.message), trajectories)
    {
        compared.merge(messages);
    }
    compared
}
