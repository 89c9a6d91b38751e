//! The writer thread: takes events from the queue and puts them on the tape.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use critape_calls::{Event, EventKind};
use critape_tape::{Result, Retention, TapeError, Writer};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::{self, Clock};
use crate::host;
use crate::queue::Queue;
use crate::recorder::SegmentLimits;

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
        if anchored.is_none_or(|last| now.since(last) >= ANCHOR_EVERY) {
            writer.append(&Event { at: now, kind: EventKind::ClockAnchor { wall: clock::wall() } })?;
            anchored = Some(now);
        }
        let written = append(&mut writer, &events);
        queue.written(&events);
        written?;
        let age = now.since(writer.started());
        if writer.stored_bytes() >= policy.segment.max_bytes || age >= policy.segment.max_age {
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
    // Nobody listens any more when the recorder is ending.
    let _ = policy.begins.send(());
    Ok(())
}

fn append(writer: &mut Writer, events: &[Event]) -> std::result::Result<(), TapeError> {
    for event in events {
        writer.append(event)?;
    }
    writer.commit()
}
