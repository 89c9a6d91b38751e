//! What a segment that was closed in order looks like on disk, so that damage is seen before the store sees it.
//!
//! sled takes a store that is cut off or damaged for one whose writer was killed: it drops what follows the damage, and writes
//! that down. So its file is looked at first, and nothing opens one that is not as it was left. While a segment is written,
//! the number of its events that must survive a crash stands beside it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::store::{Mode, Store};
use crate::{Result, TapeError};

const NAME: &str = "closed";
/// The same while it is written.
const NEW: &str = "closed.new";
const COMMITTED: &str = "committed";
/// Digits of a note of what is committed: it is written over the last one, so all have one length.
const COMMITTED_BYTES: usize = 21;
/// sled's file in a segment.
pub(crate) const STORE: &str = "db";

fn place(segment: &Path) -> PathBuf {
    segment.join(NAME)
}

/// Whether the segment was closed in order.
pub(crate) fn is_there(segment: &Path) -> bool {
    place(segment).is_file()
}

/// Whether this is the name of the file that says so.
pub(crate) fn is_mark(name: &str) -> bool {
    name == NAME
}

/// Whether the segment, if it was about to begin, has begun: either note says so.
pub(crate) fn has_begun(segment: &Path) -> bool {
    is_there(segment) || segment.join(COMMITTED).is_file()
}

/// Opens the note of how many events of a new segment are committed.
pub(crate) fn begin(segment: &Path) -> Result<File> {
    let path = segment.join(COMMITTED);
    File::create(&path).map_err(TapeError::io("making", &path))
}

/// The note that says that so many events will survive a crash.
pub(crate) fn committed(events: u64) -> Vec<u8> {
    format!("{events:020}\n").into_bytes()
}

/// How many events of this segment were committed, where that was noted.
pub(crate) fn committed_events(segment: &Path) -> Option<u64> {
    let mut text = String::new();
    let file = File::open(segment.join(COMMITTED)).ok()?;
    file.take(COMMITTED_BYTES as u64).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// In which form a closed segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it was recorded: it is still to be packed.
    Loose,
    /// As it stays.
    Packed,
}

/// The note of one that is loose.
const LOOSE: &str = "loose";
/// The note of one that is packed and can't be held against anything.
const UNMEASURED: &str = "packed";

/// Whether this segment was closed in order and is still to be packed.
pub(crate) fn is_loose(segment: &Path) -> bool {
    fs::read_to_string(place(segment)).is_ok_and(|text| text.trim() == LOOSE)
}

/// Whether this segment is as it stays: packed, and no longer changed by being opened.
pub(crate) fn is_final(segment: &Path) -> bool {
    fs::read_to_string(place(segment)).is_ok_and(|text| !matches!(text.trim(), LOOSE | UNMEASURED))
}

/// Notes that this segment was closed in order, and where it stays as it is, how its store is left.
///
/// A store that is as it was recorded has room in it that is written over when it is opened again, so there is nothing to hold it
/// against; its footer, which was written last, tells whether its end is there. A packed store has no such room, which is tried.
pub(crate) fn put(segment: &Path, form: Form) -> Result<()> {
    match form {
        Form::Loose => write(segment, LOOSE)?,
        Form::Packed => {
            measured(segment)?;
            drop(Store::open(segment, Mode::Existing)?);
            if check(segment).is_err() {
                tracing::debug!(path = %segment.display(), "a packed store changes when it is opened");
                write(segment, UNMEASURED)?;
            }
        }
    }
    // What was committed is all that there is. Nothing is lost where it stays.
    let _ = fs::remove_file(segment.join(COMMITTED));
    Ok(())
}

fn measured(segment: &Path) -> Result<()> {
    let (length, sum) = measure(segment, u64::MAX)?;
    write(segment, &format!("{length} {sum:08x}"))
}

fn write(segment: &Path, note: &str) -> Result<()> {
    // All of it or nothing: on a full disk a part of a note would say that the segment is damaged.
    let (path, new) = (place(segment), segment.join(NEW));
    let written = fs::write(&new, format!("{note}\n")).and_then(|()| fs::rename(&new, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        TapeError::io("writing", &path)(error)
    })
}

/// Refuses a segment that was closed in order and is no longer as it was left.
pub(crate) fn check(segment: &Path) -> Result<()> {
    let path = place(segment);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // Not closed in order: there is nothing to hold it against.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(TapeError::io("reading", &path)(error)),
    };
    if matches!(text.trim(), LOOSE | UNMEASURED) {
        return Ok(());
    }
    let damaged = |reason: String| Err(TapeError::Damaged { path: segment.to_owned(), reason });
    let mut fields = text.split_whitespace();
    let Some(left) = fields.next().and_then(|field| field.parse().ok()) else {
        return damaged("the note of how it was closed can't be read".to_owned());
    };
    // Opening it again may have made the file longer, with nothing in it.
    let (length, sum) = match measure(segment, left) {
        Ok(measured) => measured,
        Err(TapeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return damaged("its store is gone".to_owned());
        }
        Err(error) => return Err(error),
    };
    if length < left {
        return damaged(format!("its store has {length} bytes of {left}"));
    }
    if fields.next() != Some(&format!("{sum:08x}")) {
        return damaged("its store does not match its checksum".to_owned());
    }
    Ok(())
}

/// Length and checksum of a store, no further than `limit`.
fn measure(segment: &Path, limit: u64) -> Result<(u64, u32)> {
    let path = segment.join(STORE);
    let file = File::open(&path).map_err(TapeError::io("opening the store of", segment))?;
    let mut file = file.take(limit);
    let mut hasher = crc32fast::Hasher::new();
    let mut chunk = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let count = file.read(&mut chunk).map_err(TapeError::io("reading", &path))?;
        if count == 0 {
            return Ok((length, hasher.finalize()));
        }
        length += count as u64;
        hasher.update(&chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let segment = folder.path();
        // As on a full disk, it can't be written.
        fs::create_dir(segment.join(NEW)).unwrap();
        assert!(put(segment, Form::Loose).is_err());
        assert!(!is_there(segment) && check(segment).is_ok());
        fs::remove_dir(segment.join(NEW)).unwrap();
        put(segment, Form::Loose).unwrap();
        assert!(is_loose(segment));
    }
}
