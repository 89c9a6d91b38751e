//! A tape, or a slice of one, in one file.
//!
//! A tape is a folder of stores, which is good to write and bad to send. An export is one stream of compressed blocks that describes
//! itself and ends with a checksum over all of it, so that a part of one is not taken for the whole. Messages stand in it as they
//! were sent: another program needs only zstd and protobuf to read them. `docs/format.md` has the layout;
//! [`import`](crate::import) reads it.
//!
//! At most one block and one event are in memory at a time.

mod blocks;
pub(crate) mod format;
mod slice;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use critape_calls::{Event, Summary};
use prost::Message;
use thiserror::Error;

use crate::TapeError;
use crate::convert;
use crate::reader::Tape;
use crate::schema;
use crate::secrets::Key;
use crate::segment::{Segment, footer_of};
use blocks::Blocks;
use format::{Index, IndexEntry, Kind, MAX_BLOCK, MAX_BLOCK_EVENTS, MAX_SEGMENTS};
use slice::Fate;
pub use slice::{Chosen, Slice};

/// Whether the key of sealed values goes with the tape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportKey {
    /// It stays: sealed values are closed to whoever gets the file.
    #[default]
    Left,
    /// It goes along, where the tape has one.
    Included,
}

/// What an export holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Segments.
    pub segments: u64,
    /// Events.
    pub events: u64,
    /// Calls that start in it.
    pub calls: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a tape could not be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The tape can't be read.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// The key can't be read.
    #[error("reading the tape's key {path}")]
    Key {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The export can't be written.
    #[error("writing the export")]
    Write(#[source] io::Error),
    /// Nothing of it is in the slice, and there are no tapes without segments.
    #[error("{path} has nothing of what is to be exported: `critape tape show` lists its calls")]
    Nothing {
        /// The tape.
        path: PathBuf,
    },
    /// It has more segments than an export may have.
    #[error("{path} has more than {MAX_SEGMENTS} segments: export it in slices, with --since and --until")]
    TooManySegments {
        /// The tape.
        path: PathBuf,
    },
}

/// Writes an export of `tape` to `out`, which had better not be a partial file under its final name when this fails.
pub fn export(tape: &Tape, slice: &Slice, key: ExportKey, out: impl Write) -> Result<Exported, ExportError> {
    let mut exporter = Exporter::begin(tape, slice, out)?;
    if key == ExportKey::Included {
        exporter.put_key()?;
    }
    for segment in tape.each_segment() {
        exporter.put_segment(&segment?)?;
    }
    exporter.end()
}

struct Exporter<'a, W> {
    tape: &'a Tape,
    slice: &'a Slice,
    blocks: Blocks<W>,
    descriptors: Vec<u8>,
    index: Index,
}

impl<'a, W: Write> Exporter<'a, W> {
    fn begin(tape: &'a Tape, slice: &'a Slice, out: W) -> Result<Self, ExportError> {
        let blocks = Blocks::begin(out).map_err(ExportError::Write)?;
        Ok(Self { tape, slice, blocks, descriptors: Vec::new(), index: Index::default() })
    }

    fn put_key(&mut self) -> Result<(), ExportError> {
        let path = Key::path(self.tape.path());
        match fs::read(&path) {
            Ok(key) => self.blocks.put(Kind::Key, &key).map_err(ExportError::Write),
            // Nothing was sealed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(ExportError::Key { path, source }),
        }
    }

    fn put_segment(&mut self, segment: &Segment) -> Result<(), ExportError> {
        let mut stretch = Stretch::new(segment);
        let mut restore = segment.restorer();
        let mut next = 0;
        for chunk in segment.chunks() {
            let (first, events) = chunk?;
            if first != next {
                let reason = format!("events {next} to {} are missing", first.saturating_sub(1));
                return Err(segment.damaged(reason).into());
            }
            next += events.len() as u64;
            for event in events {
                let at = event.at;
                match restore(event)? {
                    Some(event) => self.put_event(&mut stretch, &event)?,
                    // Of a later program. It keeps its place, so that the counts are right.
                    None if *self.slice == Slice::All => {
                        self.put_stored(&mut stretch, &schema::Event { at, kind: None })?;
                    }
                    None => {}
                }
            }
        }
        if let Some(footer) = segment.footer()
            && footer.events != next
        {
            let reason = format!("the footer counts {} events and {next} are there", footer.events);
            return Err(segment.damaged(reason).into());
        }
        if *self.slice == Slice::All || stretch.is_begun() {
            self.end_segment(stretch)?;
        }
        Ok(())
    }

    fn put_event(&mut self, stretch: &mut Stretch<'_>, event: &Event) -> Result<(), ExportError> {
        match self.slice.fate(&event.kind) {
            Fate::Left => return Ok(()),
            Fate::Context if !stretch.is_begun() => {
                stretch.context.push(event.clone());
                return Ok(());
            }
            Fate::Context | Fate::Kept => {}
        }
        for event in std::mem::take(&mut stretch.context) {
            self.put_known(stretch, &event)?;
        }
        self.put_known(stretch, event)
    }

    fn put_known(&mut self, stretch: &mut Stretch<'_>, event: &Event) -> Result<(), ExportError> {
        stretch.summary.add(event);
        self.put_stored(stretch, &convert::to_schema(event, stretch.segment.started()))
    }

    fn put_stored(&mut self, stretch: &mut Stretch<'_>, event: &schema::Event) -> Result<(), ExportError> {
        if stretch.offset.is_none() {
            self.begin_segment(stretch)?;
        }
        let length = event.encoded_len();
        let length = length + prost::length_delimiter_len(length);
        if stretch.in_block >= MAX_BLOCK_EVENTS || stretch.full.len() + length > MAX_BLOCK {
            self.put_block(stretch)?;
        }
        let written = event.encode_length_delimited(&mut stretch.full);
        written.map_err(|error| ExportError::Write(io::Error::other(error)))?;
        stretch.in_block += 1;
        stretch.events += 1;
        Ok(())
    }

    fn begin_segment(&mut self, stretch: &mut Stretch<'_>) -> Result<(), ExportError> {
        if self.index.segments.len() >= MAX_SEGMENTS {
            return Err(ExportError::TooManySegments { path: self.tape.path().to_owned() });
        }
        let descriptors = stretch.segment.descriptors()?;
        if descriptors != self.descriptors {
            self.blocks.put(Kind::Descriptors, &descriptors).map_err(ExportError::Write)?;
            self.descriptors = descriptors;
        }
        stretch.offset = Some(self.blocks.offset());
        let header = stretch.segment.header().encode_to_vec();
        self.blocks.put(Kind::Segment, &header).map_err(ExportError::Write)
    }

    fn put_block(&mut self, stretch: &mut Stretch<'_>) -> Result<(), ExportError> {
        if stretch.in_block > 0 {
            self.blocks.put(Kind::Events, &stretch.full).map_err(ExportError::Write)?;
            stretch.full.clear();
            stretch.in_block = 0;
        }
        Ok(())
    }

    fn end_segment(&mut self, mut stretch: Stretch<'_>) -> Result<(), ExportError> {
        if stretch.offset.is_none() {
            self.begin_segment(&mut stretch)?;
        }
        self.put_block(&mut stretch)?;
        let segment = stretch.segment;
        match segment.footer() {
            Some(own) => {
                let mut footer = footer_of(segment.header(), &stretch.summary, segment.ended());
                footer.events = stretch.events;
                footer.mended = own.mended;
                self.blocks.put(Kind::Closed, &footer.encode_to_vec())
            }
            None => self.blocks.put(Kind::Unclosed, &[]),
        }
        .map_err(ExportError::Write)?;
        self.index.segments.push(IndexEntry {
            number: segment.header().number,
            offset: stretch.offset.unwrap_or_default(),
            events: stretch.events,
            calls: stretch.summary.calls,
        });
        Ok(())
    }

    fn end(self) -> Result<Exported, ExportError> {
        let segments = &self.index.segments;
        if segments.is_empty() {
            return Err(ExportError::Nothing { path: self.tape.path().to_owned() });
        }
        let mut exported = Exported {
            segments: segments.len() as u64,
            events: segments.iter().map(|segment| segment.events).sum(),
            calls: segments.iter().map(|segment| segment.calls).sum(),
            bytes: 0,
        };
        exported.bytes = self.blocks.end(&self.index.encode_to_vec()).map_err(ExportError::Write)?;
        Ok(exported)
    }
}

/// The segment that is being written.
struct Stretch<'a> {
    segment: &'a Segment,
    /// Where its header stands, once it does.
    offset: Option<u64>,
    /// What is written only where something else of the segment is.
    context: Vec<Event>,
    /// The block that is being filled.
    full: Vec<u8>,
    in_block: usize,
    events: u64,
    summary: Summary,
}

impl<'a> Stretch<'a> {
    fn new(segment: &'a Segment) -> Self {
        Self {
            segment,
            offset: None,
            context: Vec::new(),
            full: Vec::new(),
            in_block: 0,
            events: 0,
            summary: Summary::default(),
        }
    }

    fn is_begun(&self) -> bool {
        self.offset.is_some()
    }
}
