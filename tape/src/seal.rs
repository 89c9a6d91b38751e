//! Packs a closed segment: the many small commits of a live recording become a few full chunks.
//!
//! The packed copy is written beside the segment and takes its place only when it is whole, so a crash at any moment leaves one of
//! the two.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::chunk::{self, Effort};
use crate::folder;
use crate::mark::{self, Form};
use crate::room::{self, Room};
use crate::segment::Segment;
use crate::store::{self, Mode, Store};
use crate::{Result, TapeError};

/// What a full chunk holds before it is compressed. The fewer and larger, the less the store writes twice.
const FULL_BYTES: usize = 1024 * 1024;

const PACKED: &str = "packed";
const REPLACED: &str = "replaced";

/// Notes that a segment was closed in order; it is packed later. One that was not closed is left as it is.
pub(crate) fn close(tape: &Path, number: u32) -> Result<()> {
    let path = folder::segment(tape, number);
    // Whoever closed it has the store no longer open.
    let segment = Segment::open(path.clone())?;
    if segment.footer().is_none() {
        return Ok(());
    }
    drop(segment);
    mark::put(&path, Form::Loose)
}

/// The segments that are closed and still to be packed.
pub(crate) fn loose(tape: &Path) -> Result<Vec<u32>> {
    let numbers = folder::segments(tape)?;
    Ok(numbers.into_iter().filter(|number| mark::is_loose(&folder::segment(tape, *number))).collect())
}

/// Packs a segment that is loose; any other is left as it is.
///
/// # Errors
/// Also where it was told to stop. The segment is whole in any case.
pub(crate) fn pack(tape: &Path, number: u32, stop: &AtomicBool) -> Result<()> {
    let path = folder::segment(tape, number);
    if !mark::is_loose(&path) {
        return Ok(());
    }
    let before = folder::stored_bytes(&path);
    // For a while there are two.
    room::check(tape, Room::ForAll)?;
    if room::free(tape).is_some_and(|free| free < 2 * before) {
        return Ok(());
    }
    let segment = Segment::open(path.clone())?;
    let packed = beside(&path, PACKED);
    let written = write(&segment, &packed, stop)
        .and_then(|()| store::sync(&packed))
        .and_then(|()| mark::put(&packed, Form::Packed));
    drop(segment);
    let smaller = written.is_ok() && folder::stored_bytes(&packed) < before;
    if !smaller {
        if packed.exists() {
            fs::remove_dir_all(&packed).map_err(TapeError::io("removing", &packed))?;
        }
        written?;
        return mark::put(&path, Form::Packed);
    }
    replace(&path, &packed)
}

/// Puts a segment in the place of another, which is removed: at once, so that there is one at any moment.
pub(crate) fn replace(path: &Path, new: &Path) -> Result<()> {
    if renameat_with(CWD, path, CWD, new, RenameFlags::EXCHANGE).is_ok() {
        return fs::remove_dir_all(new).map_err(TapeError::io("removing", new));
    }
    // Not every file system can.
    let replaced = beside(path, REPLACED);
    fs::rename(path, &replaced).map_err(TapeError::io("moving", path))?;
    fs::rename(new, path).map_err(TapeError::io("moving", new))?;
    fs::remove_dir_all(&replaced).map_err(TapeError::io("removing", &replaced))
}

/// Ends what a crash left half done. Only the writer may: nobody else packs meanwhile.
pub(crate) fn recover(tape: &Path) -> Result<()> {
    for leftover in folder::leftovers(tape)? {
        let home = leftover.with_extension("");
        let replaced = leftover.extension().is_some_and(|suffix| suffix == REPLACED);
        if replaced && !home.exists() {
            fs::rename(&leftover, &home).map_err(TapeError::io("moving", &leftover))?;
        } else {
            fs::remove_dir_all(&leftover).map_err(TapeError::io("removing", &leftover))?;
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    path.with_extension(suffix)
}

fn write(segment: &Segment, to: &Path, stop: &AtomicBool) -> Result<()> {
    let mut store = Store::open(to, Mode::New)?;
    let (header, descriptors, footer) = segment.entries()?;
    store.put_header(header, descriptors)?;
    let mut full = Vec::new();
    let (mut bytes, mut first, mut next) = (0, 0, 0);
    let mut packer = chunk::Packer::new(Effort::Thorough).map_err(TapeError::io("packing", to))?;
    let mut packing = |events| packer.pack(events).map_err(TapeError::io("packing", to));
    for chunk in segment.chunks() {
        let (position, events) = chunk?;
        if stop.load(Ordering::Relaxed) {
            return Err(TapeError::io("packing", to)(io::ErrorKind::Interrupted.into()));
        }
        if position != next {
            // It has a hole: the positions are all that tells, so they stay.
            return Err(segment.damaged(format!("events {next} to {position} are missing")));
        }
        for event in events {
            bytes += prost::Message::encoded_len(&event);
            full.push(event);
            next += 1;
            if bytes >= FULL_BYTES {
                store.put_full_chunk(first, &packing(std::mem::take(&mut full))?)?;
                (bytes, first) = (0, next);
            }
        }
    }
    if !full.is_empty() {
        store.put_full_chunk(first, &packing(full)?)?;
    }
    store.put_footer(footer)?;
    store.flush()
}
