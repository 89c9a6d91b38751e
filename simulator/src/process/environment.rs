//! What a process finds when it starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The files of a container that its processes can read, by path.
pub(crate) type Files = BTreeMap<String, String>;

/// Variables, files, and the limits that the process runs under.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub variables: BTreeMap<String, String>,
    pub files: Arc<Files>,
    pub cgroup: Arc<Cgroup>,
}

/// The control group of a container, as far as its memory goes.
#[derive(Debug, Default)]
pub(crate) struct Cgroup {
    /// In bytes; 0 is none.
    limit: AtomicI64,
    killed: AtomicBool,
}

impl Cgroup {
    /// A group in which no more than so many bytes may be used; 0 is no limit.
    pub(crate) fn with_limit(limit: i64) -> Self {
        Self { limit: AtomicI64::new(limit), killed: AtomicBool::new(false) }
    }

    pub(crate) fn set_limit(&self, limit: i64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A process takes all it can get. Whether it is killed for that.
    pub(crate) fn exhaust(&self) -> bool {
        let is_limited = self.limit.load(Ordering::Relaxed) > 0;
        if is_limited {
            self.killed.store(true, Ordering::Relaxed);
        }
        is_limited
    }

    /// Whether a process of it was killed for the memory it took.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }
}
