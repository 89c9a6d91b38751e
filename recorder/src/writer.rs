//! The writer thread: takes events from the queue and puts them on the tape.
//!
//! Where the disk is full or refuses, it goes on taking events, counts what is lost, and tries again until the tape takes them
//! again; then the tape says in a gap what is missing. Nobody waits for it meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use critape_calls::{Body, Event, EventKind, Gap, GapReason, Stamp};
use critape_tape::{Result, Retention, Room, Seal, TapeError, Writer};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::{self, Clock};
use crate::config::SegmentLimits;
use crate::counters::Counters;
use crate::host;
use crate::number::Numbers;
use crate::queue::{Lost, Queue};
use crate::recorder::RecordError;

/// How often is looked for events, and committed: an event waits twice as long at most.
const TICK: Duration = Duration::from_millis(250);
/// How often the wall clock is noted.
const ANCHOR_EVERY: Duration = Duration::from_secs(60);
/// How long after a failure the tape is tried again: the first time, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);
/// Each failure of the store costs the memory of what it had in mind; after so many it is left alone.
const MOST_FAILURES: u32 = 16;

/// How a recording ended.
pub(crate) type Ended = std::result::Result<(), RecordError>;

/// The tape, and how it is written.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) tape: PathBuf,
    pub(crate) seal: Seal,
    pub(crate) packer: Option<PathBuf>,
    pub(crate) segment: SegmentLimits,
    pub(crate) retention: Retention,
    /// Told whenever a segment has begun.
    pub(crate) begins: UnboundedSender<()>,
    /// Set where somebody wants the segment to end now.
    pub(crate) roll: Arc<AtomicBool>,
    pub(crate) counters: Arc<Counters>,
}

impl Policy {
    /// Opens the tape.
    pub(crate) fn open(&self, started: Stamp) -> Result<Writer> {
        let program = concat!("critape ", env!("CARGO_PKG_VERSION"));
        let mut tape = Writer::open_sealing(&self.tape, started, program, &self.seal)?;
        if let Some(packer) = &self.packer {
            tape.pack_with(packer.clone());
        }
        tape.pack_leftovers()?;
        Ok(tape)
    }
}

/// Starts the thread. It ends when the queue is closed and empty.
///
/// Without a tape, because its disk is full, it tries to open it again and again.
pub(crate) fn spawn(
    tape: Option<Writer>,
    queue: Arc<Queue>,
    clock: Clock,
    policy: Policy,
) -> std::io::Result<JoinHandle<Ended>> {
    let thread = Thread {
        tape,
        queue,
        clock,
        policy,
        anchored: None,
        begun: clock.started(),
        latest: clock.started(),
        committed: Stamp(0),
        uncommitted: (0, 0),
        numbers: Numbers::default(),
        pause: None,
    };
    thread::Builder::new().name("tape-writer".to_owned()).spawn(move || thread.run())
}

#[derive(Debug)]
struct Thread {
    tape: Option<Writer>,
    queue: Arc<Queue>,
    clock: Clock,
    policy: Policy,
    anchored: Option<Stamp>,
    /// When the segment began.
    begun: Stamp,
    /// When the last event was that was taken.
    latest: Stamp,
    committed: Stamp,
    /// Calls begun and bytes of bodies that were not committed yet.
    uncommitted: (u64, u64),
    /// What is added to the numbers of calls, where they were given before the tape was opened.
    numbers: Numbers,
    pause: Option<Pause>,
}

/// A time in which nothing is written.
#[derive(Debug)]
struct Pause {
    since: Stamp,
    reason: GapReason,
    lost: Lost,
    traffic: u64,
    failures: u32,
    retry: Stamp,
    /// Why it could not go on when that was last tried.
    error: Option<TapeError>,
}

impl Thread {
    fn run(mut self) -> Ended {
        if self.tape.is_none() {
            let now = self.clock.now();
            self.pause = Some(Pause::new(now, GapReason::DiskFull, 0));
            self.policy.counters.write_failed();
        } else if let Err(error) = self.begin() {
            self.suspend(&error, &[]);
        }
        let (queue, clock) = (self.queue.clone(), self.clock);
        let mut tick = TICK;
        while let Some(mut events) = queue.drain(tick, || clock.now()) {
            let since = clock.now();
            queue.courtesy.begin(since, queue.is_behind());
            self.policy.counters.queued(queue.used(), events.len() as u64);
            self.numbers.shift(&mut events);
            self.take(&events);
            queue.written(&events);
            queue.courtesy.end();
            // A slow disk has kept what came meanwhile waiting long enough.
            tick = TICK.saturating_sub(clock.now().since(since));
        }
        self.end()
    }

    /// Writes events, or takes note of what is lost.
    fn take(&mut self, events: &[Event]) {
        let retry = self.pause.as_ref().is_some_and(|pause| self.clock.now() >= pause.retry);
        if retry {
            self.resume(Room::ForAll);
        }
        if self.pause.is_some() {
            self.lose(events);
        } else if let Err(error) = self.write(events) {
            self.suspend(&error, events);
        }
        self.latest = events.last().map_or(self.latest, |last| last.at);
    }

    fn write(&mut self, events: &[Event]) -> Result<()> {
        let now = self.clock.now();
        // No event that is still to come was earlier; without any, what comes is as young as it waits.
        let next = events.last().map_or(self.latest.max(now.minus(2 * TICK)), |last| last.at);
        let Some(tape) = &mut self.tape else { return Ok(()) };
        if self.anchored.is_none_or(|last| now.since(last) >= ANCHOR_EVERY) {
            tape.append(&Event { at: now, kind: EventKind::ClockAnchor { wall: clock::wall() } })?;
            self.anchored = Some(now);
            prune(tape, self.policy.retention, now);
        }
        for event in events {
            if self.queue.is_behind() {
                self.queue.courtesy.hurry();
            }
            tape.append(event)?;
            if let EventKind::Gap(gap) = &event.kind {
                self.policy.counters.gap(gap.reason, gap.calls, gap.bytes);
            }
        }
        self.policy.counters.appended(events.len() as u64);
        if now.since(self.committed) >= TICK / 2 {
            tape.commit()?;
            (self.committed, self.uncommitted) = (now, (0, 0));
            let lag = events.first().map_or(Duration::ZERO, |oldest| now.since(oldest.at));
            let took = self.clock.now().since(now);
            self.policy.counters.committed(lag, tape.stored_bytes(), took);
        } else {
            let begun = events.iter().filter(|event| matches!(event.kind, EventKind::CallStarted { .. }));
            self.uncommitted.0 += begun.count() as u64;
            self.uncommitted.1 += events.iter().map(kept_bytes).sum::<u64>();
        }
        let age = now.since(self.begun);
        let limits = self.policy.segment;
        let asked = self.policy.roll.swap(false, Ordering::Relaxed);
        if asked || tape.stored_bytes() >= limits.max_bytes || age >= limits.max_age {
            tape.roll(next)?;
            self.begin()?;
        }
        Ok(())
    }

    /// What is done when a segment has begun.
    fn begin(&mut self) -> Result<()> {
        let Some(tape) = &mut self.tape else { return Ok(()) };
        // The first event of a segment says what the wall clock says.
        self.anchored = None;
        let now = self.clock.now();
        self.begun = now;
        tape.append(&Event { at: now, kind: EventKind::Surroundings(host::surroundings()) })?;
        self.policy.counters.segment_begun();
        // Nobody listens any more when the recorder is ending.
        let _ = self.policy.begins.send(());
        Ok(())
    }

    /// The tape takes no more for now. What it was given last may not be on it.
    fn suspend(&mut self, error: &TapeError, events: &[Event]) {
        let now = self.clock.now();
        if let Some(tape) = &mut self.tape {
            tape.suspend(now);
        }
        self.policy.counters.write_failed();
        let reason = if error.is_full() { GapReason::DiskFull } else { GapReason::Store };
        tracing::warn!(%error, "recording pauses, and goes on by itself when the tape can be written again; calls are forwarded as ever");
        let failures = u32::from(reason == GapReason::Store);
        let pause = self.pause.get_or_insert_with(|| Pause::new(now, reason, failures));
        let (calls, bytes) = std::mem::take(&mut self.uncommitted);
        pause.lost.add_gap(&Gap { calls, bytes, reason, lasted: Duration::ZERO });
        self.lose(events);
    }

    fn lose(&mut self, events: &[Event]) {
        let Some(pause) = &mut self.pause else { return };
        for event in events {
            pause.count(event);
            if let Some(tape) = &mut self.tape {
                // Suspended, it only takes note of what goes on.
                let _ = tape.append(event);
            }
        }
    }

    /// Tries to go on, and writes down what is missing.
    fn resume(&mut self, room: Room) {
        let Some(mut pause) = self.pause.take() else { return };
        match self.reopen(room, &pause) {
            Ok(()) => tracing::info!(calls = pause.lost.calls(), "recording goes on; the tape has a gap"),
            Err(error) => {
                tracing::debug!(%error, "the tape can't be written yet");
                let now = self.clock.now();
                if let Some(tape) = &mut self.tape {
                    tape.suspend(now);
                }
                pause.failed(now, !error.is_full());
                pause.error = Some(error);
                self.pause = Some(pause);
            }
        }
    }

    fn reopen(&mut self, room: Room, pause: &Pause) -> Result<()> {
        let now = self.clock.now();
        match &mut self.tape {
            // What is taken next happened before now.
            Some(tape) => tape.resume(self.latest, room)?,
            None => {
                let tape = self.policy.open(self.latest)?;
                self.numbers = Numbers::following(&tape);
                self.tape = Some(tape);
            }
        }
        let Some(tape) = &mut self.tape else { return Ok(()) };
        let gap = pause.gap(now);
        tape.append(&Event { at: now, kind: EventKind::Gap(gap) })?;
        self.policy.counters.gap(gap.reason, gap.calls, gap.bytes);
        if pause.traffic > 0 {
            tape.append(&Event { at: now, kind: EventKind::Traffic { bytes: pause.traffic } })?;
        }
        tape.commit()?;
        self.begin()
    }

    /// The recording is over.
    fn end(mut self) -> Ended {
        self.resume(Room::ForEnd);
        if let Some(Pause { lost, error: Some(source), .. }) = self.pause {
            return Err(RecordError::Unended { calls: lost.calls(), source });
        }
        let (calls, _) = self.uncommitted;
        match self.tape {
            Some(tape) => {
                tape.close(self.clock.now()).map_err(|source| RecordError::Unended { calls, source })
            }
            None => Ok(()),
        }
    }
}

/// Bytes of the body that an event carries.
fn kept_bytes(event: &Event) -> u64 {
    match &event.kind {
        EventKind::Message { body: Body::Kept(body), .. } => body.len() as u64,
        _ => 0,
    }
}

/// What can't be deleted now may be the next time.
fn prune(tape: &mut Writer, retention: Retention, now: Stamp) {
    match tape.prune(retention, now) {
        Ok(pruned) if pruned.segments > 0 => {
            tracing::info!(segments = pruned.segments, bytes = pruned.bytes, "old segments were deleted");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "old segments could not be deleted"),
    }
}

impl Pause {
    fn new(since: Stamp, reason: GapReason, failures: u32) -> Self {
        let retry = since.plus(RETRY_FIRST);
        Self { since, reason, lost: Lost::default(), traffic: 0, failures, retry, error: None }
    }

    fn count(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Message { call, .. } => self.lost.add(Some(*call), kept_bytes(event)),
            EventKind::CallStarted { call, .. }
            | EventKind::Trailers { call, .. }
            | EventKind::Reset { call, .. } => self.lost.add(Some(*call), 0),
            EventKind::Gap(gap) => self.lost.add_gap(gap),
            EventKind::Traffic { bytes } => self.traffic += bytes,
            _ => {}
        }
    }

    /// It could not go on yet.
    fn failed(&mut self, now: Stamp, by_store: bool) {
        if by_store {
            self.failures += 1;
        }
        let wait = (RETRY_FIRST * (1 << self.failures.min(6))).min(RETRY_LAST);
        self.retry = if self.failures < MOST_FAILURES { now.plus(wait) } else { Stamp(u64::MAX) };
    }

    fn gap(&self, now: Stamp) -> Gap {
        self.lost.to_gap(self.reason, now.since(self.since))
    }
}
