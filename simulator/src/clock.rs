//! The time of the runtime.

use std::time::SystemTime;

use tokio::time::Instant;

/// Wall-clock time that never goes backwards: read once from the system, and from then on counted by tokio's clock. A
/// test with paused time moves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_ns: i64,
}

impl Clock {
    /// A clock that says `wall` now.
    pub(crate) fn starting_at(wall: SystemTime) -> Self {
        let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_ns: i64::try_from(since_epoch.as_nanos()).unwrap_or(0) }
    }

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        let elapsed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.started_ns.saturating_add(elapsed)
    }
}
