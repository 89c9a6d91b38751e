//! Events on their way to the writer thread, within a budget of bytes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use critape_calls::{Body, CallId, Event, EventKind, Gap, GapReason, Stamp};

/// The writer is woken early when this much waits; otherwise it comes by itself on its tick.
const WAKE_BYTES: u64 = 1024 * 1024;
const WAKE_EVENTS: usize = 4096;
/// What an event costs beside its body, roughly.
const EVENT_BYTES: u64 = 256;
/// Events younger than this stay for the next round, so that what a helper thread finds out a little later is still put where it
/// belongs.
const SETTLING: Duration = Duration::from_millis(10);
/// Calls told apart in one gap; beyond it a call that loses two bodies may count twice.
const MAX_GAP_CALLS: usize = 100_000;

/// The way from the relay to the writer.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Bytes of bodies and events that are on their way, bodies that are being collected included.
    used: AtomicU64,
    budget: u64,
    /// The writer gave up: nothing is kept any more.
    dead: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    bytes: u64,
    gap: Option<OpenGap>,
    closed: bool,
}

#[derive(Debug)]
struct OpenGap {
    since: Stamp,
    calls: HashSet<CallId>,
    more_calls: u64,
    bytes: u64,
    reason: GapReason,
}

impl Queue {
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            used: AtomicU64::new(0),
            budget,
            dead: AtomicBool::new(false),
        }
    }

    /// Whether a body of this size may be collected. One that may is paid back by [`Self::release`] or with its event.
    pub(crate) fn admit(&self, length: u64) -> bool {
        if self.dead.load(Ordering::Relaxed) {
            return false;
        }
        let before = self.used.fetch_add(length, Ordering::Relaxed);
        if before + length > self.budget {
            self.used.fetch_sub(length, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Pays back a body that was admitted and did not become an event.
    pub(crate) fn release(&self, length: u64) {
        self.used.fetch_sub(length, Ordering::Relaxed);
    }

    /// Sends an event to the writer. Its body, if it has one, was admitted before.
    pub(crate) fn push(&self, event: Event) {
        if self.dead.load(Ordering::Relaxed) {
            self.lose(&event);
            return;
        }
        let size = EVENT_BYTES + body_bytes(&event);
        self.used.fetch_add(EVENT_BYTES, Ordering::Relaxed);
        let mut waiting = self.lock();
        waiting.bytes += size;
        waiting.events.push(event);
        let full = waiting.bytes >= WAKE_BYTES || waiting.events.len() >= WAKE_EVENTS;
        drop(waiting);
        if full {
            self.wake.notify_one();
        }
    }

    /// Notes that a call lost a body.
    pub(crate) fn note_gap(&self, at: Stamp, call: CallId, bytes: u64, reason: GapReason) {
        let mut waiting = self.lock();
        let gap = waiting.gap.get_or_insert_with(|| {
            tracing::warn!(%reason, "messages are not being kept: the tape has a gap from here");
            OpenGap { since: at, calls: HashSet::new(), more_calls: 0, bytes: 0, reason }
        });
        gap.bytes += bytes;
        if gap.calls.len() < MAX_GAP_CALLS {
            gap.calls.insert(call);
        } else if !gap.calls.contains(&call) {
            gap.more_calls += 1;
        }
    }

    /// Everything that waits, at most one tick after it came. `None` once the queue is closed and empty.
    pub(crate) fn drain(&self, tick: Duration, now: impl Fn() -> Stamp) -> Option<Vec<Event>> {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| {
            !waiting.closed && waiting.bytes < WAKE_BYTES && waiting.events.len() < WAKE_EVENTS
        };
        let (mut waiting, _) =
            self.wake.wait_timeout_while(waiting, tick, idle).unwrap_or_else(PoisonError::into_inner);
        // A gap ends when there is room again, or with the recording.
        if waiting.closed || self.used.load(Ordering::Relaxed) < self.budget / 2 {
            let ended = now();
            if let Some(gap) = waiting.gap.take() {
                waiting.events.push(Event { at: ended, kind: EventKind::Gap(gap.close(ended)) });
            }
        }
        let mut events = std::mem::take(&mut waiting.events);
        if events.is_empty() && waiting.closed {
            return None;
        }
        events.sort_by_key(|event| event.at);
        if !waiting.closed {
            let ended = now();
            let settled = events.partition_point(|event| event.at.plus(SETTLING) <= ended);
            waiting.events = events.split_off(settled);
        }
        waiting.bytes = waiting.events.iter().map(|event| EVENT_BYTES + body_bytes(event)).sum();
        Some(events)
    }

    /// Pays back what these events cost; called when they are written.
    pub(crate) fn written(&self, events: &[Event]) {
        let size: u64 = events
            .iter()
            .filter(|event| !matches!(event.kind, EventKind::Gap(_)))
            .map(|event| EVENT_BYTES + body_bytes(event))
            .sum();
        self.used.fetch_sub(size, Ordering::Relaxed);
    }

    /// Bytes that are on their way, bodies that are being collected included.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// No more events will come.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// The writer can't go on: what comes from now on is lost, and counted.
    pub(crate) fn give_up(&self) {
        self.dead.store(true, Ordering::Relaxed);
        let mut waiting = self.lock();
        let events = std::mem::take(&mut waiting.events);
        waiting.bytes = 0;
        drop(waiting);
        self.written(&events);
    }

    fn lose(&self, event: &Event) {
        if let EventKind::Message { body: Body::Kept(bytes), .. } = &event.kind {
            self.release(bytes.len() as u64);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenGap {
    fn close(self, ended: Stamp) -> Gap {
        Gap {
            calls: self.calls.len() as u64 + self.more_calls,
            bytes: self.bytes,
            reason: self.reason,
            lasted: ended.since(self.since),
        }
    }
}

fn body_bytes(event: &Event) -> u64 {
    match &event.kind {
        EventKind::Message { body: Body::Kept(bytes), .. } => bytes.len() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use critape_calls::Side;

    /// When every event of the tests has settled.
    const LATER: Stamp = Stamp(1_000_000_000);

    fn message(at: u64, length: usize) -> Event {
        let body = Body::Kept(vec![0; length].into());
        Event {
            at: Stamp(at),
            kind: EventKind::Message { call: CallId(1), from: Side::Client, compressed: false, body },
        }
    }

    #[test]
    fn bodies_beyond_the_budget_are_declined_until_there_is_room() {
        let queue = Queue::new(10_000);
        assert!(queue.admit(8_000));
        queue.push(message(1, 8_000));
        assert!(!queue.admit(8_000));
        queue.note_gap(Stamp(2), CallId(7), 8_000, GapReason::Overload);
        let events = queue.drain(Duration::ZERO, || LATER).unwrap();
        assert_eq!(events.len(), 1, "no room yet, so the gap goes on");
        queue.written(&events);
        assert!(queue.admit(8_000));
        queue.release(8_000);
        assert!(queue.drain(Duration::ZERO, || LATER).unwrap().is_empty(), "the gap has ended just now");
        let gap = Gap { calls: 1, bytes: 8_000, reason: GapReason::Overload, lasted: LATER.since(Stamp(2)) };
        queue.close();
        let events = queue.drain(Duration::ZERO, || LATER).unwrap();
        assert_eq!(events, [Event { at: LATER, kind: EventKind::Gap(gap) }]);
    }

    #[test]
    fn events_come_out_in_the_order_of_their_time() {
        let queue = Queue::new(10_000);
        queue.push(message(5, 0));
        queue.push(message(3, 0));
        let events = queue.drain(Duration::ZERO, || LATER).unwrap();
        assert_eq!(events.iter().map(|event| event.at.0).collect::<Vec<_>>(), [3, 5]);
        queue.close();
        assert!(queue.drain(Duration::ZERO, || LATER).is_none());
    }

    #[test]
    fn what_is_found_out_late_is_put_where_it_belongs() {
        let queue = Queue::new(10_000);
        queue.push(message(LATER.0, 0));
        assert!(queue.drain(Duration::ZERO, || LATER).unwrap().is_empty());
        queue.push(message(LATER.0 - 1, 0));
        let events = queue.drain(Duration::ZERO, || Stamp(2 * LATER.0)).unwrap();
        assert_eq!(events.iter().map(|event| event.at.0).collect::<Vec<_>>(), [LATER.0 - 1, LATER.0]);
    }

    #[test]
    fn a_dead_writer_costs_no_memory() {
        let queue = Queue::new(10_000);
        assert!(queue.admit(100));
        queue.push(message(1, 100));
        queue.give_up();
        assert!(!queue.admit(1));
        queue.push(message(2, 0));
        assert_eq!(queue.used.load(Ordering::Relaxed), 0);
    }
}
