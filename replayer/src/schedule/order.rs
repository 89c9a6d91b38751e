//! What each call waits for: all that had ended, as its client could know, before it started.

use std::cell::RefCell;
use std::time::Duration;

use critape_calls::{Call, DEADLINE_SLACK, Ending, Stamp};
use tokio::sync::{Notify, watch};

use crate::recording::script::Entry;

/// The causal order of a script's calls, and how far they have come.
#[derive(Debug)]
pub(crate) struct Order {
    /// After how many calls of the order of ends each may start.
    needed: Vec<usize>,
    /// When they ended, in order. Event streams are not among them: they have no end of their own.
    ends: Vec<Stamp>,
    /// Where each call stands in the order of ends.
    place: Vec<Option<usize>>,
    is_read: Vec<bool>,
    /// Calls that have been judged, or will not be sent.
    ended: Line,
    /// Those, and reads whose answer has come: the next read need not wait until it is judged.
    answered: Line,
    /// Tells whoever waits for a certain one of them.
    one_ended: Notify,
}

/// Calls in the order of their ends, and up to which all have come so far.
#[derive(Debug)]
struct Line {
    has_come: RefCell<Vec<bool>>,
    all_up_to: watch::Sender<usize>,
}

impl Line {
    fn of(calls: usize) -> Self {
        Self { has_come: RefCell::new(vec![false; calls]), all_up_to: watch::Sender::new(0) }
    }

    fn note(&self, place: usize) {
        let mut has_come = self.has_come.borrow_mut();
        has_come[place] = true;
        let first = *self.all_up_to.borrow();
        let count = has_come[first..].iter().take_while(|come| **come).count();
        if count > 0 {
            self.all_up_to.send_modify(|up_to| *up_to += count);
        }
    }

    async fn wait_for(&self, count: usize) -> bool {
        if *self.all_up_to.borrow() >= count {
            return false;
        }
        // The sender lives as long as this.
        let _ = self.all_up_to.subscribe().wait_for(|up_to| *up_to >= count).await;
        true
    }
}

impl Order {
    pub(crate) fn of(calls: &[Entry]) -> Self {
        let mut by_end: Vec<usize> =
            (0..calls.len()).filter(|index| !calls[*index].is_event_stream).collect();
        by_end.sort_by_key(|index| (calls[*index].known, calls[*index].id));
        let mut place = vec![None; calls.len()];
        for (at, index) in by_end.iter().enumerate() {
            place[*index] = Some(at);
        }
        let ends: Vec<Stamp> = by_end.iter().map(|index| calls[*index].known).collect();
        let needed = calls.iter().map(|call| ends.partition_point(|ended| *ended < call.started)).collect();
        let is_read = calls.iter().map(|call| !call.is_mutating && !call.is_event_stream).collect();
        let (ended, answered) = (Line::of(ends.len()), Line::of(ends.len()));
        Self { needed, ends, place, is_read, ended, answered, one_ended: Notify::new() }
    }

    /// Waits until it is this call's turn. Says whether it had to.
    pub(crate) async fn turn(&self, index: usize) -> bool {
        let line = if self.is_read[index] { &self.answered } else { &self.ended };
        line.wait_for(self.needed[index]).await
    }

    /// Waits until all has ended here that had ended by this moment.
    pub(crate) async fn until(&self, at: Stamp) {
        self.ended.wait_for(self.ends.partition_point(|ended| *ended <= at)).await;
    }

    /// Takes note that the answer to this read has come, which nothing but its judging needs.
    pub(crate) fn note_answer(&self, index: usize) {
        if let Some(place) = self.place[index] {
            self.answered.note(place);
        }
    }

    /// Takes note that this call has ended here, or will not be sent.
    pub(crate) fn note_end(&self, index: usize) {
        self.note_answer(index);
        if let Some(place) = self.place[index] {
            self.ended.note(place);
            self.one_ended.notify_waiters();
        }
    }

    /// Whether this call has ended here. Streams of events never have.
    pub(crate) fn has_ended(&self, index: usize) -> bool {
        self.place[index].is_some_and(|place| self.ended.has_come.borrow()[place])
    }

    /// Waits until this call has ended here.
    pub(crate) async fn end_of(&self, index: usize) {
        loop {
            let next = self.one_ended.notified();
            if self.has_ended(index) {
                return;
            }
            next.await;
        }
    }
}

/// When the client knew that its call was over. Where it gave up itself, that was before it was seen on the wire, and its next call may
/// have been seen first; at a deadline, when its timer went off, which had begun before the call was seen.
pub(crate) fn known(call: &Call) -> Stamp {
    let at_most = |time: Stamp| time.min(call.ended).max(call.started);
    if let Some(deadline) = call.deadline
        && call.duration() + DEADLINE_SLACK >= deadline
    {
        return at_most(call.started.plus(deadline).minus(DEADLINE_SLACK));
    }
    match call.outcome.ending {
        Ending::Cancelled => at_most(call.ended.minus(Duration::from_nanos(1))),
        _ => call.ended,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cri::v1;

    use super::*;
    use crate::made_up::{call, given_up};

    fn stop(id: u64, from: u64, to: u64) -> Call {
        let nothing = v1::StopContainerResponse::default();
        call(id, "StopContainer", (from, to), &v1::StopContainerRequest::default(), &nothing)
    }

    fn order(calls: &[Call]) -> Order {
        Order::of(&calls.iter().map(Entry::of).collect::<Vec<_>>())
    }

    async fn may_start(order: &Order, index: usize) -> bool {
        tokio::time::timeout(Duration::ZERO, order.turn(index)).await.is_ok()
    }

    #[tokio::test]
    async fn a_call_waits_for_all_that_had_ended_and_for_nothing_else() {
        let order = order(&[stop(1, 0, 10), stop(2, 5, 30), stop(3, 11, 20), stop(4, 31, 40)]);
        assert!(may_start(&order, 0).await && may_start(&order, 1).await, "nothing had ended before these");
        assert!(!may_start(&order, 2).await);
        order.note_end(0);
        assert!(may_start(&order, 2).await, "the second is still under way, as it was");
        order.note_end(1);
        assert!(!may_start(&order, 3).await, "the third has not ended");
        order.note_end(2);
        assert!(may_start(&order, 3).await);
    }

    #[tokio::test]
    async fn a_read_waits_for_the_answers_of_reads_and_a_change_until_they_are_judged() {
        let read = |id, from, to| {
            let asked = v1::ListContainersRequest::default();
            call(id, "ListContainers", (from, to), &asked, &v1::ListContainersResponse::default())
        };
        let order = order(&[read(1, 0, 10), read(2, 11, 20), stop(3, 21, 30), read(4, 31, 40)]);
        assert!(!may_start(&order, 1).await);
        order.note_answer(0);
        assert!(may_start(&order, 1).await);
        order.note_answer(1);
        assert!(!may_start(&order, 2).await, "the reads may have to be asked again");
        order.note_end(0);
        order.note_end(1);
        assert!(may_start(&order, 2).await && !may_start(&order, 3).await);
        order.note_end(2);
        assert!(may_start(&order, 3).await);
    }

    /// Its end is seen when the runtime answers or a reset arrives, which may be after the client's next call.
    #[tokio::test]
    async fn a_call_that_was_given_up_at_its_deadline_was_over_then() {
        let order = order(&[given_up(stop(1, 0, 5000), 2000), stop(2, 2003, 2100), stop(3, 1900, 1950)]);
        assert!(!may_start(&order, 1).await, "the client had given up the first");
        assert!(may_start(&order, 2).await, "this one came before");
        order.note_end(2);
        assert!(!may_start(&order, 1).await);
        order.note_end(0);
        assert!(may_start(&order, 1).await);
    }

    #[tokio::test]
    async fn what_a_client_breaks_off_is_over_when_it_says_so() {
        let broken_off = Call { outcome: crate::sending::answer::cancelled(), ..stop(1, 0, 300) };
        // Both are read at once.
        let order = order(&[broken_off, stop(2, 300, 310)]);
        assert!(!may_start(&order, 1).await);
    }
}
