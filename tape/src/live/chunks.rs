//! The chunks of the open segment, on from the disk when it is closed meanwhile.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::schema;
use crate::segment::{Chunks, Segment, unpack};

use super::read::{Connection, Reply};

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// What is committed now.
    CaughtUp,
    /// Everything: waits for it.
    Closed,
}

/// Reads from the writer as long as it shows the segment, then from the disk.
pub(crate) struct LiveChunks {
    tape: PathBuf,
    segment: PathBuf,
    number: u32,
    /// Position of the next event.
    next: u64,
    until: Until,
    from: From,
}

enum From {
    Nowhere,
    Writer(Connection),
    Disk(Chunks),
    Ended,
}

impl LiveChunks {
    pub(crate) fn new(tape: &Path, segment: &Path, number: u32, first: u64, until: Until) -> Self {
        let (tape, segment) = (tape.to_owned(), segment.to_owned());
        Self { tape, segment, number, next: first, until, from: From::Nowhere }
    }

    /// One step; nothing where it led to no chunk.
    fn step(&mut self) -> Result<Option<(u64, Vec<schema::Event>)>> {
        match &mut self.from {
            From::Nowhere => {
                let follow = self.until == Until::Closed;
                self.from = match Connection::open(&self.tape, self.number, self.next, follow)? {
                    Some((_, connection)) => From::Writer(connection),
                    None => self.disk()?,
                };
                Ok(None)
            }
            From::Writer(connection) => match connection.next()? {
                Reply::Chunk(first, bytes) => unpack(&self.segment, first, &bytes).map(Some),
                Reply::CaughtUp => {
                    if self.until == Until::CaughtUp {
                        self.from = From::Ended;
                    }
                    Ok(None)
                }
                Reply::Closed => {
                    self.from = self.disk()?;
                    Ok(None)
                }
            },
            From::Disk(chunks) => match chunks.next() {
                Some(chunk) => Ok(rest(chunk?, self.next)),
                None => {
                    self.from = From::Ended;
                    Ok(None)
                }
            },
            From::Ended => Ok(None),
        }
    }

    /// Packed, it has other chunks.
    fn disk(&self) -> Result<From> {
        Ok(From::Disk(Segment::open(self.segment.clone())?.chunks()))
    }
}

impl Iterator for LiveChunks {
    type Item = Result<(u64, Vec<schema::Event>)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !matches!(self.from, From::Ended) {
            match self.step() {
                Ok(None) => {}
                Ok(Some((first, events))) => {
                    self.next = first + events.len() as u64;
                    return Some(Ok((first, events)));
                }
                Err(error) => {
                    self.from = From::Ended;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// The part of a chunk from this position on.
fn rest((first, mut events): (u64, Vec<schema::Event>), from: u64) -> Option<(u64, Vec<schema::Event>)> {
    let known = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX).min(events.len());
    events.drain(..known);
    (!events.is_empty()).then_some((first + known as u64, events))
}
