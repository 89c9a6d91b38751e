//! Moments since the epoch that never go back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that was right when it was made, and goes on evenly from then on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    begun: Instant,
    since_epoch: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        // A clock before 1970 is wrong, whatever it says.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { begun: Instant::now(), since_epoch }
    }

    /// This moment, since the epoch.
    pub(crate) fn at(&self, moment: Instant) -> Duration {
        self.since_epoch + moment.saturating_duration_since(self.begun)
    }

    pub(crate) fn now(&self) -> Duration {
        self.at(Instant::now())
    }
}
