//! Events on their way to the writer thread, within a budget of bytes.
//!
//! What overload sheds goes in steps: first the bodies of messages, so that calls are still known; then whole calls, those that
//! begin first, so that memory stays bounded however long the writer takes. All of it is counted in a gap.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use critape_calls::{Body, CallId, Event, EventKind, Gap, GapReason, Metadata, Stamp};
use tokio::sync::Notify;

use crate::courtesy::Courtesy;

/// The writer is woken early when this much waits; otherwise it comes by itself on its tick.
const WAKE_BYTES: u64 = 1024 * 1024;
const WAKE_EVENTS: usize = 4096;
/// The writer hurries where more than this share of the budget is taken.
const HURRY_SHARE: u64 = 4;
/// What an event costs beside its body and its headers, and what a header costs beside its text, roughly.
const EVENT_BYTES: u64 = 192;
const HEADER_BYTES: u64 = 64;
/// What events may take beyond the budget, so that calls are known whose bodies are not.
const EVENTS_BYTES: u64 = 4 << 20;
/// Events younger than this stay for the next round, so that what a helper thread finds out a little later is still put where it
/// belongs.
const SETTLING: Duration = Duration::from_millis(10);
/// Calls told apart in one gap; beyond it a call that loses two bodies may count twice.
const MAX_GAP_CALLS: usize = 100_000;
/// How long a gap stays open that has nothing to do with overload, so that a broken connection doesn't fill the tape with gaps.
const GAP_LASTS: Duration = Duration::from_secs(60);
/// Messages up to this size are kept while the relay waits for the writer: they are what it waits for.
const SMALL_BODY: u64 = 256 * 1024;

/// What happens when the writer does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOverload {
    /// Calls go on; what there is no memory for is left out of the tape, and counted.
    #[default]
    Pass,
    /// Calls wait for the writer. A message for which there is no memory even then is left out.
    Block,
}

/// The way from the relay to the writer.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Told when the writer has made room.
    room: Notify,
    /// Bytes of bodies and events that are on their way, bodies that are being collected included.
    used: AtomicU64,
    /// Those of events that wait for the writer, or are being written.
    queued: AtomicU64,
    budget: u64,
    on_overload: OnOverload,
    pub(crate) courtesy: Courtesy,
}

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    /// Bytes and events that came since the writer looked last: what it left because it was too young is no reason to look again.
    new_bytes: u64,
    new_events: usize,
    gaps: Vec<OpenGap>,
    /// The writer has been told that there is much to do.
    woken: bool,
    closed: bool,
}

#[derive(Debug)]
struct OpenGap {
    since: Stamp,
    counted: Lost,
    reason: GapReason,
}

/// What is missing on a tape, as it adds up.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    calls: HashSet<CallId>,
    more_calls: u64,
    bytes: u64,
}

impl Lost {
    pub(crate) fn add(&mut self, call: Option<CallId>, bytes: u64) {
        self.bytes += bytes;
        let Some(call) = call else { return };
        if self.calls.len() < MAX_GAP_CALLS {
            self.calls.insert(call);
        } else if !self.calls.contains(&call) {
            self.more_calls += 1;
        }
    }

    pub(crate) fn add_gap(&mut self, gap: &Gap) {
        self.more_calls += gap.calls;
        self.bytes += gap.bytes;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.len() as u64 + self.more_calls
    }

    pub(crate) fn to_gap(&self, reason: GapReason, lasted: Duration) -> Gap {
        Gap { calls: self.calls(), bytes: self.bytes, reason, lasted }
    }
}

impl Queue {
    pub(crate) fn new(budget: u64, on_overload: OnOverload) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            room: Notify::new(),
            used: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            budget,
            on_overload,
            courtesy: Courtesy::default(),
        }
    }

    /// Whether a body of this size may be collected. One that may is paid back by [`Self::release`] or with its event.
    pub(crate) fn admit(&self, length: u64) -> bool {
        let before = self.used.fetch_add(length, Ordering::Relaxed);
        let waited_for = self.on_overload == OnOverload::Block && length <= SMALL_BODY;
        if before + length > self.budget && !waited_for {
            self.used.fetch_sub(length, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Pays back a body that was admitted and did not become an event.
    pub(crate) fn release(&self, length: u64) {
        self.used.fetch_sub(length, Ordering::Relaxed);
    }

    /// Whether events themselves are too many, so that no further call can be told of.
    pub(crate) fn is_flooded(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.budget + EVENTS_BYTES && self.on_overload == OnOverload::Pass
    }

    /// Waits for the writer, where calls are to wait for it: for what it has, and not for bodies that come only if the relay goes on.
    pub(crate) async fn room(&self) {
        let is_full = || self.queued.load(Ordering::Relaxed) > self.budget / 2;
        while self.on_overload == OnOverload::Block && is_full() {
            let mut made = std::pin::pin!(self.room.notified());
            made.as_mut().enable();
            if is_full() {
                made.await;
            }
        }
    }

    /// Sends an event to the writer. Its body, if it has one, was admitted before.
    pub(crate) fn push(&self, event: Event) {
        let own = own_bytes(&event);
        self.used.fetch_add(own, Ordering::Relaxed);
        let all = own + body_bytes(&event);
        self.queued.fetch_add(all, Ordering::Relaxed);
        let mut waiting = self.lock();
        waiting.new_bytes += all;
        waiting.new_events += 1;
        waiting.events.push(event);
        let wake = waiting.is_much() && !std::mem::replace(&mut waiting.woken, true);
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Notes that something is missing: of a call, where it is known of which.
    pub(crate) fn note_gap(&self, at: Stamp, call: Option<CallId>, bytes: u64, reason: GapReason) {
        let mut waiting = self.lock();
        let known = waiting.gaps.iter().position(|gap| gap.reason == reason);
        let index = known.unwrap_or_else(|| {
            tracing::warn!(%reason, "something can't be recorded: the tape has a gap from here");
            waiting.gaps.push(OpenGap { since: at, counted: Lost::default(), reason });
            waiting.gaps.len() - 1
        });
        waiting.gaps[index].counted.add(call, bytes);
    }

    /// Everything that waits, at most one tick after it came. `None` once the queue is closed and empty.
    pub(crate) fn drain(&self, tick: Duration, now: impl Fn() -> Stamp) -> Option<Vec<Event>> {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| !waiting.closed && !waiting.is_much();
        let (mut waiting, _) =
            self.wake.wait_timeout_while(waiting, tick, idle).unwrap_or_else(PoisonError::into_inner);
        (waiting.woken, waiting.new_bytes, waiting.new_events) = (false, 0, 0);
        // What an ended gap says was paid for by nobody.
        let ended = now();
        let has_room = self.used.load(Ordering::Relaxed) < self.budget / 2;
        let gaps = waiting.end_gaps(ended, has_room);
        let told = gaps.iter().map(own_bytes).sum();
        self.used.fetch_add(told, Ordering::Relaxed);
        self.queued.fetch_add(told, Ordering::Relaxed);
        waiting.events.extend(gaps);
        let mut events = std::mem::take(&mut waiting.events);
        let closed = waiting.closed;
        // The relay must not wait for what is done with them here.
        drop(waiting);
        if events.is_empty() && closed {
            return None;
        }
        events.sort_by_key(|event| event.at);
        if !closed {
            let settled = events.partition_point(|event| event.at.plus(SETTLING) <= ended);
            let young = events.split_off(settled);
            self.lock().events.splice(..0, young);
        }
        Some(events)
    }

    /// Pays back what these events cost; called when they are written.
    pub(crate) fn written(&self, events: &[Event]) {
        let size: u64 = events.iter().map(|event| own_bytes(event) + body_bytes(event)).sum();
        self.used.fetch_sub(size, Ordering::Relaxed);
        self.queued.fetch_sub(size, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Bytes that are on their way, bodies that are being collected included.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether so much is on its way that the writer has to hurry.
    pub(crate) fn is_behind(&self) -> bool {
        self.used() > self.budget / HURRY_SHARE
    }

    /// No more events will come.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_much(&self) -> bool {
        self.new_bytes >= WAKE_BYTES || self.new_events >= WAKE_EVENTS
    }

    /// Ends the gaps that are over: those of overload when there is room again, others after a while, all with the recording.
    fn end_gaps(&mut self, now: Stamp, has_room: bool) -> Vec<Event> {
        let closed = self.closed;
        let over = |gap: &mut OpenGap| {
            closed
                || match gap.reason {
                    GapReason::Overload => has_room,
                    _ => now.since(gap.since) >= GAP_LASTS,
                }
        };
        let ended = self.gaps.extract_if(.., over);
        ended
            .map(|gap| {
                let gap = gap.counted.to_gap(gap.reason, now.since(gap.since));
                Event { at: now, kind: EventKind::Gap(gap) }
            })
            .collect()
    }
}

fn body_bytes(event: &Event) -> u64 {
    match &event.kind {
        EventKind::Message { body: Body::Kept(bytes), .. } => bytes.len() as u64,
        _ => 0,
    }
}

/// What an event takes without its body.
fn own_bytes(event: &Event) -> u64 {
    let headers = |metadata: &Metadata| -> u64 {
        let text = |header: &critape_calls::Header| (header.name.len() + header.value.len()) as u64;
        metadata.0.iter().map(|header| HEADER_BYTES + text(header)).sum()
    };
    EVENT_BYTES
        + match &event.kind {
            EventKind::CallStarted { metadata, .. }
            | EventKind::ResponseStarted { metadata, .. }
            | EventKind::Trailers { metadata, .. } => headers(metadata),
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
        let queue = Queue::new(10_000, OnOverload::Pass);
        assert!(queue.admit(8_000));
        queue.push(message(1, 8_000));
        assert!(!queue.admit(8_000));
        queue.note_gap(Stamp(2), Some(CallId(7)), 8_000, GapReason::Overload);
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
        let queue = Queue::new(10_000, OnOverload::Pass);
        queue.push(message(5, 0));
        queue.push(message(3, 0));
        let events = queue.drain(Duration::ZERO, || LATER).unwrap();
        assert_eq!(events.iter().map(|event| event.at.0).collect::<Vec<_>>(), [3, 5]);
        queue.close();
        assert!(queue.drain(Duration::ZERO, || LATER).is_none());
    }

    #[test]
    fn what_is_found_out_late_is_put_where_it_belongs() {
        let queue = Queue::new(10_000, OnOverload::Pass);
        queue.push(message(LATER.0, 0));
        assert!(queue.drain(Duration::ZERO, || LATER).unwrap().is_empty());
        queue.push(message(LATER.0 - 1, 0));
        let events = queue.drain(Duration::ZERO, || Stamp(2 * LATER.0)).unwrap();
        assert_eq!(events.iter().map(|event| event.at.0).collect::<Vec<_>>(), [LATER.0 - 1, LATER.0]);
    }

    #[test]
    fn calls_themselves_are_too_many_when_nothing_is_written() {
        let queue = Queue::new(1_000, OnOverload::Pass);
        for _ in 0..25_000 {
            queue.push(message(1, 0));
        }
        assert!(queue.is_flooded());
        let events = queue.drain(Duration::ZERO, || LATER).unwrap();
        queue.written(&events);
        assert!(!queue.is_flooded());
        assert_eq!(queue.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_gap_of_broken_bytes_is_not_written_down_each_time() {
        let queue = Queue::new(10_000, OnOverload::Pass);
        queue.note_gap(Stamp(0), None, 5, GapReason::NotUnderstood);
        assert!(queue.drain(Duration::ZERO, || LATER).unwrap().is_empty());
        queue.note_gap(LATER, None, 6, GapReason::NotUnderstood);
        let much_later = Stamp(61_000_000_000);
        queue.drain(Duration::ZERO, || much_later).unwrap();
        queue.close();
        let events = queue.drain(Duration::ZERO, || much_later).unwrap();
        assert!(
            matches!(events[..], [Event { kind: EventKind::Gap(Gap { calls: 0, bytes: 11, .. }), .. }]),
            "{events:?}"
        );
    }

    #[tokio::test]
    async fn no_call_waits_for_bodies_that_are_still_coming() {
        let queue = Queue::new(10_000, OnOverload::Block);
        assert!(queue.admit(6_000) && queue.admit(6_000), "the writer has nothing of them yet");
        queue.room().await;
        queue.push(message(1, 6_000));
        assert!(queue.queued.load(Ordering::Relaxed) > 5_000);
        queue.written(&queue.drain(Duration::ZERO, || LATER).unwrap());
        queue.room().await;
        queue.release(6_000);
        assert_eq!((queue.used(), queue.queued.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn where_calls_wait_they_wait_for_the_writer() {
        let queue = std::sync::Arc::new(Queue::new(10_000, OnOverload::Block));
        queue.room().await;
        assert!(queue.admit(11_000), "small messages are kept");
        assert!(!queue.admit(SMALL_BODY + 1), "not large ones");
        queue.push(message(1, 11_000));
        let waits = tokio::spawn({
            let queue = queue.clone();
            async move { queue.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        let events = queue.drain(Duration::ZERO, || LATER).unwrap();
        queue.written(&events);
        waits.await.unwrap();
    }
}
