//! Chunks, cut into values.

use std::io::{self, Write};
use std::path::PathBuf;

use super::Open;
use super::opening::reading;
use crate::Result;

/// The largest value that sled keeps beside its neighbours; a larger one gets a file of its own that is never synced.
pub(super) const MAX_VALUE_BYTES: usize = 96 * 1024;
/// What the names of trees with full chunks begin with; the position of the first event and a number follow.
pub(super) const FULL: &str = "full-";

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

impl<'a> Parts<'a> {
    pub(super) fn new(events: &'a sled::Tree, first: u64) -> Self {
        Self { events, first, beginning: Vec::new(), part: Vec::new(), number: 0 }
    }

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
    pub(super) fn end(mut self) -> sled::Result<u64> {
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
    pub(super) fn new(path: PathBuf, events: sled::Tree) -> Self {
        Self { path, events }
    }

    /// As those of a store.
    pub(crate) fn chunks(&self, from: u64) -> impl Iterator<Item = Result<(u64, Vec<u8>)>> + use<> {
        read(self.path.clone(), vec![self.events.clone()], from)
    }
}

/// The chunks in these trees, from the one that begins at this position.
pub(super) fn read(
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

/// The trees with chunks, in the order of their events: those of a live recording or those of a packed segment, never both.
pub(super) fn trees(open: &Open) -> Vec<sled::Tree> {
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

pub(super) fn key(first: u64, part: u32) -> [u8; 12] {
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
