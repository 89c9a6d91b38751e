//! How much room a disk must have left for a tape to be written.
//!
//! sled does not survive a disk that fills up under it: a write that failed can make its end hang, and opening a store on a
//! nearly full disk can spoil it. So writing stops while there is still room, and what is left suffices to close the segment
//! in order and to say in another what is missing.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Result, TapeError};

/// Writing stops when less than this share of the disk is free …
const SHARE: u64 = 20;
/// … but at the latest here, in bytes, which one small segment needs twice over …
const LEAST_BYTES: u64 = 4 << 20;
/// … and no earlier than here.
const MOST_BYTES: u64 = 64 << 20;
/// What is written to see whether a disk takes anything at all.
const PROBE_BYTES: usize = 64 * 1024;
const PROBE: &str = "probe";

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// As much as comes: clearly more than what stops it must be free, so that it doesn't stop again at once.
    ForAll,
    /// The next chunk.
    ForMore,
    /// Only what is missing, and the end: from the reserve.
    ForEnd,
}

/// Whether there is room on the disk of `path`, which need not exist yet.
pub(crate) fn check(path: &Path, room: Room) -> Result<()> {
    let place = existing(path);
    let disk = rustix::fs::statvfs(&place)
        .map_err(|error| TapeError::io("looking at the disk of", &place)(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let floor = floor(disk.f_blocks.saturating_mul(disk.f_frsize));
    let needed = match room {
        Room::ForAll => floor + floor / 2,
        Room::ForMore => floor,
        Room::ForEnd => floor / 2,
    };
    if free < needed {
        return Err(TapeError::Full { path: path.to_owned(), free, needed });
    }
    Ok(())
}

/// Free bytes on the disk of `path`; `None` where it can't be told.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(existing(path)).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether a file can be written in this folder.
pub(crate) fn probe(folder: &Path) -> Result<()> {
    let path = folder.join(PROBE);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; PROBE_BYTES])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(TapeError::io("writing", path))
}

fn floor(total: u64) -> u64 {
    (total / SHARE).clamp(LEAST_BYTES, MOST_BYTES)
}

/// The nearest folder above that is there.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|ancestor| ancestor.exists());
    match found {
        Some(found) if !found.as_os_str().is_empty() => found.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_disks_are_used_and_large_ones_not_kept_empty() {
        assert_eq!(floor(8 << 20), LEAST_BYTES);
        assert_eq!(floor(400 << 20), 20 << 20);
        assert_eq!(floor(1 << 40), MOST_BYTES);
    }

    #[test]
    fn a_path_that_is_not_there_yet_lies_on_the_disk_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b/c")), folder.path());
        assert_eq!(existing(Path::new("no-such-folder")), Path::new("."));
        assert!(free(folder.path()).is_some());
        probe(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
