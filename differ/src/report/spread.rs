//! What a finding was seen to be, more than a report shows of it: calibration learns from that.

use serde_json::Value;

use crate::Path;

/// Occurrences kept of one finding.
const MAX_SEEN: usize = 64;

/// Occurrences of one finding.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) path: Path,
    pub(crate) seen: Vec<Seen>,
}

/// One occurrence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) call: Option<u64>,
    pub(crate) recorded: Value,
    pub(crate) live: Value,
}

impl Spread {
    pub(crate) fn is_full(&self) -> bool {
        self.seen.len() >= MAX_SEEN
    }

    pub(crate) fn add(&mut self, seen: Seen) {
        if self.seen.len() < MAX_SEEN {
            self.seen.push(seen);
        }
    }
}
