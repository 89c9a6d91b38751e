//! A tape from an export.
//!
//! An export comes from anywhere, so nothing in it is believed: every size has a limit, memory is bounded whatever the file says, and
//! what is counted is counted anew. The tape is made beside its place and gets its name only when the last byte was right: there
//! is either a whole tape or none.

mod check;
mod place;
mod segment;
mod source;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use prost::Message;
use thiserror::Error;

use crate::export::format::{
    FooterStart, Index, IndexEntry, Kind, MAX_BLOCK, MAX_BLOCK_EVENTS, MAX_SEGMENTS,
};
use crate::folder;
use crate::schema;
use crate::{FORMAT, TapeError};
pub(crate) use check::Checker;
use check::number;
use place::Place;
use segment::Importing;
use source::{Block, Source, damaged};

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Segments.
    pub segments: u64,
    /// Events.
    pub events: u64,
    /// Calls that start in it.
    pub calls: u64,
}

/// Why there is no tape.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The tape can't be written, or the export is of a newer format.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// There is something where the tape should be.
    #[error("{0} exists: give a path where there is nothing yet")]
    Exists(PathBuf),
    /// The export can't be read.
    #[error("reading {path}")]
    Read {
        /// The export.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{0} is not an export of a tape: give a file that `critape tape export` wrote")]
    NotAnExport(PathBuf),
    /// A part of it is missing.
    #[error("{path} ends after {offset} bytes, before its end: copy it again")]
    Truncated {
        /// The export.
        path: PathBuf,
        /// Bytes that are there.
        offset: u64,
    },
    /// It is not what was exported.
    #[error("{path} is damaged at byte {offset}: {reason}; copy it again, or export the tape once more")]
    Damaged {
        /// The export.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
}

/// What is wrong, before the file's name is known.
#[derive(Debug)]
enum Fault {
    NotAnExport,
    Newer { found: u32, known: u32 },
    Truncated { offset: u64 },
    Damaged { offset: u64, reason: String },
    Read(io::Error),
    Other(ImportError),
}

impl From<ImportError> for Fault {
    fn from(error: ImportError) -> Self {
        Self::Other(error)
    }
}

impl From<TapeError> for Fault {
    fn from(error: TapeError) -> Self {
        Self::Other(error.into())
    }
}

impl Fault {
    fn of(self, path: &Path) -> ImportError {
        let path = path.to_owned();
        match self {
            Self::NotAnExport => ImportError::NotAnExport(path),
            Self::Newer { found, known } => TapeError::Newer { path, found, known }.into(),
            Self::Truncated { offset } => ImportError::Truncated { path, offset },
            Self::Damaged { offset, reason } => ImportError::Damaged { path, offset, reason },
            Self::Read(source) => ImportError::Read { path, source },
            Self::Other(error) => error,
        }
    }
}

/// Makes the tape `tape` of an export; `name` is what errors call the export.
///
/// Reads in small pieces where `from` is not buffered.
pub fn import(from: impl Read, name: &Path, tape: &Path) -> Result<Imported, ImportError> {
    let place = Place::beside(tape)?;
    let index = Importer::new(place.folder()).run(from).map_err(|fault| fault.of(name))?;
    folder::create(place.folder())?;
    place.give_name()?;
    Ok(Imported {
        segments: index.len() as u64,
        events: index.iter().map(|segment| segment.events).sum(),
        calls: index.iter().map(|segment| segment.calls).sum(),
    })
}

/// The blocks of an export, the last one included. They are all in memory at once.
pub(crate) fn blocks(from: impl Read, name: &Path) -> Result<Vec<(Kind, Vec<u8>)>, ImportError> {
    let read = || -> Result<_, Fault> {
        let mut source = Source::begin(from)?;
        let mut blocks = Vec::new();
        loop {
            let Block { kind, offset, raw } = source.block()?;
            blocks.push((kind, raw));
            if kind == Kind::End {
                source.end(offset)?;
                return Ok(blocks);
            }
        }
    };
    read().map_err(|fault| fault.of(name))
}

/// What is known after the blocks that were read so far.
struct Importer<'a> {
    folder: &'a Path,
    checker: Checker,
    has_key: bool,
    descriptors: Option<Vec<u8>>,
    segment: Option<Importing>,
    index: Vec<IndexEntry>,
}

impl<'a> Importer<'a> {
    fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            checker: Checker::default(),
            has_key: false,
            descriptors: None,
            segment: None,
            index: Vec::new(),
        }
    }

    fn run(mut self, from: impl Read) -> Result<Vec<IndexEntry>, Fault> {
        let mut source = Source::begin(from)?;
        loop {
            let block = source.block()?;
            if block.kind == Kind::End {
                let last = block.offset;
                self.check_index(&block)?;
                source.end(last)?;
                return Ok(self.index);
            }
            self.take(block)?;
        }
    }

    fn take(&mut self, block: Block) -> Result<(), Fault> {
        let Block { kind, offset, raw } = block;
        match (kind, self.segment.take()) {
            (Kind::Descriptors, None) => self.descriptors = Some(raw),
            (Kind::Key, None) if !self.has_key && self.index.is_empty() => {
                self.has_key = true;
                place::put_key(self.folder, &raw)?;
            }
            (Kind::Segment, None) => self.segment = Some(self.begin(offset, &raw)?),
            (Kind::Events, Some(segment)) => self.segment = Some(self.events(segment, offset, &raw)?),
            (Kind::Closed, Some(segment)) => {
                let footer = FooterStart::decode(raw.as_slice())
                    .map_err(|error| damaged(offset, error.to_string()))?;
                number("time", footer.ended).map_err(|reason| damaged(offset, reason))?;
                let entry = segment.end(Some(&footer))?;
                if entry.events != footer.events {
                    let reason =
                        format!("a footer counts {} events and {} are there", footer.events, entry.events);
                    return Err(damaged(offset, reason));
                }
                self.index.push(entry);
            }
            (Kind::Unclosed, Some(segment)) => self.index.push(segment.end(None)?),
            (kind, _) => return Err(damaged(offset, format!("{} where it has no place", kind.name()))),
        }
        Ok(())
    }

    fn begin(&mut self, offset: u64, raw: &[u8]) -> Result<Importing, Fault> {
        let wrong = |reason: String| damaged(offset, reason);
        let header = schema::SegmentHeader::decode(raw).map_err(|error| wrong(error.to_string()))?;
        match header.format {
            0 => return Err(wrong("a segment of format 0, which there is not".to_owned())),
            1..=FORMAT => {}
            found => return Err(Fault::Newer { found, known: FORMAT }),
        }
        if header.number <= self.index.last().map_or(0, |segment| segment.number) {
            return Err(wrong(format!("segment {} where it has no place", header.number)));
        }
        if self.index.len() >= MAX_SEGMENTS {
            return Err(wrong(format!("more than {MAX_SEGMENTS} segments")));
        }
        number("call", header.first_call)
            .and_then(|()| number("connection", header.first_connection))
            .map_err(wrong)?;
        let Some(descriptors) = &self.descriptors else {
            return Err(wrong("a segment without descriptors".to_owned()));
        };
        self.checker.begin_segment();
        Ok(Importing::begin(self.folder, header, descriptors, offset)?)
    }

    fn events(&mut self, mut segment: Importing, offset: u64, raw: &[u8]) -> Result<Importing, Fault> {
        let (mut rest, mut count) = (raw, 0);
        while !rest.is_empty() {
            let wrong = |reason: String| {
                damaged(offset, format!("segment {}, event {}: {reason}", segment.number(), segment.events()))
            };
            let length =
                prost::decode_length_delimiter(&mut rest).map_err(|error| wrong(error.to_string()))?;
            let (bytes, after) =
                rest.split_at_checked(length).ok_or_else(|| wrong("it ends with its block".to_owned()))?;
            rest = after;
            count += 1;
            if count > MAX_BLOCK_EVENTS || (raw.len() > MAX_BLOCK && !rest.is_empty()) {
                return Err(wrong("too many for one block".to_owned()));
            }
            let event = self.checker.event(bytes).map_err(wrong)?;
            let method = match &event.kind {
                Some(schema::event::Kind::Message(message)) => self.checker.path(message.call),
                _ => "",
            };
            segment.append(event, method)?;
        }
        Ok(segment)
    }

    fn check_index(&self, block: &Block) -> Result<(), Fault> {
        let index =
            Index::decode(block.raw.as_slice()).map_err(|error| damaged(block.offset, error.to_string()))?;
        if self.segment.is_some() {
            return Err(damaged(block.offset, "the index within a segment"));
        }
        if self.index.is_empty() {
            return Err(damaged(block.offset, "there is no segment"));
        }
        if index.segments != self.index {
            return Err(damaged(block.offset, "the index does not say what is there"));
        }
        Ok(())
    }
}
