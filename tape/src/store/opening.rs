//! How sled is brought to open a store, and what its errors mean.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::Mode;
use super::snapshots::remove_orphan_snapshots;
use crate::TapeError;

/// sled's cache; tapes are written once and read in order, so a small one will do.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;
/// How long to wait for another process that has the store open: readers are brief, and packing takes seconds.
const BUSY_WAIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// How often to look whether it has finished.
const BUSY_STEP: Duration = Duration::from_millis(20);

/// What is said of a store that sled can't cope with.
const SENSELESS: &str = "no sense can be made of its data";

pub(super) fn open_patiently(path: &Path, mode: Mode) -> sled::Result<sled::Db> {
    let since = Instant::now();
    loop {
        match open_once(path, mode) {
            Err(error) if is_busy(&error) && since.elapsed() < BUSY_WAIT => std::thread::sleep(BUSY_STEP),
            other => return other,
        }
    }
}

fn open_once(path: &Path, mode: Mode) -> sled::Result<sled::Db> {
    if mode == Mode::Existing {
        remove_orphan_snapshots(path)?;
    }
    let config = sled::Config::new()
        .path(path)
        .create_new(mode == Mode::New)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    // It stumbles over some stores that were cut off.
    catch_unwind(AssertUnwindSafe(|| config.open()))
        .unwrap_or_else(|_| Err(sled::Error::ReportableBug(SENSELESS.to_owned())))
}

/// sled hands on the lock's `WouldBlock` inside a text of its own.
fn is_busy(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.kind() == io::ErrorKind::WouldBlock || io.to_string().contains("WouldBlock"))
}

fn is_denied(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.kind() == io::ErrorKind::PermissionDenied || io.to_string().contains("PermissionDenied"))
}

pub(super) fn opening(path: &Path, error: &sled::Error) -> TapeError {
    match error {
        denied if is_denied(denied) => TapeError::Denied { path: path.to_owned() },
        busy if is_busy(busy) => TapeError::Busy { path: path.to_owned() },
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => reading(path, error),
        _ => TapeError::Store { action: "opening", path: path.to_owned(), reason: plain(error) },
    }
}

pub(super) fn reading(path: &Path, error: &sled::Error) -> TapeError {
    TapeError::Damaged { path: path.to_owned(), reason: plain(error) }
}

/// What went wrong, in one line.
pub(super) fn plain(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(io) => io.to_string(),
        sled::Error::Corruption { .. } => "its data does not match its checksums".to_owned(),
        sled::Error::ReportableBug(what) => what.clone(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// Gives back the lock of a store that is never closed, so that it can be read: after an error sled writes nothing more to it.
///
/// sled does not hand out its file; it is found among those that are open, and the lock hangs on all of its handles alike.
pub(super) fn unlock(store: &File) -> io::Result<()> {
    let identity = |file: &fs::Metadata| (file.dev(), file.ino());
    let store = identity(&store.metadata()?);
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let (Some(number), Ok(file)) = (number, fs::metadata(entry.path())) else { continue };
        if identity(&file) == store {
            let handle = File::from(pidfd_getfd(&this, number, PidfdGetfdFlags::empty())?);
            // Another file may have got the number meanwhile.
            if identity(&handle.metadata()?) == store {
                flock(&handle, FlockOperation::Unlock)?;
            }
        }
    }
    Ok(())
}
