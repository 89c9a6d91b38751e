//! Appends to a tape.

use std::path::{Path, PathBuf};

use critape_calls::{CallId, ConnectionId, Event, Stamp, Summary};
use prost::Message;

use crate::chunk;
use crate::convert;
use crate::elements;
use crate::folder::{self, WriteLock};
use crate::schema;
use crate::segment::{Segment, descriptors, footer_of};
use crate::store::{Mode, Store};
use crate::{FORMAT, Result, TapeError};

/// A chunk is stored when it has this many events …
const CHUNK_EVENTS: usize = 256;
/// … or about this many bytes, whichever comes first.
const CHUNK_BYTES: usize = 256 * 1024;

/// The one writer of a tape: everything it writes goes to a new segment.
///
/// It blocks on the disk, so it belongs on a thread of its own.
#[derive(Debug)]
pub struct Writer {
    tape: PathBuf,
    store: Store,
    header: schema::SegmentHeader,
    elements: elements::Writer,
    pending: Vec<schema::Event>,
    pending_bytes: usize,
    next: u64,
    summary: Summary,
    dirty: bool,
    // Last, so that it is given back after the store is closed.
    _lock: WriteLock,
}

impl Writer {
    /// Opens the tape at `path`, making it where there is none, and begins a segment.
    ///
    /// `started` is the moment from which the segment's times count; `writer` names the program.
    pub fn open(path: &Path, started: Stamp, writer: &str) -> Result<Self> {
        match folder::check(path) {
            Ok(()) => {}
            Err(TapeError::Absent(_)) => folder::create(path)?,
            Err(TapeError::NotATape(_)) if is_empty_folder(path) => folder::create(path)?,
            Err(error) => return Err(error),
        }
        let lock = WriteLock::take(path)?;
        let last = folder::segments(path)?.last().copied();
        let (first_call, first_connection) = match last {
            Some(number) => following(&Segment::open(folder::segment(path, number))?)?,
            None => (1, 1),
        };
        let header = schema::SegmentHeader {
            format: FORMAT,
            number: last.unwrap_or(0) + 1,
            writer: writer.to_owned(),
            started: started.0,
            first_call,
            first_connection,
        };
        let segment = folder::segment(path, header.number);
        let mut store = Store::open(&segment, Mode::New)?;
        let descriptors = descriptors().map_err(TapeError::io("packing the descriptors of", &segment))?;
        store.put_header(header.encode_to_vec(), descriptors)?;
        store.flush()?;
        Ok(Self {
            tape: path.to_owned(),
            store,
            header,
            elements: elements::Writer::default(),
            pending: Vec::new(),
            pending_bytes: 0,
            next: 0,
            summary: Summary::default(),
            dirty: false,
            _lock: lock,
        })
    }

    /// The number that the first call of this segment gets.
    pub fn first_call(&self) -> CallId {
        CallId(self.header.first_call)
    }

    /// The number that the first connection of this segment gets.
    pub fn first_connection(&self) -> ConnectionId {
        ConnectionId(self.header.first_connection)
    }

    /// Appends an event. It survives a crash after the next [`Self::commit`].
    pub fn append(&mut self, event: &Event) -> Result<()> {
        self.summary.add(event);
        let mut stored = convert::to_schema(event, Stamp(self.header.started));
        if let Some(schema::event::Kind::Message(message)) = &mut stored.kind
            && let Some(schema::message::Body::Kept(body)) = &message.body
            && let Some(parts) = self.elements.take_apart(body)
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

    /// Makes everything appended so far survive a crash of this process.
    pub fn commit(&mut self) -> Result<()> {
        self.store_pending()?;
        if self.dirty {
            self.store.flush()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Closes the segment in order.
    pub fn close(mut self, ended: Stamp) -> Result<()> {
        self.commit()?;
        let footer = footer_of(&self.header, &self.summary, ended);
        self.store.put_footer(footer.encode_to_vec())?;
        self.store.flush()
    }

    /// The tape's folder.
    pub fn path(&self) -> &Path {
        &self.tape
    }

    fn store_pending(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let count = self.pending.len() as u64;
        self.pending_bytes = 0;
        let packed = chunk::pack(std::mem::take(&mut self.pending))
            .map_err(TapeError::io("packing events of", &self.tape))?;
        self.store.put_chunk(self.next, &packed)?;
        self.next += count;
        self.dirty = true;
        Ok(())
    }
}

/// The numbers that follow those of a segment.
fn following(segment: &Segment) -> Result<(u64, u64)> {
    let summary = segment.summary()?;
    let header = segment.header();
    let call = summary.last_call.map_or(header.first_call, |call| call.0 + 1);
    let connection = summary.last_connection.map_or(header.first_connection, |connection| connection.0 + 1);
    Ok((call, connection))
}

fn is_empty_folder(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
