//! Appends to a tape.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use bytes::Bytes;
use critape_calls::{CallId, ConnectionId, Event, EventKind, Stamp, Summary};
use prost::Message;

use crate::chunk;
use crate::convert;
use crate::elements;
use crate::folder::{self, WriteLock};
use crate::ongoing::Ongoing;
use crate::retention::{Pruned, Retention, prune_closed};
use crate::schema;
use crate::seal;
use crate::secrets::{Key, Seal, SealPolicy, Sealer};
use crate::segment::{Segment, descriptors, footer_of};
use crate::store::{Mode, Store};
use crate::{FORMAT, Result, TapeError};

/// A chunk is stored when it has this many events …
const CHUNK_EVENTS: usize = 256;
/// … or about this many bytes, whichever comes first.
const CHUNK_BYTES: usize = 256 * 1024;

/// The one writer of a tape. It begins a new segment, and another whenever it is told to [`Self::roll`].
///
/// It blocks on the disk, so it belongs on a thread of its own.
#[derive(Debug)]
pub struct Writer {
    tape: PathBuf,
    program: String,
    sealer: Option<Sealer>,
    segment: Open,
    ongoing: Ongoing,
    sealing: Option<JoinHandle<()>>,
    // Last, so that it is given back after the store is closed.
    _lock: WriteLock,
}

/// The segment that is being written.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    store: Store,
    header: schema::SegmentHeader,
    elements: elements::Writer,
    pending: Vec<schema::Event>,
    pending_bytes: usize,
    next: u64,
    summary: Summary,
    stored_bytes: u64,
    dirty: bool,
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
        match folder::check(path) {
            Ok(()) => {}
            Err(TapeError::Absent(_)) => folder::create(path)?,
            Err(TapeError::NotATape(_)) if is_empty_folder(path) => folder::create(path)?,
            Err(error) => return Err(error),
        }
        let lock = WriteLock::take(path)?;
        seal::recover(path)?;
        let last = folder::segments(path)?.last().copied();
        let (first_call, first_connection) = match last {
            Some(number) => following(&Segment::open(folder::segment(path, number))?)?,
            None => (1, 1),
        };
        let mut sealer = match seal.policy {
            SealPolicy::None => None,
            policy => {
                let key = Key::for_writing(path, seal.key_file.as_deref())?;
                Some(Sealer::new(path, &key, policy))
            }
        };
        let (seal, key_check) = noted(sealer.as_mut());
        let header = schema::SegmentHeader {
            format: FORMAT,
            number: last.unwrap_or(0) + 1,
            writer: program.to_owned(),
            started: started.0,
            first_call,
            first_connection,
            seal,
            key_check,
        };
        Ok(Self {
            tape: path.to_owned(),
            program: program.to_owned(),
            sealer,
            segment: Open::new(path, header)?,
            ongoing: Ongoing::default(),
            sealing: None,
            _lock: lock,
        })
    }

    /// The number that the first call of this segment gets.
    pub fn first_call(&self) -> CallId {
        CallId(self.segment.header.first_call)
    }

    /// The number that the first connection of this segment gets.
    pub fn first_connection(&self) -> ConnectionId {
        ConnectionId(self.segment.header.first_connection)
    }

    /// When the segment began.
    pub fn started(&self) -> Stamp {
        Stamp(self.segment.header.started)
    }

    /// Bytes of chunks in this segment.
    pub fn stored_bytes(&self) -> u64 {
        self.segment.stored_bytes
    }

    /// The tape's folder.
    pub fn path(&self) -> &Path {
        &self.tape
    }

    /// Appends an event. It survives a crash after the next [`Self::commit`].
    pub fn append(&mut self, event: &Event) -> Result<()> {
        // First of all: what is noted, taken apart, hashed and compressed are tokens.
        let sealed = self.sealer.as_mut().map(|sealer| sealer.seal(event));
        let event = sealed.as_ref().unwrap_or(event);
        self.ongoing.observe(event);
        let method = match &event.kind {
            EventKind::Message { call, .. } => self.ongoing.path(*call),
            _ => "",
        };
        self.segment.append(event, method)
    }

    /// Makes everything appended so far survive a crash of this process.
    pub fn commit(&mut self) -> Result<()> {
        if let Some(sealer) = &mut self.sealer {
            sealer.flush();
        }
        self.segment.commit()
    }

    /// Closes the segment in order and begins another, which knows what is still going on.
    ///
    /// The closed one is packed more tightly on a thread of its own.
    pub fn roll(&mut self, now: Stamp) -> Result<()> {
        let (last, first_call, first_connection) = {
            let (header, summary) = (&self.segment.header, &self.segment.summary);
            let (call, connection) = next_numbers(header, summary);
            (header.number, call, connection)
        };
        self.segment.close(now)?;
        if let Some(sealer) = &mut self.sealer {
            sealer.begin_segment();
        }
        let (seal, key_check) = noted(self.sealer.as_mut());
        let header = schema::SegmentHeader {
            format: FORMAT,
            number: last + 1,
            writer: self.program.clone(),
            started: now.0,
            first_call,
            first_connection,
            seal,
            key_check,
        };
        // The old store is closed by this, before it is packed.
        self.segment = Open::new(&self.tape, header)?;
        for event in self.ongoing.continued(now) {
            self.segment.append(&event, "")?;
        }
        self.segment.commit()?;
        self.pack(last);
        Ok(())
    }

    /// Deletes the oldest closed segments that `retention` does not keep.
    pub fn prune(&mut self, retention: Retention, now: Stamp) -> Result<Pruned> {
        // What is being packed can't be looked at.
        wait(self.sealing.take());
        prune_closed(&self.tape, retention, now)
    }

    /// Closes the last segment in order.
    pub fn close(mut self, ended: Stamp) -> Result<()> {
        if let Some(sealer) = &mut self.sealer {
            sealer.flush();
        }
        self.segment.close(ended)?;
        let Self { tape, segment, sealing, _lock, .. } = self;
        let number = segment.header.number;
        drop(segment);
        wait(sealing);
        // Best effort: an unpacked segment is as good, only larger.
        if let Err(error) = seal::pack(&tape, number) {
            tracing::warn!(%error, "a closed segment could not be packed; it is whole");
        }
        Ok(())
    }

    fn pack(&mut self, number: u32) {
        wait(self.sealing.take());
        let tape = self.tape.clone();
        let packed = std::thread::Builder::new().name("tape-sealer".to_owned()).spawn(move || {
            if let Err(error) = seal::pack(&tape, number) {
                tracing::warn!(%error, "a closed segment could not be packed; it is whole");
            }
        });
        self.sealing = packed.ok();
    }
}

impl Open {
    fn new(tape: &Path, header: schema::SegmentHeader) -> Result<Self> {
        let path = folder::segment(tape, header.number);
        let mut store = Store::open(&path, Mode::New)?;
        let descriptors = descriptors().map_err(TapeError::io("packing the descriptors of", &path))?;
        store.put_header(header.encode_to_vec(), descriptors)?;
        store.flush()?;
        Ok(Self {
            path,
            store,
            header,
            elements: elements::Writer::default(),
            pending: Vec::new(),
            pending_bytes: 0,
            next: 0,
            summary: Summary::default(),
            stored_bytes: 0,
            dirty: false,
        })
    }

    fn append(&mut self, event: &Event, method: &str) -> Result<()> {
        self.summary.add(event);
        let mut stored = convert::to_schema(event, Stamp(self.header.started));
        if let Some(schema::event::Kind::Message(message)) = &mut stored.kind
            && let Some(schema::message::Body::Kept(body)) = &message.body
            && let Some(parts) = self.elements.take_apart(method, body)
        {
            message.body = Some(schema::message::Body::Parts(parts.into()));
        }
        self.pending_bytes += stored.encoded_len();
        self.pending.push(stored);
        if self.pending.len() >= CHUNK_EVENTS || self.pending_bytes >= CHUNK_BYTES {
            self.store_pending()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.store_pending()?;
        if self.dirty {
            self.store.flush()?;
            self.dirty = false;
        }
        Ok(())
    }

    fn close(&mut self, ended: Stamp) -> Result<()> {
        self.commit()?;
        let footer = footer_of(&self.header, &self.summary, ended);
        self.store.put_footer(footer.encode_to_vec())?;
        self.store.flush()
    }

    fn store_pending(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let count = self.pending.len() as u64;
        self.pending_bytes = 0;
        let packed = chunk::pack(std::mem::take(&mut self.pending), chunk::Effort::Quick)
            .map_err(TapeError::io("packing events of", &self.path))?;
        self.store.put_chunk(self.next, &packed)?;
        self.stored_bytes += packed.len() as u64;
        self.next += count;
        self.dirty = true;
        Ok(())
    }
}

/// The numbers that follow those of a segment.
fn following(segment: &Segment) -> Result<(u64, u64)> {
    Ok(next_numbers(segment.header(), &segment.summary()?))
}

fn next_numbers(header: &schema::SegmentHeader, summary: &Summary) -> (u64, u64) {
    let call = summary.last_call.map_or(header.first_call, |call| call.0 + 1);
    let connection = summary.last_connection.map_or(header.first_connection, |connection| connection.0 + 1);
    (call, connection)
}

/// What a header says about sealing.
fn noted(sealer: Option<&mut Sealer>) -> (String, Bytes) {
    let note = sealer.map(Sealer::note);
    note.map(|(policy, check)| (policy.name().to_owned(), check.into())).unwrap_or_default()
}

fn wait(sealing: Option<JoinHandle<()>>) {
    // It has no result; a panic in it was printed.
    let _ = sealing.map(JoinHandle::join);
}

fn is_empty_folder(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
