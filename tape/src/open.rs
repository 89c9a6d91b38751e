//! The segment that is being written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use critape_calls::{Event, Stamp, Summary};
use prost::Message;

use crate::chunk;
use crate::convert;
use crate::elements;
use crate::folder;
use crate::live::{Server, Shown};
use crate::mark;
use crate::room::{self, Room};
use crate::schema;
use crate::segment::{descriptors, footer_of, progress_of};
use crate::store::{Mode, Store};
use crate::{Result, TapeError};

/// A chunk is stored when it has this many events …
const CHUNK_EVENTS: usize = 1024;
/// … or about this many bytes, whichever comes first.
const CHUNK_BYTES: usize = 256 * 1024;
/// Longer messages are not taken apart, which needs as much memory again, and have a chunk of their own, which is written as it is
/// compressed.
const LONGEST_TAKEN_APART: usize = 4 << 20;
/// How many stored bytes of a segment that was not closed are read at most to know what it holds.
const PROGRESS_BYTES: u64 = 4 << 20;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    path: PathBuf,
    store: Store,
    /// What it is for.
    room: Room,
    header: schema::SegmentHeader,
    elements: elements::Writer,
    packer: chunk::Packer,
    pending: Vec<schema::Event>,
    pending_bytes: usize,
    next: u64,
    summary: Summary,
    stored_bytes: u64,
    /// Stored when the counts were last noted.
    noted_bytes: u64,
    dirty: bool,
    /// Shows it to readers.
    server: Arc<Server>,
    /// Where the number of events that must survive a crash is noted.
    committed: File,
}

impl OpenSegment {
    pub(crate) fn begin(
        tape: &Path,
        header: schema::SegmentHeader,
        room: Room,
        server: Arc<Server>,
    ) -> Result<Self> {
        let path = folder::segment(tape, header.number);
        folder::begins(tape, header.number)?;
        let mut store = Store::open(&path, Mode::New)?;
        let descriptors = descriptors().map_err(TapeError::io("packing the descriptors of", &path))?;
        store.put_header(header.encode_to_vec(), descriptors.clone())?;
        store.flush()?;
        let committed = mark::begin(&path)?;
        let packer =
            chunk::Packer::new(chunk::Effort::Quick).map_err(TapeError::io("packing events of", &path))?;
        if let Some(view) = store.view() {
            server.show(Shown { number: header.number, header: header.encode_to_vec(), descriptors, view });
        }
        folder::has_begun(tape);
        Ok(Self {
            path,
            store,
            room,
            header,
            elements: elements::Writer::default(),
            packer,
            pending: Vec::new(),
            pending_bytes: 0,
            next: 0,
            summary: Summary::default(),
            stored_bytes: 0,
            noted_bytes: 0,
            dirty: false,
            server,
            committed,
        })
    }

    pub(crate) fn header(&self) -> &schema::SegmentHeader {
        &self.header
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Appends an event; `method` is the path of its call, where it is a message.
    pub(crate) fn append(&mut self, event: &Event, method: &str) -> Result<()> {
        self.summary.add(event);
        let mut stored = convert::to_schema(event, Stamp(self.header.started));
        if let Some(schema::event::Kind::Message(message)) = &stored.kind
            && let Some(schema::message::Body::Kept(body)) = &message.body
            && body.len() > LONGEST_TAKEN_APART
        {
            return self.store_large(stored.at, message, body);
        }
        if let Some(schema::event::Kind::Message(message)) = &mut stored.kind
            && let Some(schema::message::Body::Kept(body)) = &message.body
            && let Some(parts) = self.elements.take_apart(method, body)
        {
            message.body = Some(schema::message::Body::Parts(parts.into()));
        }
        self.pending_bytes += stored.encoded_len();
        self.pending.push(stored);
        if self.pending.len() >= CHUNK_EVENTS || self.pending_bytes >= CHUNK_BYTES {
            self.check_room()?;
            self.store_pending()?;
        }
        Ok(())
    }

    /// Makes everything appended so far survive a crash of this process.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.check_room()?;
        self.flush()
    }

    /// Leaves the reserve alone, except where it is for this.
    fn check_room(&self) -> Result<()> {
        match self.room {
            Room::ForEnd => Ok(()),
            Room::ForAll | Room::ForMore => room::check(&self.path, Room::ForMore),
        }
    }

    /// Writes the rest and the end, from the reserve if need be.
    pub(crate) fn close(&mut self, ended: Stamp) -> Result<()> {
        self.flush()?;
        // Nobody may look at the store any more when it is closed.
        self.server.hide();
        let footer = footer_of(&self.header, &self.summary, ended);
        self.store.put_footer(footer.encode_to_vec())?;
        self.store.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.store_pending()?;
        if !self.dirty {
            return Ok(());
        }
        if self.stored_bytes - self.noted_bytes >= PROGRESS_BYTES {
            let progress = progress_of(&self.header, &self.summary);
            self.store.put_progress(progress.encode_to_vec())?;
            self.noted_bytes = self.stored_bytes;
        }
        self.store.flush()?;
        self.dirty = false;
        let note = mark::committed(self.next);
        self.committed
            .write_all_at(&note, 0)
            .map_err(TapeError::io("noting what is committed to", &self.path))?;
        self.server.committed(self.next, progress_of(&self.header, &self.summary).encode_to_vec());
        Ok(())
    }

    /// Stores a message that is too long to be in memory more than once.
    fn store_large(&mut self, at: u64, message: &schema::Message, body: &[u8]) -> Result<()> {
        self.check_room()?;
        self.store_pending()?;
        self.stored_bytes +=
            self.store.put_long_chunk(self.next, |parts| chunk::pack_large(at, message, body, parts))?;
        self.next += 1;
        self.dirty = true;
        Ok(())
    }

    fn store_pending(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let count = self.pending.len() as u64;
        self.pending_bytes = 0;
        let packed = self
            .packer
            .pack(std::mem::take(&mut self.pending))
            .map_err(TapeError::io("packing events of", &self.path))?;
        self.store.put_chunk(self.next, &packed)?;
        self.stored_bytes += packed.len() as u64;
        self.next += count;
        self.dirty = true;
        Ok(())
    }
}

impl Drop for OpenSegment {
    fn drop(&mut self) {
        // Also where it could not be closed.
        self.server.hide();
    }
}
