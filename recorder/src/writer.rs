//! The writer thread: takes events from the queue and puts them on the tape.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use critape_calls::{Event, EventKind, Stamp};
use critape_tape::{Result, Retention, TapeError, Writer};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::{self, Clock};
use crate::config::SegmentLimits;
use crate::counters::Counters;
use crate::host;
use crate::queue::Queue;

/// How long an event waits at most before it is committed.
const TICK: Duration = Duration::from_millis(250);
/// How often the wall clock is noted.
const ANCHOR_EVERY: Duration = Duration::from_secs(60);

/// When segments end, and how many are kept.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) segment: SegmentLimits,
    pub(crate) retention: Retention,
    /// Told whenever a segment has begun.
    pub(crate) begins: UnboundedSender<()>,
    pub(crate) counters: Arc<Counters>,
    /// Set where somebody wants the segment to end now.
    pub(crate) roll: Arc<AtomicBool>,
}

/// Starts the thread. It ends when the queue is closed and empty.
pub(crate) fn spawn(
    writer: Writer,
    queue: Arc<Queue>,
    clock: Clock,
    policy: Policy,
) -> std::io::Result<JoinHandle<Result<()>>> {
    thread::Builder::new().name("tape-writer".to_owned()).spawn(move || {
        let written = write(writer, &queue, clock, &policy);
        if let Err(error) = &written {
            queue.give_up();
            policy.counters.write_failed();
            tracing::error!(%error, "recording has stopped; calls are still forwarded");
        }
        written
    })
}

fn write(mut writer: Writer, queue: &Queue, clock: Clock, policy: &Policy) -> Result<()> {
    let mut anchored = None;
    begin(&mut writer, policy, clock)?;
    while let Some(events) = queue.drain(TICK, || clock.now()) {
        let now = clock.now();
        policy.counters.queued(queue.used(), events.len() as u64);
        if anchored.is_none_or(|last| now.since(last) >= ANCHOR_EVERY) {
            writer.append(&Event { at: now, kind: EventKind::ClockAnchor { wall: clock::wall() } })?;
            anchored = Some(now);
        }
        let written = append(&mut writer, &events);
        queue.written(&events);
        written?;
        count(&policy.counters, &events, now, clock.now(), writer.stored_bytes());
        let age = now.since(writer.started());
        let asked = policy.roll.swap(false, Ordering::Relaxed);
        if asked || writer.stored_bytes() >= policy.segment.max_bytes || age >= policy.segment.max_age {
            writer.roll(clock.now())?;
            // Its first event says what the wall clock says.
            anchored = None;
            begin(&mut writer, policy, clock)?;
        }
    }
    writer.close(clock.now())
}

/// What is done when a segment has begun.
fn begin(writer: &mut Writer, policy: &Policy, clock: Clock) -> Result<()> {
    writer.append(&Event { at: clock.now(), kind: EventKind::Surroundings(host::surroundings()) })?;
    let pruned = writer.prune(policy.retention, clock.now())?;
    if pruned.segments > 0 {
        tracing::info!(segments = pruned.segments, bytes = pruned.bytes, "old segments were deleted");
    }
    policy.counters.segment_begun();
    // Nobody listens any more when the recorder is ending.
    let _ = policy.begins.send(());
    Ok(())
}

/// Counts what has been committed: writing these events, which were taken from the queue at `taken`, ended at `ended`.
fn count(counters: &Counters, events: &[Event], taken: Stamp, ended: Stamp, segment_bytes: u64) {
    for event in events {
        if let EventKind::Gap(gap) = &event.kind {
            counters.gap(gap.reason, gap.calls, gap.bytes);
        }
    }
    if let Some(oldest) = events.first() {
        let lag = ended.since(oldest.at);
        counters.committed(events.len() as u64, lag, segment_bytes, ended.since(taken));
    }
}

fn append(writer: &mut Writer, events: &[Event]) -> std::result::Result<(), TapeError> {
    for event in events {
        writer.append(event)?;
    }
    writer.commit()
}
