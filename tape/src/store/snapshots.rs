//! sled's snapshots, which a store can do without.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::STORE;
use crate::{Result, TapeError};

/// A snapshot that was being written when the disk filled up would be read as if it were whole.
///
/// # Errors
/// `WouldBlock` where the store is open elsewhere: then it may be being written right now.
pub(super) fn remove_orphan_snapshots(path: &Path) -> io::Result<()> {
    let store = match File::open(path.join(STORE)) {
        Ok(store) => store,
        // sled says what is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    flock(&store, FlockOperation::NonBlockingLockExclusive)?;
    for snapshot in snapshots(path)? {
        if snapshot.to_string_lossy().ends_with(".generating") {
            fs::remove_file(&snapshot)?;
        }
    }
    Ok(())
}

/// What is left of snapshots that were not to be used.
pub(crate) fn spent_snapshots(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(TapeError::io("reading", path))?;
    let spent = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let suffix = path.extension().unwrap_or_default();
        (name.starts_with("snap.") && suffix == "generating")
            || (name.starts_with("old-snap.") && suffix == "aside")
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(spent).collect())
}

/// Whether a file in a store's folder is a snapshot, which the store can do without.
pub(crate) fn is_snapshot(name: &str) -> bool {
    name.starts_with("snap.")
}

/// Without its snapshots sled recovers from its log. Says whether there were any.
pub(super) fn set_snapshots_aside(path: &Path) -> io::Result<bool> {
    let snapshots = snapshots(path)?;
    for snapshot in &snapshots {
        let mut aside = snapshot.file_name().unwrap_or_default().to_owned();
        aside.push(".aside");
        fs::rename(snapshot, snapshot.with_file_name(format!("old-{}", aside.to_string_lossy())))?;
    }
    Ok(!snapshots.is_empty())
}

fn snapshots(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    Ok(entries
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| is_snapshot(&name.to_string_lossy())))
        .collect())
}
