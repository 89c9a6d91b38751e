//! The one place that knows sled.
//!
//! sled 0.34 has edges that were measured: a second opener gets `WouldBlock`; opening on a nearly full disk leaves a
//! half-written snapshot that is taken for a whole one ever after; dropping a database after a failed write can hang. Its thread
//! that flushes now and then races with whoever else flushes, for memory that one of the two has freed. Each is met here, the last
//! by having no such thread: what it did besides, to sync the file, is done with each flush.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::{Result, TapeError};

/// sled's cache; tapes are written once and read in order, so a small one will do.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// The largest value that sled keeps beside its neighbours; a larger one gets a file of its own that is never synced.
const MAX_VALUE_BYTES: usize = 96 * 1024;
/// How long to wait for another process that has the store open: readers are brief, and packing takes seconds.
const BUSY_WAIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// How often to look whether it has finished.
const BUSY_STEP: Duration = Duration::from_millis(20);

/// What is said of a store that sled can't cope with.
const SENSELESS: &str = "no sense can be made of its data";
/// The file that sled locks.
const STORE: &str = "db";

const HEADER: &[u8] = b"header";
const FOOTER: &[u8] = b"footer";
const PROGRESS: &[u8] = b"progress";
const DESCRIPTORS: &[u8] = b"descriptors";
const EVENTS: &str = "events";
/// What the names of trees with full chunks begin with; the position of the first event and a number follow.
const FULL: &str = "full-";
/// Values in one of these trees: so few that sled never splits a page, which would be written twice.
const TREE_PARTS: usize = 8;

/// An open segment store: a few named entries, and chunks keyed by the position of their first event.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// To sync it with: sled does not hand out its own.
    file: File,
    /// Taken out, and leaked, after a failed write: dropping it may then wait for ever.
    open: Option<Open>,
    /// The folder, by which sled knows it: under its name there may be another soon, and what sled writes belongs in this one.
    _folder: File,
}

#[derive(Debug)]
struct Open {
    db: sled::Db,
    events: sled::Tree,
}

/// Whether a store is made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// There is one already.
    Existing,
    /// There is none yet.
    New,
}

impl Store {
    pub(crate) fn open(path: &Path, mode: Mode) -> Result<Self> {
        if mode == Mode::New {
            fs::create_dir_all(path).map_err(TapeError::io("making", path))?;
        }
        let folder = File::open(path).map_err(TapeError::io("opening", path))?;
        let here = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        let db = match open_patiently(&here, mode) {
            Ok(db) => db,
            Err(sled::Error::Corruption { .. })
                if mode == Mode::Existing
                    && set_snapshots_aside(&here).map_err(TapeError::io("looking into", path))? =>
            {
                open_patiently(&here, mode).map_err(|error| opening(path, &error))?
            }
            Err(error) => return Err(opening(path, &error)),
        };
        let events = db.open_tree(EVENTS).map_err(|error| opening(path, &error))?;
        let file = File::open(here.join(STORE)).map_err(TapeError::io("opening the store of", path))?;
        Ok(Self { path: path.to_owned(), file, open: Some(Open { db, events }), _folder: folder })
    }

    pub(crate) fn header(&self) -> Result<Option<Vec<u8>>> {
        self.entry(HEADER)
    }

    pub(crate) fn descriptors(&self) -> Result<Option<Vec<u8>>> {
        self.entry(DESCRIPTORS)
    }

    pub(crate) fn footer(&self) -> Result<Option<Vec<u8>>> {
        self.entry(FOOTER)
    }

    /// Counts that were noted while the segment was written.
    pub(crate) fn progress(&self) -> Result<Option<Vec<u8>>> {
        self.entry(PROGRESS)
    }

    pub(crate) fn put_header(&mut self, header: Vec<u8>, descriptors: Vec<u8>) -> Result<()> {
        self.write("writing the header to", |open| {
            open.db.insert(HEADER, header)?;
            open.db.insert(DESCRIPTORS, descriptors)?;
            Ok(())
        })
    }

    pub(crate) fn put_footer(&mut self, footer: Vec<u8>) -> Result<()> {
        self.write("writing the footer to", |open| open.db.insert(FOOTER, footer).map(drop))
    }

    pub(crate) fn put_progress(&mut self, progress: Vec<u8>) -> Result<()> {
        self.write("noting the counts in", |open| open.db.insert(PROGRESS, progress).map(drop))
    }

    /// Stores a chunk whose first event has this position, all of it or nothing.
    pub(crate) fn put_chunk(&mut self, first: u64, chunk: &[u8]) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (part, bytes) in chunk.chunks(MAX_VALUE_BYTES).enumerate() {
            batch.insert(key(first, part as u32).to_vec(), bytes);
        }
        self.write("writing to", |open| open.events.apply_batch(batch))
    }

    /// Stores a chunk that is written bit by bit, so that it is never in memory as a whole: all of it or nothing. Gives its length.
    pub(crate) fn put_long_chunk(
        &mut self,
        first: u64,
        write: impl FnOnce(&mut Parts<'_>) -> io::Result<()>,
    ) -> Result<u64> {
        let mut length = 0;
        self.write("writing to", |open| {
            let mut parts =
                Parts { events: &open.events, first, beginning: Vec::new(), part: Vec::new(), number: 0 };
            write(&mut parts)?;
            length = parts.end()?;
            Ok(())
        })?;
        Ok(length)
    }

    /// Stores a full chunk of a closed segment in trees of its own: beside others, the store would write it again with each of them,
    /// and leave what it wrote before as room that is written over when it is opened again.
    pub(crate) fn put_full_chunk(&mut self, first: u64, chunk: &[u8]) -> Result<()> {
        self.write("writing to", |open| {
            let parts: Vec<&[u8]> = chunk.chunks(MAX_VALUE_BYTES).collect();
            for (group, parts) in parts.chunks(TREE_PARTS).enumerate() {
                let tree = open.db.open_tree(format!("{FULL}{first:016x}-{group:08x}"))?;
                for (index, bytes) in parts.iter().enumerate() {
                    tree.insert(key(first, (group * TREE_PARTS + index) as u32), *bytes)?;
                }
            }
            Ok(())
        })
    }

    /// Makes everything written so far survive the end of this process, and of the machine.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write("flushing", |open| open.db.flush().map(drop))?;
        self.file.sync_data().map_err(TapeError::io("syncing", &self.path))
    }

    /// The chunks in order, from the one that begins at this position: position of the first event, and bytes.
    pub(crate) fn chunks(&self, from: u64) -> impl Iterator<Item = Result<(u64, Vec<u8>)>> + use<> {
        chunks(self.path.clone(), self.open.as_ref().map(trees).unwrap_or_default(), from)
    }

    /// What others may read while it is written. It keeps the store open.
    pub(crate) fn view(&self) -> Option<View> {
        let open = self.open.as_ref()?;
        Some(View { path: self.path.clone(), events: open.events.clone() })
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(open) = &self.open else { return Ok(None) };
        match open.db.get(key) {
            Ok(value) => Ok(value.map(|value| value.to_vec())),
            Err(error) => Err(reading(&self.path, &error)),
        }
    }

    fn write(&mut self, action: &'static str, write: impl FnOnce(&Open) -> sled::Result<()>) -> Result<()> {
        let Some(open) = &self.open else {
            return Err(self.refused(action, "it failed before"));
        };
        match write(open) {
            Ok(()) => Ok(()),
            Err(error) => {
                // Its memory is lost until the process ends; a drop might never return.
                std::mem::forget(self.open.take());
                if let Err(error) = unlock(&self.file) {
                    tracing::debug!(%error, "a store that failed stays locked as long as this program runs");
                }
                Err(match error {
                    sled::Error::Io(io) if io.kind() == io::ErrorKind::StorageFull => {
                        TapeError::io(action, &self.path)(io)
                    }
                    error => self.refused(action, &plain(&error)),
                })
            }
        }
    }

    fn refused(&self, action: &'static str, reason: &str) -> TapeError {
        TapeError::Store { action, path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// Stores a chunk part by part. The first part comes last: without it the others count for nothing.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    events: &'a sled::Tree,
    first: u64,
    beginning: Vec<u8>,
    /// The one that is being filled.
    part: Vec<u8>,
    /// Its number.
    number: u32,
}

impl Parts<'_> {
    fn store_part(&mut self) -> sled::Result<()> {
        let part = std::mem::take(&mut self.part);
        if self.number == 0 {
            self.beginning = part;
        } else {
            self.events.insert(key(self.first, self.number), part)?;
        }
        self.number += 1;
        Ok(())
    }

    /// Gives the length of the chunk.
    fn end(mut self) -> sled::Result<u64> {
        let whole = self.number as usize * MAX_VALUE_BYTES;
        let length = whole + self.part.len();
        if !self.part.is_empty() {
            self.store_part()?;
        }
        self.events.insert(key(self.first, 0), self.beginning)?;
        Ok(length as u64)
    }
}

impl Write for Parts<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MAX_VALUE_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == MAX_VALUE_BYTES {
            self.store_part()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The chunks of a store that is being written.
#[derive(Debug)]
pub(crate) struct View {
    path: PathBuf,
    events: sled::Tree,
}

impl View {
    /// As those of a store.
    pub(crate) fn chunks(&self, from: u64) -> impl Iterator<Item = Result<(u64, Vec<u8>)>> + use<> {
        chunks(self.path.clone(), vec![self.events.clone()], from)
    }
}

fn chunks(
    path: PathBuf,
    trees: Vec<sled::Tree>,
    from: u64,
) -> impl Iterator<Item = Result<(u64, Vec<u8>)>> + use<> {
    let mut entries =
        trees.into_iter().flat_map(move |tree| until_error(tree.range(key(from, 0)..))).peekable();
    std::iter::from_fn(move || {
        // The writer of a long chunk was killed before it had written its first part.
        while entries.next_if(|next| next.as_ref().is_ok_and(|(key, _)| part(key) > 0)).is_some() {}
        let (first, mut chunk) = match entries.next()? {
            Ok((key, value)) => (position(&key), value.to_vec()),
            Err(error) => return Some(Err(reading(&path, &error))),
        };
        while let Some(Ok((key, value))) = entries
            .next_if(|next| next.as_ref().is_ok_and(|(key, _)| position(key) == first && part(key) > 0))
        {
            debug_assert_eq!(position(&key), first);
            chunk.extend_from_slice(&value);
        }
        Some(Ok((first, chunk)))
    })
}

/// Makes a store that is closed survive the end of the machine as well.
pub(crate) fn sync(path: &Path) -> Result<()> {
    fs::File::open(path.join("db"))
        .and_then(|file| file.sync_all())
        .map_err(TapeError::io("syncing the store of", path))
}

/// The trees with chunks, in the order of their events: those of a live recording or those of a packed segment, never both.
fn trees(open: &Open) -> Vec<sled::Tree> {
    let mut names: Vec<sled::IVec> =
        open.db.tree_names().into_iter().filter(|name| name.starts_with(FULL.as_bytes())).collect();
    names.sort();
    let full = names.iter().filter_map(|name| open.db.open_tree(name).ok());
    std::iter::once(open.events.clone()).chain(full).collect()
}

/// What comes up to the first error, and that: sled's iterator gives the same one for ever after.
fn until_error<T>(entries: impl Iterator<Item = sled::Result<T>>) -> impl Iterator<Item = sled::Result<T>> {
    let mut failed = false;
    entries.take_while(move |entry| !std::mem::replace(&mut failed, entry.is_err()))
}

fn open_patiently(path: &Path, mode: Mode) -> sled::Result<sled::Db> {
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

fn opening(path: &Path, error: &sled::Error) -> TapeError {
    match error {
        denied if is_denied(denied) => TapeError::Denied { path: path.to_owned() },
        busy if is_busy(busy) => TapeError::Busy { path: path.to_owned() },
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => reading(path, error),
        _ => TapeError::Store { action: "opening", path: path.to_owned(), reason: plain(error) },
    }
}

fn reading(path: &Path, error: &sled::Error) -> TapeError {
    TapeError::Damaged { path: path.to_owned(), reason: plain(error) }
}

/// What went wrong, in one line.
fn plain(error: &sled::Error) -> String {
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
fn unlock(store: &File) -> io::Result<()> {
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

/// A snapshot that was being written when the disk filled up would be read as if it were whole.
///
/// # Errors
/// `WouldBlock` where the store is open elsewhere: then it may be being written right now.
fn remove_orphan_snapshots(path: &Path) -> io::Result<()> {
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
fn set_snapshots_aside(path: &Path) -> io::Result<bool> {
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

fn key(first: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn position(key: &[u8]) -> u64 {
    key.first_chunk().map_or(u64::MAX, |first| u64::from_be_bytes(*first))
}

fn part(key: &[u8]) -> u32 {
    key.last_chunk().map_or(0, |part| u32::from_be_bytes(*part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        let mut store = Store::open(&path, Mode::New).unwrap();
        let large: Vec<u8> = (0..MAX_VALUE_BYTES * 2 + 7).map(|byte| byte as u8).collect();
        store.put_chunk(0, b"a").unwrap();
        store.put_chunk(3, &large).unwrap();
        store.put_chunk(500, b"c").unwrap();
        store.flush().unwrap();
        let chunks: Vec<_> = store.chunks(0).map(Result::unwrap).collect();
        assert_eq!(chunks, [(0, b"a".to_vec()), (3, large), (500, b"c".to_vec())]);
    }

    #[test]
    fn a_long_chunk_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("1"), Mode::New).unwrap();
        store.put_chunk(0, b"a").unwrap();
        let mut expected = vec![(0, b"a".to_vec())];
        for (first, length) in [(1, 0), (2, 5), (3, MAX_VALUE_BYTES), (4, MAX_VALUE_BYTES * 3 + 1)] {
            let long: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let stored = store
                .put_long_chunk(first, |parts| long.chunks(1000).try_for_each(|some| parts.write_all(some)));
            assert_eq!(stored.unwrap(), length as u64);
            expected.push((first, long));
        }
        let open = store.open.as_ref().unwrap();
        for number in 1..4 {
            open.events.insert(key(5, number), b"left behind").unwrap();
        }
        store.put_chunk(6, b"b").unwrap();
        expected.push((6, b"b".to_vec()));
        assert_eq!(store.chunks(0).map(Result::unwrap).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_orphan_snapshot_does_not_brick_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        let mut store = Store::open(&path, Mode::New).unwrap();
        store.put_header(b"h".to_vec(), b"d".to_vec()).unwrap();
        store.flush().unwrap();
        drop(store);
        fs::write(path.join("snap.0000000000000999.generating"), b"half").unwrap();
        let store = Store::open(&path, Mode::Existing).unwrap();
        assert_eq!(store.header().unwrap().unwrap(), b"h");
    }

    #[test]
    fn a_store_that_is_open_elsewhere_is_busy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        let _store = Store::open(&path, Mode::New).unwrap();
        assert!(matches!(Store::open(&path, Mode::Existing), Err(TapeError::Busy { .. })));
    }
}
