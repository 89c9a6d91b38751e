//! The writer thread: takes events from the queue and puts them on the tape.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use critape_calls::{Event, EventKind};
use critape_tape::{Result, TapeError, Writer};

use crate::clock::{self, Clock};
use crate::queue::Queue;

/// How long an event waits at most before it is committed.
const TICK: Duration = Duration::from_millis(250);
/// How often the wall clock is noted.
const ANCHOR_EVERY: Duration = Duration::from_secs(60);

/// Starts the thread. It ends when the queue is closed and empty.
pub(crate) fn spawn(
    writer: Writer,
    queue: Arc<Queue>,
    clock: Clock,
) -> std::io::Result<JoinHandle<Result<()>>> {
    thread::Builder::new().name("tape-writer".to_owned()).spawn(move || {
        let written = write(writer, &queue, clock);
        if let Err(error) = &written {
            queue.give_up();
            tracing::error!(%error, "recording has stopped; calls are still forwarded");
        }
        written
    })
}

fn write(mut writer: Writer, queue: &Queue, clock: Clock) -> Result<()> {
    let mut anchored = None;
    while let Some(events) = queue.drain(TICK, || clock.now()) {
        let now = clock.now();
        if anchored.is_none_or(|last| now.since(last) >= ANCHOR_EVERY) {
            writer.append(&Event { at: now, kind: EventKind::ClockAnchor { wall: clock::wall() } })?;
            anchored = Some(now);
        }
        let written = append(&mut writer, &events);
        queue.written(&events);
        written?;
    }
    writer.close(clock.now())
}

fn append(writer: &mut Writer, events: &[Event]) -> std::result::Result<(), TapeError> {
    for event in events {
        writer.append(event)?;
    }
    writer.commit()
}
