//! The one place that knows sled.
//!
//! sled 0.34 has edges that were measured: a second opener gets `WouldBlock`; opening on a nearly full disk leaves a
//! half-written snapshot that is taken for a whole one ever after; dropping a database after a failed write can hang. Its thread
//! that flushes now and then races with whoever else flushes, for memory that one of the two has freed. Each is met here, the last
//! by having no such thread: what it did besides, to sync the file, is done with each flush.

mod chunks;
mod opening;
mod snapshots;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::{Result, TapeError};
use chunks::{FULL, MAX_VALUE_BYTES, Parts, key, trees};
use opening::{open_patiently, opening, plain, reading, unlock};
use snapshots::set_snapshots_aside;

pub(crate) use chunks::View;
pub(crate) use snapshots::{is_snapshot, spent_snapshots};

/// The file that sled locks.
const STORE: &str = "db";

const HEADER: &[u8] = b"header";
const FOOTER: &[u8] = b"footer";
const PROGRESS: &[u8] = b"progress";
const DESCRIPTORS: &[u8] = b"descriptors";
const EVENTS: &str = "events";
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

    /// Lets others open it while it is read here. For one that nobody writes to: sled locks it for whoever opens it.
    pub(crate) fn share(&self) {
        if let Err(error) = unlock(&self.file) {
            tracing::debug!(path = %self.path.display(), %error, "a segment is read by one program at a time");
        }
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
            let mut parts = Parts::new(&open.events, first);
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
        chunks::read(self.path.clone(), self.open.as_ref().map(trees).unwrap_or_default(), from)
    }

    /// What others may read while it is written. It keeps the store open.
    pub(crate) fn view(&self) -> Option<View> {
        let open = self.open.as_ref()?;
        Some(View::new(self.path.clone(), open.events.clone()))
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

/// Makes a store that is closed survive the end of the machine as well.
pub(crate) fn sync(path: &Path) -> Result<()> {
    fs::File::open(path.join("db"))
        .and_then(|file| file.sync_all())
        .map_err(TapeError::io("syncing the store of", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

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
