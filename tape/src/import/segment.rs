//! Writes one segment of an imported tape.

use std::path::{Path, PathBuf};

use critape_calls::{Stamp, Summary};
use prost::Message;

use super::ImportError;
use crate::chunk::{self, Effort};
use crate::convert;
use crate::elements;
use crate::export::format::IndexEntry;
use crate::folder;
use crate::mark::{self, Form};
use crate::schema;
use crate::segment::footer_of;
use crate::store::{self, Mode, Store};
use crate::{Result, TapeError};

/// What a full chunk holds before it is compressed.
const FULL_BYTES: usize = 512 << 10;
/// What stands around an event in a chunk, at least.
const FRAME_BYTES: usize = 2;

/// A segment that is being written: of full chunks from the beginning, as nobody reads it meanwhile.
pub(super) struct Importing {
    path: PathBuf,
    store: Store,
    header: schema::SegmentHeader,
    /// Where its header stands in the export.
    offset: u64,
    elements: elements::Writer,
    packer: chunk::Packer,
    full: Vec<schema::Event>,
    bytes: usize,
    first: u64,
    next: u64,
    summary: Summary,
}

impl Importing {
    pub(super) fn begin(
        tape: &Path,
        header: schema::SegmentHeader,
        descriptors: &[u8],
        offset: u64,
    ) -> std::result::Result<Self, ImportError> {
        let path = folder::segment(tape, header.number);
        let mut store = Store::open(&path, Mode::New)?;
        let descriptors = chunk::compress(descriptors, Effort::Thorough)
            .map_err(TapeError::io("packing the descriptors of", &path))?;
        store.put_header(header.encode_to_vec(), descriptors)?;
        let packer =
            chunk::Packer::new(Effort::Thorough).map_err(TapeError::io("packing events of", &path))?;
        Ok(Self {
            path,
            store,
            header,
            offset,
            elements: elements::Writer::default(),
            packer,
            full: Vec::new(),
            bytes: 0,
            first: 0,
            next: 0,
            summary: Summary::default(),
        })
    }

    pub(super) fn number(&self) -> u32 {
        self.header.number
    }

    /// Events so far.
    pub(super) fn events(&self) -> u64 {
        self.next
    }

    /// Appends an event; `method` is the path of the call it belongs to.
    pub(super) fn append(&mut self, mut event: schema::Event, method: &str) -> Result<()> {
        if let Some(known) = convert::from_schema(event.clone(), Stamp(self.header.started)) {
            self.summary.add(&known);
        }
        if let Some(schema::event::Kind::Message(message)) = &mut event.kind
            && let Some(schema::message::Body::Kept(body)) = &message.body
            && let Some(parts) = self.elements.take_apart(method, body)
        {
            message.body = Some(schema::message::Body::Parts(parts.into()));
        }
        // Of nothing but empty ones there would be no end else.
        self.bytes += FRAME_BYTES + event.encoded_len();
        self.full.push(event);
        self.next += 1;
        if self.bytes >= FULL_BYTES { self.put_chunk() } else { Ok(()) }
    }

    /// Ends it, with a footer where it was closed in order; gives what the index must say of it.
    pub(super) fn end(mut self, ended: Option<u64>) -> Result<IndexEntry> {
        if !self.full.is_empty() {
            self.put_chunk()?;
        }
        if let Some(ended) = ended {
            let ended = Stamp(self.header.started.saturating_add(ended));
            let mut footer = footer_of(&self.header, &self.summary, ended);
            footer.events = self.next;
            self.store.put_footer(footer.encode_to_vec())?;
        }
        self.store.flush()?;
        let entry = IndexEntry {
            number: self.header.number,
            offset: self.offset,
            events: self.next,
            calls: self.summary.calls,
        };
        // The mark says how the store is left, so it must be closed.
        let Self { store, path, .. } = self;
        drop(store);
        store::sync(&path)?;
        if ended.is_some() {
            mark::put(&path, Form::Packed)?;
        }
        Ok(entry)
    }

    fn put_chunk(&mut self) -> Result<()> {
        let packed = self
            .packer
            .pack(std::mem::take(&mut self.full))
            .map_err(TapeError::io("packing events of", &self.path))?;
        self.store.put_full_chunk(self.first, &packed)?;
        self.first = self.next;
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_no_bytes_fill_chunks_too() {
        let folder = tempfile::tempdir().unwrap();
        let header = schema::SegmentHeader { number: 1, ..Default::default() };
        let mut segment = Importing::begin(folder.path(), header, b"a set", 12).unwrap();
        for _ in 0..FULL_BYTES {
            segment.append(schema::Event::default(), "").unwrap();
            assert!(segment.full.len() <= FULL_BYTES / FRAME_BYTES);
        }
        assert_eq!(segment.end(Some(1)).unwrap().events, FULL_BYTES as u64);
    }
}
