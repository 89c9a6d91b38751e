//! Keeps damaged segments as they were.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::folder;
use crate::mark;
use crate::seal;
use crate::store;
use crate::{Result, TapeError};

/// A copy that is not whole yet.
const PARTIAL: &str = "partial";

/// A store that holds a header and descriptors has more bytes that are not zero.
const MOST_OF_NOTHING: usize = 4096;

/// Whether a copy has the store's snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshots {
    Kept,
    Left,
}

/// Copies a segment so that nothing says any more how it was closed.
pub(super) fn copy(segment: &Path, to: &Path, snapshots: Snapshots) -> Result<()> {
    copy_files(segment, to, &|name| {
        !mark::is_mark(name) && (snapshots == Snapshots::Kept || !store::is_snapshot(name))
    })
}

/// Whether nothing was ever written to a segment.
pub(super) fn holds_nothing(segment: &Path) -> bool {
    let mut file = match File::open(segment.join(mark::STORE)) {
        Ok(file) => file,
        Err(error) => {
            let is_absent = error.kind() == io::ErrorKind::NotFound;
            return is_absent && mark::committed_events(segment).is_none();
        }
    };
    let mut chunk = vec![0; 1 << 16];
    let mut written = 0;
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return true,
            Ok(count) => written += chunk[..count].iter().filter(|byte| **byte != 0).count(),
            Err(_) => return false,
        }
        if written > MOST_OF_NOTHING {
            return false;
        }
    }
}

/// Moves a segment off the tape. Gives its new place.
pub(super) fn set_aside(tape: &Path, segment: &Path) -> Result<PathBuf> {
    let place = place(tape, segment)?;
    fs::rename(segment, &place).map_err(TapeError::io("moving", segment))?;
    Ok(place)
}

/// Puts `fresh` in the place of a segment, of which a copy is kept. Gives the copy's place.
pub(super) fn replace(tape: &Path, segment: &Path, fresh: &Path) -> Result<PathBuf> {
    // First of all, so that a crash at any moment leaves it.
    let kept = place(tape, segment)?;
    let partial = kept.with_extension(PARTIAL);
    copy_files(segment, &partial, &|_| true)?;
    fs::rename(&partial, &kept).map_err(TapeError::io("moving", &partial))?;
    seal::replace(segment, fresh)?;
    Ok(kept)
}

/// Removes copies that a crash left half done.
pub(super) fn recover(tape: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder::damaged(tape)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(TapeError::io("reading", folder::damaged(tape))(error)),
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|suffix| suffix == PARTIAL) {
            fs::remove_dir_all(&path).map_err(TapeError::io("removing", &path))?;
        }
    }
    Ok(())
}

/// Where a damaged segment is kept: under its number, with another behind it if it was damaged before.
fn place(tape: &Path, segment: &Path) -> Result<PathBuf> {
    let folder = folder::damaged(tape);
    fs::create_dir_all(&folder).map_err(TapeError::io("making", &folder))?;
    let name = segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut place = folder.join(&name);
    let mut attempt = 2;
    while place.symlink_metadata().is_ok() {
        place = folder.join(format!("{name}-{attempt}"));
        attempt += 1;
    }
    Ok(place)
}

/// Copies the files of a folder, and waits until the disk has them.
fn copy_files(from: &Path, to: &Path, takes: &dyn Fn(&str) -> bool) -> Result<()> {
    fs::create_dir(to).map_err(TapeError::io("making", to))?;
    for entry in fs::read_dir(from).map_err(TapeError::io("reading", from))? {
        let path = entry.map_err(TapeError::io("reading", from))?.path();
        let name = path.file_name().unwrap_or_default();
        if !takes(&name.to_string_lossy()) {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() {
            copy_files(&path, &target, &|_| true)?;
            continue;
        }
        let copied = fs::copy(&path, &target).and_then(|_| File::open(&target)?.sync_all());
        copied.map_err(TapeError::io("copying", &path))?;
    }
    Ok(())
}
