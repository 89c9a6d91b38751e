//! Reads a tape.

use std::path::{Path, PathBuf};

use critape_calls::{Assembler, Call, Stamp, Summary};

use crate::events::Events;
use crate::folder::{self, WriteLock};
use crate::seal;
use crate::secrets::{Key, Resealer, SealPolicy};
use crate::segment::Segment;
use crate::{Result, TapeError};

/// A tape that can be read: as it is stored, with tokens in place of secrets, or [unsealed](Self::unsealed).
#[derive(Clone, Debug)]
pub struct Tape {
    path: PathBuf,
    /// Those that are closed.
    segments: Vec<u32>,
    /// The process that writes it.
    holder: Option<String>,
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
    /// Whether a recorder writes it.
    pub fn is_open(&self) -> bool {
        self.segments.iter().any(|segment| segment.open)
    }

    /// Whether every segment that has ended has its end: it was closed in order, or mended.
    pub fn is_clean(&self) -> bool {
        self.segments.iter().all(|segment| segment.clean || segment.open)
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
    /// Whether it is being written.
    pub open: bool,
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
    /// Opens the tape in this folder. It may be written meanwhile: what is committed can be read.
    pub fn open(path: &Path) -> Result<Self> {
        folder::check(path)?;
        let holder = WriteLock::holder(path);
        if holder.is_none() && !folder::leftovers(path)?.is_empty() {
            let _lock = WriteLock::take(path)?;
            seal::recover(path)?;
        }
        let mut tape = Self { path: path.to_owned(), segments: folder::segments(path)?, holder, key: None };
        if let Some(open) = tape.open_segment()? {
            let number = open.header().number;
            tape.segments.retain(|closed| *closed != number);
        }
        Ok(tape)
    }

    /// The process that writes it, if one does.
    pub fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
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

    /// Seals anew what was read unsealed, for what is shown to others; `policy` is what the tape seals. Where the key is not here,
    /// tokens are of one that is made up and forgotten.
    ///
    /// # Errors
    /// A key that can't be read, or none that can be made up.
    pub fn resealer(&self, policy: SealPolicy) -> Result<Resealer> {
        let key = match Key::of_tape(&self.path)? {
            Some(key) => key,
            None => Key::made_up(&self.path)?,
        };
        Ok(Resealer::new(&self.path, &key, policy))
    }

    /// Whether it has no segments, so that nothing is left of what was recorded.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.holder.is_none()
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is and holds. Reads a segment in full only where it was not closed in order.
    pub fn info(&self) -> Result<Info> {
        let mut summary = Summary::default();
        let mut segments = Vec::new();
        for segment in self.each_segment() {
            let segment = segment?;
            let of_segment = segment.summary()?;
            summary.merge(&of_segment);
            segments.push(SegmentInfo {
                number: segment.header().number,
                started: segment.started(),
                clean: segment.footer().is_some(),
                open: segment.is_open(),
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
        Events::of(self.clone())
    }

    /// The same, and then those that its recorder writes, as they are committed, until it ends: waits for them.
    pub fn follow(&self) -> Events {
        Events::following(self.clone())
    }

    /// Its calls, in the order of their ends; those without an end come last, as truncated.
    pub fn calls(&self) -> impl Iterator<Item = Result<Call>> + use<> {
        calls_of(self.events())
    }

    /// The same, and then those that its recorder writes, when they end: waits for them until the recorder ends.
    pub fn following_calls(&self) -> impl Iterator<Item = Result<Call>> + use<> {
        calls_of(self.follow())
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    pub(crate) fn segments(&self) -> &[u32] {
        &self.segments
    }

    /// Its segments in order, one at a time, the open one last.
    pub(crate) fn each_segment(&self) -> impl Iterator<Item = Result<Segment>> + '_ {
        let closed = self.segments.iter().map(|number| self.segment(*number));
        let open = std::iter::once_with(|| self.open_segment().transpose()).flatten();
        closed.chain(open)
    }

    pub(crate) fn segment(&self, number: u32) -> Result<Segment> {
        Segment::open(folder::segment(&self.path, number))
    }

    /// The one that is being written, if one is and its writer shows it.
    pub(crate) fn open_segment(&self) -> Result<Option<Segment>> {
        if self.holder.is_none() {
            return Ok(None);
        }
        match Segment::live(&self.path) {
            Err(TapeError::Io { source, .. }) => {
                tracing::warn!(error = %source, "the open segment can't be read: its writer does not show it");
                Ok(None)
            }
            shown => shown,
        }
    }
}

/// Calls in the order of their ends, and then those without an end, as truncated.
fn calls_of(mut events: Events) -> impl Iterator<Item = Result<Call>> {
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
