//! Appends to a tape.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use critape_calls::{CallId, ConnectionId, Event, EventKind, Stamp, Summary};

use crate::folder::{self, WriteLock};
use crate::live::Server;
use crate::mark::{self, Form};
use crate::ongoing::Ongoing;
use crate::open::OpenSegment;
use crate::packer::Packer;
use crate::retention::{Pruned, Retention, prune_closed};
use crate::room::{self, Room};
use crate::schema;
use crate::seal;
use crate::secrets::{Key, Seal, SealPolicy, Sealer};
use crate::segment::Segment;
use crate::{FORMAT, Result, TapeError};

/// The last segment is packed at the end if it has at most this many bytes: a recorder that is told to end should not take seconds.
/// A larger one is packed when the tape is next written.
const PACKED_AT_END: u64 = 16 << 20;

/// The one writer of a tape. It begins a new segment, and another whenever it is told to [`Self::roll`].
///
/// It blocks on the disk, so it belongs on a thread of its own. Where the disk refuses, [`Self::suspend`] it; suspended, it takes
/// note of events without storing them, so that the segment that begins when it is [resumed](Self::resume) stands on its own.
#[derive(Debug)]
pub struct Writer {
    tape: PathBuf,
    program: String,
    sealer: Option<Sealer>,
    /// None while suspended.
    segment: Option<OpenSegment>,
    /// What the next segment begins with.
    next: Next,
    ongoing: Ongoing,
    packer: Packer,
    server: Arc<Server>,
    // Last, so that it is given back after the store is closed.
    _lock: WriteLock,
}

impl Writer {
    /// Opens the tape at `path`, making it where there is none, and begins a segment in which nothing is sealed.
    ///
    /// `started` is the moment from which the segment's times count; `program` names who writes.
    pub fn open(path: &Path, started: Stamp, program: &str) -> Result<Self> {
        Self::open_sealing(path, started, program, &Seal::none())
    }

    /// The same, sealing secrets. A tape without a key gets one.
    ///
    /// # Errors
    /// Also where the key can't be read or written, or is another than that of `seal`.
    pub fn open_sealing(path: &Path, started: Stamp, program: &str, seal: &Seal) -> Result<Self> {
        let is_new = match folder::check(path) {
            Ok(()) => false,
            Err(TapeError::Absent(_)) => true,
            Err(TapeError::NotATape(_)) if folder::is_vacant(path) => true,
            Err(error) => return Err(error),
        };
        // Opening a store on a full disk can spoil it.
        room::check(path, Room::ForMore)?;
        if is_new {
            folder::create(path)?;
        }
        let lock = WriteLock::take(path)?;
        seal::recover(path)?;
        folder::remove_unbegun(path)?;
        let next = Next::on(path)?;
        let sealer = match seal.policy {
            SealPolicy::None => None,
            policy => {
                let key = Key::for_writing(path, seal.key_file.as_deref())?;
                Some(Sealer::new(path, &key, policy))
            }
        };
        let mut writer = Self {
            tape: path.to_owned(),
            program: program.to_owned(),
            sealer,
            segment: None,
            next,
            ongoing: Ongoing::default(),
            packer: Packer::new(path),
            server: Arc::new(Server::start(path)),
            _lock: lock,
        };
        writer.begin(started, Room::ForAll)?;
        Ok(writer)
    }

    /// Lets a process of this program pack closed segments, as `critape tape pack-segment TAPE NUMBER`, rather than a thread.
    pub fn pack_with(&mut self, program: PathBuf) {
        self.packer.set_program(program);
    }

    /// The number that the next segment's first call gets, or this one's, as long as it has none.
    pub fn first_call(&self) -> CallId {
        CallId(self.next.call)
    }

    /// The same for connections.
    pub fn first_connection(&self) -> ConnectionId {
        ConnectionId(self.next.connection)
    }

    /// When the segment began; `None` while suspended.
    pub fn started(&self) -> Option<Stamp> {
        self.segment.as_ref().map(|segment| Stamp(segment.header().started))
    }

    /// Bytes of chunks in this segment.
    pub fn stored_bytes(&self) -> u64 {
        self.segment.as_ref().map_or(0, OpenSegment::stored_bytes)
    }

    /// The tape's folder.
    pub fn path(&self) -> &Path {
        &self.tape
    }

    /// Bytes that are free on the tape's disk; `None` where it can't be told.
    pub fn free_bytes(&self) -> Option<u64> {
        room::free(&self.tape)
    }

    /// Appends an event. It survives a crash after the next [`Self::commit`].
    ///
    /// # Errors
    /// Also where the disk is nearly full. After any error this segment takes no more: [`Self::suspend`] it.
    pub fn append(&mut self, event: &Event) -> Result<()> {
        // First of all: what is noted, taken apart, hashed and compressed are tokens.
        let sealed = self.sealer.as_mut().map(|sealer| sealer.seal(event));
        let event = sealed.as_ref().unwrap_or(event);
        self.ongoing.observe(event);
        let method = match &event.kind {
            EventKind::Message { call, .. } => self.ongoing.path(*call),
            _ => "",
        };
        match &mut self.segment {
            Some(segment) => segment.append(event, method),
            None => Ok(()),
        }
    }

    /// Makes everything appended so far survive a crash of this process.
    pub fn commit(&mut self) -> Result<()> {
        if let Some(sealer) = &mut self.sealer {
            sealer.flush();
        }
        match &mut self.segment {
            Some(segment) => segment.commit(),
            None => Ok(()),
        }
    }

    /// Closes the segment in order and begins another, which knows what is still going on. Times count from `now`: no event that
    /// follows may be earlier.
    ///
    /// The closed one is packed more tightly on a thread of its own.
    pub fn roll(&mut self, now: Stamp) -> Result<()> {
        let Some(closed) = self.end(now)? else { return Ok(()) };
        self.begin(now, Room::ForAll)?;
        self.packer.add([closed.number]);
        Ok(())
    }

    /// Ends the segment early, in order if the disk lets it. Says whether it did.
    pub fn suspend(&mut self, now: Stamp) -> bool {
        match self.end(now) {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "a segment could not be closed");
                false
            }
        }
    }

    /// Whether events are not stored.
    pub fn is_suspended(&self) -> bool {
        self.segment.is_none()
    }

    /// Begins another segment after it was suspended; no event that follows may be earlier than `now`.
    ///
    /// # Errors
    /// The disk still has less than this room, or refuses; it stays suspended.
    pub fn resume(&mut self, now: Stamp, room: Room) -> Result<()> {
        room::check(&self.tape, room)?;
        room::probe(&self.tape)?;
        self.begin(now, room)?;
        self.packer.add(seal::loose(&self.tape)?);
        Ok(())
    }

    /// Packs what the last recorder had no time for.
    pub fn pack_leftovers(&mut self) -> Result<()> {
        let loose = seal::loose(&self.tape)?;
        self.packer.add(loose);
        Ok(())
    }

    /// Deletes the oldest closed segments that `retention` does not keep, but none that is being packed.
    pub fn prune(&mut self, retention: Retention, now: Stamp) -> Result<Pruned> {
        prune_closed(&self.tape, retention, now, self.packer.current())
    }

    /// Closes the last segment in order.
    pub fn close(mut self, ended: Stamp) -> Result<()> {
        if let Some(sealer) = &mut self.sealer {
            sealer.flush();
        }
        let Some(closed) = self.end(ended)? else { return Ok(()) };
        if closed.bytes <= PACKED_AT_END && !self.packer.is_busy() {
            // Best effort: an unpacked segment is as good, only larger.
            if let Err(error) = seal::pack(&self.tape, closed.number, &AtomicBool::new(false)) {
                tracing::warn!(%error, "a closed segment could not be packed; it is whole");
            }
        }
        Ok(())
    }

    /// Ends the segment, if there is one. It is gone afterwards, whether it could be closed or not.
    fn end(&mut self, at: Stamp) -> Result<Option<Closed>> {
        let Some(mut segment) = self.segment.take() else { return Ok(None) };
        self.next.follow(segment.header(), segment.summary());
        let ended = segment.close(at);
        let closed = Closed { number: segment.header().number, bytes: segment.stored_bytes() };
        // Before anybody else opens its store.
        drop(segment);
        ended?;
        self.mark_closed(closed.number);
        Ok(Some(closed))
    }

    /// Notes that a segment was closed in order. Without the note it is as good, only never packed.
    fn mark_closed(&self, number: u32) {
        if let Err(error) = mark::put(&folder::segment(&self.tape, number), Form::Loose) {
            tracing::warn!(%error, "a closed segment is not packed; it is whole, only larger");
        }
    }

    /// Begins the next segment, which knows what is still going on.
    fn begin(&mut self, now: Stamp, room: Room) -> Result<()> {
        if let Some(sealer) = &mut self.sealer {
            sealer.begin_segment();
        }
        let (seal, key_check) = noted(self.sealer.as_mut());
        let header = schema::SegmentHeader {
            format: FORMAT,
            number: self.next.number,
            writer: self.program.clone(),
            started: now.0,
            first_call: self.next.call,
            first_connection: self.next.connection,
            seal,
            key_check,
        };
        // A number is not used again, even if its segment did not come to be.
        self.next.number += 1;
        let mut segment = OpenSegment::begin(&self.tape, header, room, self.server.clone())?;
        for event in self.ongoing.continued(now) {
            segment.append(&event, "")?;
        }
        segment.commit()?;
        self.segment = Some(segment);
        Ok(())
    }
}

/// A segment that was closed in order.
#[derive(Clone, Copy, Debug)]
struct Closed {
    number: u32,
    /// Of its chunks.
    bytes: u64,
}

/// Numbers that have not been given yet.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// Of a segment.
    number: u32,
    call: u64,
    connection: u64,
}

/// More calls than a segment holds: numbers passed over for one that can't be read.
const UNREADABLE_CALLS: u64 = 10_000_000;

impl Next {
    /// What follows all that is on a tape. A damaged segment must not keep a recorder from starting.
    fn on(tape: &Path) -> Result<Self> {
        let numbers = folder::segments(tape)?;
        let aside = folder::set_aside(tape);
        let last = numbers.iter().chain(&aside).max().copied().unwrap_or(0);
        let mut next = Self { number: last + 1, call: 1, connection: 1 };
        // What was in those that are damaged, and at the end, can't be told.
        let beyond = aside.iter().filter(|number| numbers.last().is_none_or(|last| *number >= last));
        let mut passed = beyond.count() as u64 * UNREADABLE_CALLS;
        for number in numbers.iter().rev() {
            match Segment::open(folder::segment(tape, *number)) {
                Ok(segment) => {
                    next.follow(segment.header(), &segment.summary()?);
                    break;
                }
                Err(error @ TapeError::Damaged { .. }) => {
                    tracing::warn!(%error, "a segment can't be read and is left as it is");
                    passed += UNREADABLE_CALLS;
                }
                Err(error) => return Err(error),
            }
        }
        next.call += passed;
        next.connection += passed;
        Ok(next)
    }

    /// Passes over those of a segment.
    fn follow(&mut self, header: &schema::SegmentHeader, summary: &Summary) {
        self.call = summary.last_call.map_or(header.first_call, |call| call.0 + 1);
        self.connection =
            summary.last_connection.map_or(header.first_connection, |connection| connection.0 + 1);
    }
}

/// What a header says about sealing.
fn noted(sealer: Option<&mut Sealer>) -> (String, Bytes) {
    let note = sealer.map(Sealer::note);
    note.map(|(policy, check)| (policy.name().to_owned(), check.into())).unwrap_or_default()
}
