//! Reads a tape.

use std::path::{Path, PathBuf};

use critape_calls::{Assembler, Call, Event, Stamp, Summary};

use crate::folder::{self, WriteLock};
use crate::seal;
use crate::secrets::{Key, Opener, SealPolicy};
use crate::segment::Segment;
use crate::{Result, TapeError};

/// A tape that can be read: as it is stored, with tokens in place of secrets, or [unsealed](Self::unsealed).
#[derive(Clone, Debug)]
pub struct Tape {
    path: PathBuf,
    segments: Vec<u32>,
    /// Opens what is sealed.
    key: Option<Key>,
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
    /// Whether the tape's key is there.
    pub has_key: bool,
}

impl Info {
    /// Whether every segment has its end: it was closed in order, or mended.
    pub fn is_clean(&self) -> bool {
        self.segments.iter().all(|segment| segment.clean)
    }

    /// What is sealed: `none`, `default` or `strict`, or `mixed` where segments differ.
    pub fn seal(&self) -> &str {
        let mut policies = self.segments.iter().map(|segment| segment.seal.as_str());
        match policies.next() {
            Some(first) if policies.any(|policy| policy != first) => "mixed",
            None | Some("") => "none",
            Some(first) => first,
        }
    }

    /// The numbers of the segments that a repair gave their end.
    pub fn mended(&self) -> Vec<u32> {
        self.segments.iter().filter(|segment| segment.mended).map(|segment| segment.number).collect()
    }
}

/// What a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u32,
    /// When it began.
    pub started: Stamp,
    /// Whether it has its end.
    pub clean: bool,
    /// Whether a repair gave it its end: its recorder was killed, or it was damaged.
    pub mended: bool,
    /// Calls that start in it.
    pub calls: u64,
    /// Connections that open in it.
    pub connections: u64,
    /// The program that wrote it.
    pub writer: String,
    /// What of it is sealed: `default` or `strict`; empty where nothing is.
    pub seal: String,
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
        Ok(Self { path: path.to_owned(), segments: folder::segments(path)?, key: None })
    }

    /// The same tape, read as it came over the socket where its key is there; else, and where a segment has another key, as it is
    /// stored.
    ///
    /// # Errors
    /// A key that can't be read.
    pub fn unsealed(&self) -> Result<Self> {
        Ok(Self { key: Key::of_tape(&self.path)?, ..self.clone() })
    }

    /// Whether the tape's key is there.
    pub fn has_key(&self) -> bool {
        Key::path(&self.path).is_file()
    }

    /// Whether it has no segments, so that nothing is left of what was recorded.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
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
            let of_segment = segment.summary()?;
            summary.merge(&of_segment);
            segments.push(SegmentInfo {
                number: *number,
                started: segment.started(),
                clean: segment.footer().is_some(),
                mended: segment.footer().is_some_and(|footer| footer.mended),
                calls: of_segment.calls,
                connections: of_segment.connections,
                writer: segment.header().writer.clone(),
                seal: segment.header().seal.clone(),
            });
        }
        let stored_bytes = folder::stored_bytes(&self.path);
        Ok(Info { format: crate::FORMAT, segments, summary, stored_bytes, has_key: self.has_key() })
    }

    /// Its events, oldest segment first. At most one segment is open at a time.
    pub fn events(&self) -> Events {
        let opener = self.key.as_ref().map(Opener::new);
        Events {
            tape: self.clone(),
            next: 0,
            current: None,
            opener,
            is_sealed: false,
            left: SealPolicy::None,
        }
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

    fn segment_path(&self, index: usize) -> PathBuf {
        self.segments
            .get(index)
            .map_or_else(|| self.path.clone(), |number| folder::segment(&self.path, *number))
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
    opener: Option<Opener>,
    /// Whether the current segment is sealed with our key.
    is_sealed: bool,
    /// What is sealed in a segment that our key does not open.
    left: SealPolicy,
}

impl Events {
    /// What of the segments so far stays sealed, because the key is not here.
    pub fn left_sealed(&self) -> SealPolicy {
        self.left
    }

    /// The event as it is to be read.
    fn read(&mut self, event: Result<Event>) -> Result<Event> {
        let mut event = event?;
        match &mut self.opener {
            None => {}
            Some(opener) if !self.is_sealed => opener.pass(&event),
            Some(opener) => opener.open(&mut event).map_err(|_| TapeError::Tampered {
                path: self.tape.segment_path(self.next.saturating_sub(1)),
            })?,
        }
        Ok(event)
    }
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
                    return Some(self.read(event));
                }
                self.current = None;
            }
            let number = *self.tape.segments.get(self.next)?;
            self.next += 1;
            match self.tape.segment(number) {
                Ok(segment) => {
                    let check = self.opener.as_mut().map(|opener| {
                        opener.begin_segment();
                        opener.check()
                    });
                    self.is_sealed = check.is_some_and(|check| segment.header().key_check == check);
                    if !self.is_sealed {
                        self.left = self.left.max(SealPolicy::of_header(&segment.header().seal));
                    }
                    let events: BoxedEvents = Box::new(segment.events());
                    self.current = Some((segment, events));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
