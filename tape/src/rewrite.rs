//! A segment written in one go, of full chunks from the beginning, as nobody reads it meanwhile.

use std::path::PathBuf;

use critape_calls::{Stamp, Summary};
use prost::Message;

use crate::chunk::{self, Effort};
use crate::convert;
use crate::elements;
use crate::mark::{self, Form};
use crate::schema;
use crate::store::{Mode, Store};
use crate::{Result, TapeError};

/// What a full chunk holds before it is compressed.
const FULL_BYTES: usize = 512 << 10;
/// What stands around an event in a chunk, at least.
const FRAME_BYTES: usize = 2;

pub(crate) struct Rewriting {
    path: PathBuf,
    store: Store,
    header: schema::SegmentHeader,
    elements: elements::Writer,
    packer: chunk::Packer,
    full: Vec<schema::Event>,
    bytes: usize,
    first: u64,
    next: u64,
    summary: Summary,
}

impl Rewriting {
    /// Begins a segment in a folder that is not there yet; the descriptors come as they are stored.
    pub(crate) fn begin(path: PathBuf, header: schema::SegmentHeader, descriptors: Vec<u8>) -> Result<Self> {
        let mut store = Store::open(&path, Mode::New)?;
        store.put_header(header.encode_to_vec(), descriptors)?;
        let packer =
            chunk::Packer::new(Effort::Thorough).map_err(TapeError::io("packing events of", &path))?;
        Ok(Self {
            path,
            store,
            header,
            elements: elements::Writer::default(),
            packer,
            full: Vec::new(),
            bytes: 0,
            first: 0,
            next: 0,
            summary: Summary::default(),
        })
    }

    pub(crate) fn header(&self) -> &schema::SegmentHeader {
        &self.header
    }

    /// Events so far, those of later programs too.
    pub(crate) fn events(&self) -> u64 {
        self.next
    }

    /// What they are.
    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Appends an event, its message as it was sent; `method` is the path of the call it belongs to.
    pub(crate) fn append(&mut self, mut event: schema::Event, method: &str) -> Result<()> {
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

    /// Ends it, in order where there is a footer.
    pub(crate) fn end(mut self, footer: Option<&schema::SegmentFooter>) -> Result<()> {
        if !self.full.is_empty() {
            self.put_chunk()?;
        }
        if let Some(footer) = footer {
            self.store.put_footer(footer.encode_to_vec())?;
        }
        self.store.flush()?;
        // The mark says how the store is left, so it must be closed.
        let Self { store, path, .. } = self;
        drop(store);
        if footer.is_some() { mark::put(&path, Form::Packed) } else { Ok(()) }
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
        let mut segment = Rewriting::begin(folder.path().join("1"), header, b"a set".to_vec()).unwrap();
        for _ in 0..FULL_BYTES {
            segment.append(schema::Event::default(), "").unwrap();
            assert!(segment.full.len() <= FULL_BYTES / FRAME_BYTES);
        }
        assert_eq!(segment.events(), FULL_BYTES as u64);
        segment.end(Some(&schema::SegmentFooter::default())).unwrap();
    }
}
