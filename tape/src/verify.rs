//! Whether a tape is whole.

use critape_calls::Summary;

use crate::reader::Tape;
use crate::segment::Segment;
use crate::{Result, TapeError};

/// How many messages that can't be put together are named one by one: where a part is missing it may be all that follow.
const MOST_NAMED: usize = 5;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: u32,
    /// What is wrong with it.
    pub what: String,
}

/// What a check of every byte found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments looked at.
    pub segments: u64,
    /// Events that can be read.
    pub events: u64,
    /// Calls that can be read.
    pub calls: u64,
    /// Segments that were not closed in order: the recorder was killed. What was committed is there; this is no damage.
    pub unclean: Vec<u32>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

impl Tape {
    /// Reads everything and compares it with what the segments say of themselves.
    ///
    /// # Errors
    /// What kept it from being read, which says nothing of the tape.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        if self.segments().is_empty() && self.holder().is_none() {
            verified.damage.push(Damage { segment: 0, what: "its segments are gone".to_owned() });
        }
        let closed = self.segments().iter().map(|number| (*number, self.segment(*number)));
        let open = self.open_segment()?.map(|segment| (segment.header().number, Ok(segment)));
        for (number, segment) in closed.chain(open) {
            verified.segments += 1;
            let mut wrong = |what: String| verified.damage.push(Damage { segment: number, what });
            let segment = match segment {
                Ok(segment) => segment,
                Err(TapeError::Damaged { reason, .. }) => {
                    wrong(reason);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let looked = look(&segment);
            looked.damage.into_iter().for_each(wrong);
            if looked.is_unclean {
                verified.unclean.push(number);
            }
            verified.events += looked.summary.events;
            verified.calls += looked.summary.calls;
        }
        Ok(verified)
    }
}

/// What reading a segment in full showed.
pub(crate) struct Looked {
    /// Events that are there, those of later programs too, and those that are missing before them.
    pub(crate) events: u64,
    /// What can be read.
    pub(crate) summary: Summary,
    /// Whether its recorder was killed.
    pub(crate) is_unclean: bool,
    /// What is wrong with it.
    pub(crate) damage: Vec<String>,
}

/// Reads all of a segment, and compares it with what it says of itself.
pub(crate) fn look(segment: &Segment) -> Looked {
    let mut damage = Vec::new();
    let mut next = 0;
    let mut summary = Summary::default();
    let mut unread = Vec::new();
    let mut restore = segment.restorer();
    for chunk in segment.chunks() {
        let (first, events) = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                damage.push(what(error));
                continue;
            }
        };
        if first != next {
            damage.push(format!("events {next} to {} are missing", first.saturating_sub(1)));
        }
        next = first + events.len() as u64;
        for event in events {
            match restore(event) {
                Ok(event) => event.iter().for_each(|event| summary.add(event)),
                Err(error) => unread.push(what(error)),
            }
        }
    }
    let more = unread.len().saturating_sub(MOST_NAMED);
    damage.extend(unread.into_iter().take(MOST_NAMED));
    if more > 0 {
        damage.push(format!("and {more} more messages that can't be put together"));
    }
    let is_unclean = match (segment.footer(), segment.committed()) {
        (None, Some(committed)) if next < committed => {
            damage.push(format!("{committed} events were committed and {next} are there"));
            false
        }
        (None, _) => !segment.is_open(),
        (Some(footer), _) => {
            if footer.events != next {
                damage.push(format!("the footer counts {} events and {next} are there", footer.events));
            }
            false
        }
    };
    Looked { events: next, summary, is_unclean, damage }
}

/// What is wrong, where it is known with which segment.
fn what(error: TapeError) -> String {
    match error {
        TapeError::Damaged { reason, .. } => reason,
        other => other.to_string(),
    }
}
