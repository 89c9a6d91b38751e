//! Reads a tape.

use std::path::{Path, PathBuf};

use critape_calls::{Assembler, Call, Event, Stamp, Summary};

use crate::folder::{self, WriteLock};
use crate::seal;
use crate::segment::Segment;
use crate::{Result, TapeError};

/// A tape that can be read.
#[derive(Clone, Debug)]
pub struct Tape {
    path: PathBuf,
    segments: Vec<u32>,
}

/// What a tape is.
#[derive(Clone, Debug)]
pub struct Info {
    /// Format of the tape.
    pub format: u32,
    /// Its segments.
    pub segments: Vec<SegmentInfo>,
    /// What they hold together.
    pub summary: Summary,
    /// Bytes on disk.
    pub stored_bytes: u64,
}

impl Info {
    /// Whether every segment was closed in order.
    pub fn is_clean(&self) -> bool {
        self.segments.iter().all(|segment| segment.clean)
    }
}

/// What a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u32,
    /// When it began.
    pub started: Stamp,
    /// Whether it was closed in order.
    pub clean: bool,
    /// The program that wrote it.
    pub writer: String,
}

impl Tape {
    /// Opens the tape in this folder.
    pub fn open(path: &Path) -> Result<Self> {
        folder::check(path)?;
        if let Some(holder) = WriteLock::holder(path) {
            return Err(TapeError::BeingWritten { path: path.to_owned(), holder });
        }
        if !folder::leftovers(path)?.is_empty() {
            let _lock = WriteLock::take(path)?;
            seal::recover(path)?;
        }
        Ok(Self { path: path.to_owned(), segments: folder::segments(path)? })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is and holds. Reads a segment in full only where it was not closed in order.
    pub fn info(&self) -> Result<Info> {
        let mut summary = Summary::default();
        let mut segments = Vec::new();
        for number in &self.segments {
            let segment = self.segment(*number)?;
            summary.merge(&segment.summary()?);
            segments.push(SegmentInfo {
                number: *number,
                started: segment.started(),
                clean: segment.footer().is_some(),
                writer: segment.header().writer.clone(),
            });
        }
        let stored_bytes = folder::stored_bytes(&self.path);
        Ok(Info { format: crate::FORMAT, segments, summary, stored_bytes })
    }

    /// Its events, oldest segment first. At most one segment is open at a time.
    pub fn events(&self) -> Events {
        Events { tape: self.clone(), next: 0, current: None }
    }

    /// Its calls, in the order of their ends; those without an end come last, as truncated.
    pub fn calls(&self) -> impl Iterator<Item = Result<Call>> + use<> {
        let mut events = self.events();
        let mut assembler = Some(Assembler::default());
        let mut rest = Vec::new().into_iter();
        std::iter::from_fn(move || {
            while let Some(open) = assembler.as_mut() {
                match events.next() {
                    Some(Ok(event)) => {
                        if let Some(call) = open.push(event) {
                            return Some(Ok(call));
                        }
                    }
                    Some(Err(error)) => return Some(Err(error)),
                    None => rest = assembler.take().map(Assembler::finish).unwrap_or_default().into_iter(),
                }
            }
            rest.next().map(Ok)
        })
    }

    pub(crate) fn segments(&self) -> &[u32] {
        &self.segments
    }

    pub(crate) fn segment(&self, number: u32) -> Result<Segment> {
        Segment::open(folder::segment(&self.path, number))
    }
}

type BoxedEvents = Box<dyn Iterator<Item = Result<Event>> + Send>;

/// The events of a tape, in order.
pub struct Events {
    tape: Tape,
    next: usize,
    current: Option<(Segment, BoxedEvents)>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("tape", &self.tape).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((_, events)) = &mut self.current {
                if let Some(event) = events.next() {
                    return Some(event);
                }
                self.current = None;
            }
            let number = *self.tape.segments.get(self.next)?;
            self.next += 1;
            match self.tape.segment(number) {
                Ok(segment) => {
                    let events: BoxedEvents = Box::new(segment.events());
                    self.current = Some((segment, events));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
