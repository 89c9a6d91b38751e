//! Whether a tape is whole.

use critape_calls::Summary;

use crate::reader::Tape;
use crate::{Result, TapeError};

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
                Err(error @ TapeError::Damaged { .. }) => {
                    wrong(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut next = 0;
            let mut summary = Summary::default();
            let mut restore = segment.restorer();
            for chunk in segment.chunks() {
                let (first, events) = match chunk {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        wrong(error.to_string());
                        continue;
                    }
                };
                if first != next {
                    wrong(format!("events {next} to {} are missing", first.saturating_sub(1)));
                }
                next = first + events.len() as u64;
                for event in events {
                    match restore(event) {
                        Ok(event) => event.iter().for_each(|event| summary.add(event)),
                        Err(error) => wrong(error.to_string()),
                    }
                }
            }
            match (segment.footer(), segment.committed()) {
                (None, Some(committed)) if next < committed => {
                    wrong(format!("{committed} events were committed and {next} are there"));
                }
                (None, _) if segment.is_open() => {}
                (None, _) => verified.unclean.push(number),
                (Some(footer), _) if footer.events != next => {
                    wrong(format!("the footer counts {} events and {next} are there", footer.events));
                }
                (Some(_), _) => {}
            }
            verified.events += summary.events;
            verified.calls += summary.calls;
        }
        Ok(verified)
    }
}
