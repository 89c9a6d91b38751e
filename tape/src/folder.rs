//! The folder of a tape: its marker, its lock, its segments.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::mark;
use crate::{FORMAT, Result, TapeError};

const MARKER: &str = "critape-tape";
/// The marker while it is written.
const NEW_MARKER: &str = "critape-tape.new";
const LOCK: &str = "lock";
const SEGMENTS: &str = "segments";
const DAMAGED: &str = "damaged";
/// Names the segment that is about to begin.
const BEGINS: &str = "begins";
/// Mode of a tape's folder.
const OWNER_ONLY: u32 = 0o700;
const MARKER_PREFIX: &str = "critape tape, format ";

/// Whether this folder is a tape, of whatever format.
pub fn is_tape(path: &Path) -> bool {
    path.join(MARKER).is_file()
}

/// Makes the folder of a new tape. The marker comes last: a folder without it is no tape yet.
pub(crate) fn create(path: &Path) -> Result<()> {
    let segments = path.join(SEGMENTS);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.exists() {
        fs::create_dir_all(parent).map_err(TapeError::io("making", &segments))?;
    }
    // What is in it went over a socket that only its owner may use.
    if let Err(error) = fs::DirBuilder::new().mode(OWNER_ONLY).create(path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(TapeError::io("making", &segments)(error));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY))
        .map_err(TapeError::io("closing", path))?;
    fs::create_dir_all(&segments).map_err(TapeError::io("making", &segments))?;
    mark(path)
}

/// Says that this is a tape.
pub(crate) fn mark(path: &Path) -> Result<()> {
    let (new, marker) = (path.join(NEW_MARKER), path.join(MARKER));
    fs::write(&new, format!("{MARKER_PREFIX}{FORMAT}\n"))
        .and_then(|()| fs::rename(&new, &marker))
        .map_err(TapeError::io("writing", &marker))
}

/// Whether a tape may be made of this folder: nothing is in it but what [`create`] leaves when it is cut short.
pub(crate) fn is_vacant(path: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(path) else { return false };
    let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    entries.all(|entry| {
        entry.is_ok_and(|entry| {
            let name = entry.file_name();
            name == NEW_MARKER || (name == SEGMENTS && is_empty(&entry.path()))
        })
    })
}

/// Checks that `path` is a tape of a format that is known here.
pub(crate) fn check(path: &Path) -> Result<()> {
    let marker = path.join(MARKER);
    let text = match fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::NotADirectory =>
        {
            return Err(if path.exists() {
                TapeError::NotATape(path.to_owned())
            } else {
                TapeError::Absent(path.to_owned())
            });
        }
        Err(error) => return Err(TapeError::io("reading", marker)(error)),
    };
    let format = text.trim().strip_prefix(MARKER_PREFIX).and_then(|number| number.parse().ok());
    match format {
        Some(found) if found > FORMAT => {
            Err(TapeError::Newer { path: path.to_owned(), found, known: FORMAT })
        }
        Some(_) => Ok(()),
        None => Err(TapeError::NotATape(path.to_owned())),
    }
}

/// The folder of segment `number`.
pub(crate) fn segment(path: &Path, number: u32) -> PathBuf {
    path.join(SEGMENTS).join(format!("{number:08}"))
}

/// Which folder has this name now.
pub(crate) fn identity(segment: &Path) -> Option<(u64, u64)> {
    fs::metadata(segment).ok().map(|data| (data.dev(), data.ino()))
}

/// The numbers of the segments that are there, in order. One whose recorder was killed before it had begun is not.
pub(crate) fn segments(path: &Path) -> Result<Vec<u32>> {
    let mut numbers = numbered(path)?;
    let unbegun = unbegun(path);
    numbers.retain(|number| Some(*number) != unbegun);
    Ok(numbers)
}

/// Notes that a segment is about to begin, until [`has_begun`] says that it has.
pub(crate) fn begins(path: &Path, number: u32) -> Result<()> {
    let note = path.join(BEGINS);
    fs::write(&note, format!("{number}\n")).map_err(TapeError::io("writing", note))
}

pub(crate) fn has_begun(path: &Path) {
    // Where it stays, the segment's own note says that it has begun.
    let _ = fs::remove_file(path.join(BEGINS));
}

/// Removes what is left of a segment that had not begun: nothing was on it. Only for who holds the lock.
pub(crate) fn remove_unbegun(path: &Path) -> Result<()> {
    let left = unbegun(path).map(|number| segment(path, number)).filter(|segment| segment.exists());
    if let Some(segment) = left {
        fs::remove_dir_all(&segment).map_err(TapeError::io("removing", &segment))?;
    }
    has_begun(path);
    Ok(())
}

fn unbegun(path: &Path) -> Option<u32> {
    let number = fs::read_to_string(path.join(BEGINS)).ok()?.trim().parse().ok()?;
    (!mark::has_begun(&segment(path, number))).then_some(number)
}

/// The numbers of all folders for segments, in order.
fn numbered(path: &Path) -> Result<Vec<u32>> {
    let folder = path.join(SEGMENTS);
    let entries = fs::read_dir(&folder).map_err(TapeError::io("reading", &folder))?;
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(TapeError::io("reading", &folder))?;
        numbers.extend(entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Folders beside the segments that are none: packing was cut short.
pub(crate) fn leftovers(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = path.join(SEGMENTS);
    let entries = fs::read_dir(&folder).map_err(TapeError::io("reading", &folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(TapeError::io("reading", &folder))?.path();
        let numbered = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if path.extension().is_some() && path.file_stem().is_some_and(numbered) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Where damaged segments are kept.
pub(crate) fn damaged(path: &Path) -> PathBuf {
    path.join(DAMAGED)
}

/// The numbers of the damaged segments that are kept.
pub(crate) fn set_aside(path: &Path) -> Vec<u32> {
    let entries = fs::read_dir(damaged(path)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.split(['-', '.']).next()?.parse().ok()).collect()
}

/// Bytes of all files below `path`; what can't be looked at counts nothing.
pub(crate) fn stored_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => stored_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The right to write a tape. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct WriteLock {
    _file: File,
}

impl WriteLock {
    /// Takes it, or says who has it.
    pub(crate) fn take(tape: &Path) -> Result<Self> {
        let path = tape.join(LOCK);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(TapeError::io("opening", &path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(TapeError::BeingWritten { path: tape.to_owned(), holder: holder(&mut file) });
        }
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut file).map_err(TapeError::io("writing", &path))?;
        Ok(Self { _file: file })
    }

    /// The process that has it now, if one has.
    pub(crate) fn holder(tape: &Path) -> Option<String> {
        let mut file = File::open(tape.join(LOCK)).ok()?;
        let taken = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        taken.then(|| holder(&mut file))
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // Bounded: the file holds a process id.
    let _ = file.take(32).read_to_string(&mut text);
    let text = text.trim();
    if text.is_empty() { "(unknown)".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tape_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tape");
        assert!(matches!(check(&path), Err(TapeError::Absent(_))));
        assert!(matches!(check(folder.path()), Err(TapeError::NotATape(_))));
        create(&path).unwrap();
        check(&path).unwrap();
        fs::write(path.join(MARKER), "critape tape, format 99\n").unwrap();
        assert!(matches!(check(&path), Err(TapeError::Newer { found: 99, .. })));
        fs::write(path.join(MARKER), "something\n").unwrap();
        assert!(matches!(check(&path), Err(TapeError::NotATape(_))));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(check(&file), Err(TapeError::NotATape(_))));
    }

    #[test]
    fn two_writers_are_refused_and_told_who_writes() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path()).unwrap();
        let lock = WriteLock::take(folder.path()).unwrap();
        let me = std::process::id().to_string();
        assert!(
            matches!(WriteLock::take(folder.path()), Err(TapeError::BeingWritten { holder, .. }) if holder == me)
        );
        assert_eq!(WriteLock::holder(folder.path()), Some(me));
        drop(lock);
        assert_eq!(WriteLock::holder(folder.path()), None);
        WriteLock::take(folder.path()).unwrap();
    }
}
