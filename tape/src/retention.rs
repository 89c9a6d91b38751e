//! How much of a tape is kept: whole segments are deleted, oldest first, and never the one that is being written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use critape_calls::Stamp;

use crate::folder::{self, WriteLock};
use crate::segment::Segment;
use crate::{Result, TapeError};

/// What a tape may grow to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bytes on disk.
    pub max_bytes: Option<u64>,
    /// Age of the youngest event of a segment.
    pub max_age: Option<Duration>,
}

/// A segment that is not being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Closed {
    number: u32,
    bytes: u64,
    ended: Stamp,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Segments.
    pub segments: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Deletes what `retention` does not keep. Refused while a recorder writes the tape: it prunes by itself.
pub fn prune(tape: &Path, retention: Retention, now: Stamp) -> Result<Pruned> {
    folder::check(tape)?;
    let _lock = WriteLock::take(tape)?;
    // The last one is no longer written, but without it the numbers would begin again.
    prune_closed(tape, retention, now, None)
}

/// The same, for the one who holds the lock. A segment that is being packed is left for the next time, with those after it.
///
/// Segments are read only to know how old they are, oldest first, and no further than to the first that is kept.
pub(crate) fn prune_closed(
    tape: &Path,
    retention: Retention,
    now: Stamp,
    packed: Option<u32>,
) -> Result<Pruned> {
    if retention == Retention::default() {
        return Ok(Pruned::default());
    }
    let mut numbers = folder::segments(tape)?;
    let bytes = |number: &u32| folder::stored_bytes(&folder::segment(tape, *number));
    let total = numbers.iter().map(bytes).sum();
    let _ = numbers.pop();
    let closed = numbers.iter().take_while(|number| Some(**number) != packed).filter_map(|number| {
        let ended = match retention.max_age {
            // One that can't be read is kept: somebody may still want to look at it.
            Some(_) => Segment::open(folder::segment(tape, *number)).ok()?.ended(),
            None => now,
        };
        Some(Closed { number: *number, bytes: bytes(number), ended })
    });
    let mut pruned = Pruned::default();
    for victim in victims(closed, total, retention, now) {
        let path = folder::segment(tape, victim.number);
        fs::remove_dir_all(&path).map_err(TapeError::io("removing", &path))?;
        pruned.segments += 1;
        pruned.bytes += victim.bytes;
    }
    Ok(pruned)
}

/// Which of the closed segments, oldest first, must go where all segments together have `total` bytes.
fn victims(
    closed: impl Iterator<Item = Closed>,
    mut total: u64,
    retention: Retention,
    now: Stamp,
) -> impl Iterator<Item = Closed> {
    closed.take_while(move |segment| {
        let too_old = retention.max_age.is_some_and(|age| now.since(segment.ended) > age);
        let too_much = retention.max_bytes.is_some_and(|bytes| total > bytes);
        total = total.saturating_sub(segment.bytes);
        too_old || too_much
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: [Closed; 3] = [
        Closed { number: 1, bytes: 10, ended: Stamp(1_000_000_000) },
        Closed { number: 2, bytes: 20, ended: Stamp(2_000_000_000) },
        Closed { number: 3, bytes: 30, ended: Stamp(3_000_000_000) },
    ];

    fn deleted(max_bytes: Option<u64>, max_age: Option<u64>) -> Vec<u32> {
        let retention = Retention { max_bytes, max_age: max_age.map(Duration::from_secs) };
        let victims = victims(CLOSED.into_iter(), 100, retention, Stamp(5_000_000_000));
        victims.map(|segment| segment.number).collect()
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_must() {
        assert_eq!(deleted(None, None), [0_u32; 0]);
        assert_eq!(deleted(Some(100), None), [0_u32; 0]);
        assert_eq!(deleted(Some(99), None), [1]);
        assert_eq!(deleted(Some(71), None), [1, 2]);
        assert_eq!(deleted(Some(0), None), [1, 2, 3], "and never the open one");
        assert_eq!(deleted(None, Some(3)), [1]);
        assert_eq!(deleted(None, Some(1)), [1, 2, 3]);
    }
}
