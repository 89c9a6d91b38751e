//! The events of a tape, one after the other.

use std::collections::VecDeque;
use std::time::Duration;

use critape_calls::Event;

use crate::folder::{self, WriteLock};
use crate::reader::Tape;
use crate::secrets::{Opener, SealPolicy};
use crate::segment::Segment;
use crate::{Result, TapeError};

/// How often to look whether the recorder has begun another segment.
const LOOK_EVERY: Duration = Duration::from_millis(100);

type BoxedEvents = Box<dyn Iterator<Item = Result<Event>> + Send>;

/// The events of a tape, in order.
pub struct Events {
    tape: Tape,
    /// Closed segments that are still to be read.
    closed: VecDeque<u32>,
    open: Open,
    /// The segment that was read last.
    last: u32,
    current: Option<(Segment, BoxedEvents)>,
    opener: Option<Opener>,
    /// Whether the current segment is sealed with our key.
    is_sealed: bool,
    /// What is sealed in a segment that our key does not open.
    left: SealPolicy,
    /// What is sealed in any segment so far.
    sealed: SealPolicy,
}

/// What comes after the closed segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// What is committed of the open one.
    AsItIs,
    /// All that its recorder writes.
    Follow,
    Nothing,
}

impl Events {
    pub(crate) fn of(tape: Tape) -> Self {
        Self::new(tape, Open::AsItIs)
    }

    pub(crate) fn following(tape: Tape) -> Self {
        Self::new(tape, Open::Follow)
    }

    fn new(tape: Tape, open: Open) -> Self {
        let closed = tape.segments().iter().copied().collect();
        let opener = tape.key().map(Opener::new);
        Self {
            tape,
            closed,
            open,
            last: 0,
            current: None,
            opener,
            is_sealed: false,
            left: SealPolicy::None,
            sealed: SealPolicy::None,
        }
    }

    /// What of the segments so far stays sealed, because the key is not here.
    pub fn left_sealed(&self) -> SealPolicy {
        self.left
    }

    /// What of the segments so far is sealed on the tape, opened here or not.
    pub fn sealed(&self) -> SealPolicy {
        self.sealed
    }

    /// The event as it is to be read.
    fn read(&mut self, event: Result<Event>) -> Result<Event> {
        let mut event = event?;
        match &mut self.opener {
            None => {}
            Some(opener) if !self.is_sealed => opener.pass(&event),
            Some(opener) => opener
                .open(&mut event)
                .map_err(|_| TapeError::Tampered { path: folder::segment(self.tape.path(), self.last) })?,
        }
        Ok(event)
    }

    /// The next segment, if there is one; where a recorder is followed, waits for it.
    fn next_segment(&mut self) -> Result<Option<Segment>> {
        loop {
            if let Some(number) = self.closed.pop_front() {
                return self.tape.segment(number).map(Some);
            }
            match self.open {
                Open::Nothing => return Ok(None),
                Open::AsItIs => {
                    self.open = Open::Nothing;
                    return self.tape.open_segment();
                }
                Open::Follow => {}
            }
            let writes = WriteLock::holder(self.tape.path()).is_some();
            let open = if writes { self.tape.open_segment()? } else { None };
            let shown = open.as_ref().map(|segment| segment.header().number);
            let passed = folder::segments(self.tape.path())?.into_iter();
            // Closed meanwhile, or left behind where a recorder was killed.
            self.closed.extend(passed.filter(|number| {
                *number > self.last
                    && shown.is_none_or(|shown| *number < shown)
                    && (shown.is_some() || !writes)
            }));
            match open {
                Some(open) if self.closed.is_empty() && shown > Some(self.last) => return Ok(Some(open)),
                _ if !self.closed.is_empty() => {}
                _ if !writes => self.open = Open::Nothing,
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn begin(&mut self, segment: Segment) {
        let check = self.opener.as_mut().map(|opener| {
            opener.begin_segment();
            opener.check()
        });
        self.is_sealed = check.is_some_and(|check| segment.header().key_check == check);
        let policy = SealPolicy::of_header(&segment.header().seal);
        self.sealed = self.sealed.max(policy);
        if !self.is_sealed {
            self.left = self.left.max(policy);
        }
        self.last = segment.header().number;
        let chunks = if self.open == Open::Follow { segment.follow() } else { segment.chunks() };
        let events: BoxedEvents = Box::new(segment.events_of(chunks));
        self.current = Some((segment, events));
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("tape", &self.tape).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((_, events)) = &mut self.current {
                if let Some(event) = events.next() {
                    return Some(self.read(event));
                }
                self.current = None;
            }
            match self.next_segment() {
                Ok(Some(segment)) => self.begin(segment),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
