//! What can still be read of a damaged segment, written as a whole one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::holes::{Calls, gap, stamp};
use crate::elements;
use crate::rewrite::Rewriting;
use crate::schema::{self, event::Kind, message::Body};
use crate::segment::{MAX_MESSAGE_BYTES, Segment, descriptors, footer_of};
use crate::{Result, TapeError};

/// What the segment after a damaged one tells of it.
#[derive(Debug, Default)]
pub(super) struct After {
    /// The number of the first call that is no longer in it.
    pub(super) next_call: Option<u64>,
    /// Calls that had not ended.
    pub(super) continued: BTreeSet<u64>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// Calls that start in it.
    pub(super) calls: u64,
    /// Calls that are missing, or miss something.
    pub(super) lost: u64,
}

/// Writes what can be read of `from` to a new segment in the folder `to`.
pub(super) fn salvage(from: &Segment, to: PathBuf, after: After) -> Result<Salvaged> {
    let header = from.header().clone();
    let descriptors = match from.stored_descriptors()? {
        Some(stored) if from.descriptors().is_ok() => stored,
        _ => descriptors().map_err(TapeError::io("packing the descriptors of", &to))?,
    };
    let said = from.footer().cloned();
    let next_call = said.as_ref().map(|footer| footer.last_call + 1).or(after.next_call);
    let mut salvage = Salvage {
        calls: Calls::new(header.first_call, after.continued),
        segment: Rewriting::begin(to, header, descriptors)?,
        elements: elements::Reader::default(),
        has_holes: false,
        shed: BTreeSet::new(),
        shed_bytes: 0,
        lost: 0,
        cut: BTreeSet::new(),
        clients: BTreeSet::new(),
        strangers: BTreeSet::new(),
    };
    let there = said.as_ref().map(|footer| footer.events).or(from.committed());
    salvage.take_all(from, there)?;
    salvage.end(said, next_call)
}

struct Salvage {
    calls: Calls,
    segment: Rewriting,
    elements: elements::Reader,
    has_holes: bool,
    /// Calls of which a message could not be put together …
    shed: BTreeSet<u64>,
    /// … and how many bytes those had at least.
    shed_bytes: u64,
    /// Calls that the gaps count.
    lost: u64,
    /// Calls that end at a hole.
    cut: BTreeSet<u64>,
    /// Connections whose client is known.
    clients: BTreeSet<u64>,
    /// Calls of which nobody knows any more who made them.
    strangers: BTreeSet<u64>,
}

impl Salvage {
    /// Takes what there is; `there` is how many events there should be. Where that is not known, the end is among what is missing.
    fn take_all(&mut self, from: &Segment, there: Option<u64>) -> Result<()> {
        let mut next = 0;
        for chunk in from.chunks() {
            let (first, events) = match chunk {
                // One that begins within another is not where it was written.
                Ok((first, events)) if first >= next => (first, events),
                Ok(_) | Err(TapeError::Damaged { .. } | TapeError::Store { .. }) => continue,
                Err(error) => return Err(error),
            };
            if first != next {
                self.cut()?;
            }
            next = first + events.len() as u64;
            for event in events {
                self.take(event)?;
            }
        }
        if there.is_none_or(|there| next < there) { self.cut() } else { Ok(()) }
    }

    /// Events are missing here.
    fn cut(&mut self) -> Result<()> {
        self.has_holes = true;
        self.elements.lose();
        for event in self.calls.cut() {
            if let Some(Kind::Truncated(it)) = &event.kind {
                self.cut.insert(it.call);
            }
            self.segment.append(event, "")?;
        }
        Ok(())
    }

    fn take(&mut self, mut event: schema::Event) -> Result<()> {
        // Also of messages that do not stay: others refer to what is in them.
        let lost = self.put_together(&mut event);
        let (stays, before) = self.calls.take(&event);
        if let Some(before) = before {
            self.put_gap(before)?;
        }
        if !stays {
            return Ok(());
        }
        self.note_client(&event);
        let method = match &event.kind {
            Some(Kind::Message(message)) => {
                if let Some(bytes) = lost {
                    self.shed.insert(message.call);
                    self.shed_bytes += bytes;
                }
                self.calls.path(message.call)
            }
            _ => "",
        };
        self.segment.append(event, method)
    }

    /// Who made a call is said where its connection begins, which may be in a hole.
    fn note_client(&mut self, event: &schema::Event) {
        match &event.kind {
            Some(Kind::ConnectionOpened(it)) => drop(self.clients.insert(it.connection)),
            Some(Kind::ConnectionContinues(it)) => drop(self.clients.insert(it.connection)),
            Some(Kind::CallStarted(it)) if self.has_holes && !self.clients.contains(&it.connection) => {
                self.strangers.insert(it.call);
            }
            _ => {}
        }
    }

    /// Puts the message of an event together, or sheds it; then gives how many bytes it had at least.
    fn put_together(&mut self, event: &mut schema::Event) -> Option<u64> {
        let Some(Kind::Message(message)) = &mut event.kind else { return None };
        let Some(Body::Parts(parts)) = &message.body else { return None };
        if let Some(whole) = self.elements.put_together(parts, MAX_MESSAGE_BYTES) {
            message.body = Some(Body::Kept(whole));
            return None;
        }
        self.elements.lose();
        let bytes = elements::least_length(parts) as u64;
        message.body = Some(Body::Shed(bytes));
        Some(bytes)
    }

    fn put_gap(&mut self, event: schema::Event) -> Result<()> {
        if let Some(Kind::Gap(gap)) = &event.kind {
            self.lost += gap.calls;
        }
        self.segment.append(event, "")
    }

    /// Ends it; `said` is the footer that it had.
    fn end(mut self, said: Option<schema::SegmentFooter>, next_call: Option<u64>) -> Result<Salvaged> {
        if let Some(gap) = self.calls.end(next_call) {
            self.put_gap(gap)?;
        }
        if !self.shed.is_empty() {
            self.put_gap(gap(self.calls.last(), self.shed.len() as u64, self.shed_bytes, 0))?;
        }
        let header = self.segment.header();
        let ended = said.as_ref().map_or(self.calls.last(), |said| said.ended);
        let mut footer = footer_of(header, self.segment.summary(), stamp(header.started, ended));
        footer.events = self.segment.events();
        footer.mended =
            said.as_ref().is_none_or(|said| said.mended) || self.has_holes || !self.shed.is_empty();
        // Numbers are not used again, though what had them is gone.
        footer.last_call = footer.last_call.max(self.calls.next().saturating_sub(1));
        if let Some(said) = said {
            footer.last_connection = footer.last_connection.max(said.last_connection);
        }
        let told = |call: &&u64| !self.shed.contains(call) && !self.cut.contains(call);
        let lost = self.lost + self.strangers.iter().filter(told).count() as u64;
        let salvaged = Salvaged { calls: self.segment.summary().calls, lost };
        self.segment.end(Some(&footer))?;
        Ok(salvaged)
    }
}
