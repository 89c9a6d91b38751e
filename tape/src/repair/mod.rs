//! Mends a tape: what can be read stays, and nothing is thrown away.
//!
//! A segment whose recorder was killed gets its end. One that is damaged is written anew from what can be read, with a gap where
//! something is missing, and is kept as it was in `TAPE/damaged`. A store is never opened where it lies before it is known to be
//! whole, because sled drops what follows the damage: it is done with a copy. What is written takes its place only when it is
//! whole, so a crash at any moment leaves one of the two, and the next repair does the rest.

mod holes;
mod keep;
mod salvage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::folder::{self, WriteLock};
use crate::schema::{self, event::Kind};
use crate::seal;
use crate::segment::{Segment, footer_of};
use crate::store;
use crate::verify::{Looked, look};
use crate::{Result, TapeError};
use keep::{Snapshots, copy, replace, set_aside};
use salvage::{After, Salvaged, salvage};

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The file that says that this is a tape was missing.
    Marked,
    /// What was left half done was ended.
    Recovered {
        /// Folders that were put in their place or removed.
        leftovers: usize,
    },
    /// What a full disk left of a store's snapshots was removed.
    Tidied {
        /// The segment.
        segment: u32,
        /// Files.
        files: usize,
    },
    /// A segment whose recorder was killed got its end.
    Ended {
        /// The segment.
        segment: u32,
        /// Calls that start in it.
        calls: u64,
    },
    /// A segment that had its end was packed.
    Packed {
        /// The segment.
        segment: u32,
    },
    /// A damaged segment was written anew.
    Rewritten {
        /// The segment.
        segment: u32,
        /// What was wrong with it.
        reason: String,
        /// Calls that start in it.
        calls: u64,
        /// Calls that are missing, or miss something.
        lost: u64,
        /// Where it is kept as it was.
        kept: PathBuf,
    },
    /// A segment of which nothing can be read was taken off the tape.
    TakenOff {
        /// The segment.
        segment: u32,
        /// What is wrong with it.
        reason: String,
        /// Whether there never was anything in it.
        is_empty: bool,
        /// Where it is kept.
        kept: PathBuf,
    },
}

impl Repair {
    /// The segment that it was done to.
    pub fn segment(&self) -> Option<u32> {
        match self {
            Self::Marked | Self::Recovered { .. } => None,
            Self::Tidied { segment, .. }
            | Self::Ended { segment, .. }
            | Self::Packed { segment }
            | Self::Rewritten { segment, .. }
            | Self::TakenOff { segment, .. } => Some(*segment),
        }
    }

    /// Whether it mended what was wrong; else only the rest of the tape is well.
    pub fn is_mended(&self) -> bool {
        !matches!(self, Self::TakenOff { is_empty: false, .. })
    }

    /// Where the damaged original is kept.
    pub fn kept(&self) -> Option<&Path> {
        match self {
            Self::Rewritten { kept, .. } | Self::TakenOff { kept, .. } => Some(kept),
            _ => None,
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marked => {
                write!(f, "the file that says that this is a tape was missing, and is there again")
            }
            Self::Recovered { leftovers } => {
                write!(f, "{leftovers} leftovers of packing cut short were cleared up")
            }
            Self::Tidied { files, .. } => write!(f, "{files} leftovers of a full disk were removed"),
            Self::Ended { calls, .. } => {
                write!(f, "its recorder was killed; it has an end now, and {calls} calls")
            }
            Self::Packed { .. } => write!(f, "it was packed"),
            Self::Rewritten { reason, calls, lost, kept, .. } => write!(
                f,
                "{reason}; written anew with {calls} calls, {lost} calls lost something; kept as it was in {}",
                kept.display()
            ),
            Self::TakenOff { is_empty: true, kept, .. } => {
                write!(
                    f,
                    "its recorder was killed before there was anything in it; moved to {}",
                    kept.display()
                )
            }
            Self::TakenOff { reason, kept, .. } => {
                write!(f, "nothing of it can be read: {reason}; moved to {}", kept.display())
            }
        }
    }
}

/// What was done to a tape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Everything that was done, by segment; nothing where all was well.
    pub repairs: Vec<Repair>,
}

impl Repaired {
    /// Whether everything that was wrong is mended.
    pub fn is_mended(&self) -> bool {
        self.repairs.iter().all(Repair::is_mended)
    }
}

/// Mends what can be mended of a tape. Refused while a recorder writes it.
///
/// # Errors
/// What kept it from being mended. What was done until then stays done; it can be run again.
pub fn repair(tape: &Path) -> Result<Repaired> {
    let mut repairs = Vec::new();
    match folder::check(tape) {
        Err(TapeError::NotATape(_)) if has_segments(tape) => repairs.push(Repair::Marked),
        other => other?,
    }
    let _lock = WriteLock::take(tape)?;
    if !repairs.is_empty() {
        folder::mark(tape)?;
    }
    let leftovers = folder::leftovers(tape)?.len();
    if leftovers > 0 {
        seal::recover(tape)?;
        repairs.push(Repair::Recovered { leftovers });
    }
    keep::recover(tape)?;
    let mut of_segments = Vec::new();
    // The last one first: a damaged one is told by the one after it what it lost.
    let mut after = None;
    for number in folder::segments(tape)?.into_iter().rev() {
        of_segments.extend(mend(tape, number, after)?);
        after = folder::segment(tape, number).is_dir().then_some(number).or(after);
    }
    of_segments.reverse();
    repairs.extend(of_segments);
    Ok(Repaired { repairs })
}

fn has_segments(tape: &Path) -> bool {
    folder::segments(tape).is_ok_and(|numbers| !numbers.is_empty())
}

/// Mends a segment; `after` is the next one that is there.
fn mend(tape: &Path, number: u32, after: Option<u32>) -> Result<Vec<Repair>> {
    let path = folder::segment(tape, number);
    let mut done = Vec::new();
    let spent = store::spent_snapshots(&path)?;
    for file in &spent {
        std::fs::remove_file(file).map_err(TapeError::io("removing", file))?;
    }
    let scratch = Scratch::beside(&path);
    done.extend(match condition(&path, &scratch)? {
        Condition::Whole => None,
        Condition::Unpacked => {
            seal::close(tape, number)?;
            seal::pack(tape, number, &AtomicBool::new(false))?;
            Some(Repair::Packed { segment: number })
        }
        Condition::Unclean(looked) => {
            let calls = end(&path, &looked)?;
            // Best effort: it is whole without, only larger.
            let packed =
                seal::close(tape, number).and_then(|()| seal::pack(tape, number, &AtomicBool::new(false)));
            if let Err(error) = packed {
                tracing::warn!(%error, "a mended segment could not be packed; it is whole");
            }
            Some(Repair::Ended { segment: number, calls })
        }
        Condition::Empty(reason) => {
            let kept = set_aside(tape, &path)?;
            Some(Repair::TakenOff { segment: number, reason, is_empty: true, kept })
        }
        Condition::Damaged(reason) => Some(rewrite(tape, number, reason, after, &scratch)?),
    });
    if !spent.is_empty() {
        done.push(Repair::Tidied { segment: number, files: spent.len() });
    }
    Ok(done)
}

/// How a segment is.
enum Condition {
    Whole,
    /// It has its end, and was not packed.
    Unpacked,
    /// Its recorder was killed.
    Unclean(Box<Looked>),
    /// Its recorder was killed when it had only begun it.
    Empty(String),
    Damaged(String),
}

fn condition(path: &Path, scratch: &Scratch) -> Result<Condition> {
    let is_closed = crate::mark::is_there(path);
    let is_packed = is_closed && !crate::mark::is_loose(path);
    // Where nothing tells whether the store is whole, opening it could cost what is left.
    let opened = if is_packed { Segment::open(path.to_owned()) } else { scratch.open(path, Snapshots::Kept) };
    let segment = match opened {
        Ok(segment) => segment,
        Err(TapeError::Damaged { reason, .. }) => {
            let is_empty = !is_closed && keep::holds_nothing(path);
            return Ok(if is_empty { Condition::Empty(reason) } else { Condition::Damaged(reason) });
        }
        Err(TapeError::Store { reason, .. }) => return Ok(Condition::Damaged(reason)),
        Err(error) => return Err(error),
    };
    let looked = guarded(path, || Ok(look(&segment)));
    Ok(match looked {
        Err(_) => Condition::Damaged("its store can't be read".to_owned()),
        Ok(looked) => match looked.damage.first() {
            Some(reason) => Condition::Damaged(reason.clone()),
            None if looked.is_unclean => Condition::Unclean(Box::new(looked)),
            None if is_packed => Condition::Whole,
            None => Condition::Unpacked,
        },
    })
}

/// Gives a segment its end.
fn end(path: &Path, looked: &Looked) -> Result<u64> {
    let mut segment = Segment::open(path.to_owned())?;
    let ended = looked.summary.span.map_or(segment.started(), |(_, last)| last);
    let footer = schema::SegmentFooter {
        events: looked.events,
        mended: true,
        ..footer_of(segment.header(), &looked.summary, ended)
    };
    segment.put_footer(&footer)?;
    Ok(looked.summary.calls)
}

/// Writes a segment anew from what can be read.
fn rewrite(
    tape: &Path,
    number: u32,
    reason: String,
    after: Option<u32>,
    scratch: &Scratch,
) -> Result<Repair> {
    let path = folder::segment(tape, number);
    let fresh = path.with_extension("mended");
    let Some((calls, lost)) = salvaged(tape, &path, &fresh, after, scratch)? else {
        let kept = set_aside(tape, &path)?;
        return Ok(Repair::TakenOff { segment: number, reason, is_empty: false, kept });
    };
    let kept = replace(tape, &path, &fresh)?;
    Ok(Repair::Rewritten { segment: number, reason, calls, lost, kept })
}

/// Writes what can be read; gives its calls, and those that lost something. `None` where it can't even be told what it was.
fn salvaged(
    tape: &Path,
    path: &Path,
    fresh: &Path,
    after: Option<u32>,
    scratch: &Scratch,
) -> Result<Option<(u64, u64)>> {
    // With its snapshots a store knows what lies behind the damage, if they are right; without them it reads as far as it can.
    let mut best: Option<(Snapshots, u64)> = None;
    for snapshots in [Snapshots::Kept, Snapshots::Left] {
        let events =
            scratch.open(path, snapshots).and_then(|segment| guarded(path, || Ok(readable(&segment))));
        if let Ok(events) = events
            && best.is_none_or(|(_, most)| events > most)
        {
            best = Some((snapshots, events));
        }
    }
    let Some((snapshots, _)) = best else { return Ok(None) };
    let segment = scratch.open(path, snapshots)?;
    let after = after.map(|number| what_after(tape, number)).unwrap_or_default();
    let Salvaged { calls, lost } = guarded(path, || salvage(&segment, fresh.to_owned(), after))?;
    Ok(Some((calls, lost)))
}

/// How many events can be read.
fn readable(segment: &Segment) -> u64 {
    segment.chunks().flatten().map(|(_, events)| events.len() as u64).sum()
}

/// What a segment tells of the one before it.
fn what_after(tape: &Path, number: u32) -> After {
    let Ok(segment) = Segment::open(folder::segment(tape, number)) else { return After::default() };
    let first = segment.chunks().flatten().next();
    let events = first.map(|(_, events)| events).unwrap_or_default();
    let continued = events.into_iter().filter_map(|event| match event.kind {
        Some(Kind::CallContinues(it)) => Some(it.call),
        _ => None,
    });
    After { next_call: Some(segment.header().first_call), continued: continued.collect() }
}

/// sled takes some of what is damaged for a fault of its own.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    read.unwrap_or_else(|_| {
        Err(TapeError::Damaged { path: path.to_owned(), reason: "its store can't be read".to_owned() })
    })
}

/// A copy of a segment, on which the store may do what it likes.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn beside(segment: &Path) -> Self {
        Self { path: segment.with_extension("scratch") }
    }

    /// Opens a new copy, of which nothing says how it was closed.
    fn open(&self, segment: &Path, snapshots: Snapshots) -> Result<Segment> {
        self.clear();
        copy(segment, &self.path, snapshots)?;
        guarded(segment, || Segment::open(self.path.clone()))
    }

    fn clear(&self) {
        // What stays is cleared up by the next who writes the tape.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}
