//! The segment's clock: monotonic, anchored once to the wall clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use critape_calls::Stamp;

/// Gives the moments of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Stamp,
    since: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: wall(), since: Instant::now() }
    }

    /// When the segment began.
    pub(crate) fn started(&self) -> Stamp {
        self.started
    }

    /// Now.
    pub(crate) fn now(&self) -> Stamp {
        self.started.plus(self.since.elapsed())
    }
}

/// What the wall clock says.
pub(crate) fn wall() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
