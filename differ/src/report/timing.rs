//! How well a replay kept its time: how late its calls were, and how long its reads took to settle. It never makes a finding.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What became of a replay's schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// By how much calls were sent later than they were due or, where something that they follow from had not happened by then, than
    /// it had; null where none was due, at another pace than the recorded one.
    pub lateness: Option<Times>,
    /// By how much what calls follow from came later than they were due; null where none was held up by it.
    pub held_up: Option<Times>,
    /// How long the reads that had to be asked again took, from the first time on; null where none had to.
    pub settling: Option<Times>,
    /// How long those were asked again that did not settle; null where all did. What one difference was waited for in vain is not
    /// waited for again.
    #[serde(default)]
    pub unsettled: Option<Times>,
}

/// How long several things took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How many things.
    pub calls: u64,
    /// What half of them did not exceed.
    pub p50: u64,
    /// What 99 of a hundred did not exceed.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// Takes note of all that [`Timing`] tells.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    late: Vec<u64>,
    held_up: Vec<u64>,
    settling: Vec<u64>,
    unsettled: Vec<u64>,
}

impl Clocks {
    /// A call was sent so much later than it was due or free to go.
    pub fn sent(&mut self, late: Duration) {
        self.late.push(nanos(late));
    }

    /// A call was free to go so much later than it was due.
    pub fn held_up(&mut self, by: Duration) {
        self.held_up.push(nanos(by));
    }

    /// A read had to be asked again, for so long.
    pub fn settled(&mut self, took: Duration) {
        self.settling.push(nanos(took));
    }

    /// A read was asked again for so long, and in vain.
    pub fn gave_up(&mut self, after: Duration) {
        self.unsettled.push(nanos(after));
    }

    pub(crate) fn timing(self) -> Timing {
        Timing {
            lateness: Times::of(self.late),
            held_up: Times::of(self.held_up),
            settling: Times::of(self.settling),
            unsettled: Times::of(self.unsettled),
        }
    }
}

impl Times {
    fn of(mut nanos: Vec<u64>) -> Option<Self> {
        nanos.sort_unstable();
        let max = *nanos.last()?;
        let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share).ceil() as usize];
        Some(Self { calls: nanos.len() as u64, p50: at(0.5), p99: at(0.99), max })
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_some_that_were_seen() {
        let mut clocks = Clocks::default();
        (1..=1000).rev().for_each(|nanos| clocks.sent(Duration::from_nanos(nanos)));
        let timing = clocks.timing();
        assert_eq!(timing.lateness, Some(Times { calls: 1000, p50: 501, p99: 991, max: 1000 }));
        assert_eq!((timing.held_up, timing.settling), (None, None));
    }
}
