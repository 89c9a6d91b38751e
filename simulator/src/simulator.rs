//! One runtime.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crate::clock::Clock;
use crate::regressions::Behaviours;
use crate::state::State;
use crate::{Config, Variant};

/// The state of one runtime. Clones share it: it outlives the sockets it is served on, as a runtime's pods outlive its
/// restart.
#[derive(Clone, Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    clock: Clock,
    behaviours: Arc<Behaviours>,
    state: Mutex<State>,
    calls: AtomicU64,
}

impl Simulator {
    /// A runtime without pods, and with no image but that of its sandboxes. Needs a tokio runtime with time.
    pub fn new(config: Config) -> Self {
        let behaviours = Arc::new(Behaviours::of(&config.regressions));
        let state = Mutex::new(State::new(config.seed, Arc::clone(&behaviours)));
        let clock = Clock::starting_at(SystemTime::now());
        Self { shared: Arc::new(Shared { config, clock, behaviours, state, calls: AtomicU64::new(0) }) }
    }

    /// How many calls it has received so far, of all methods, known to it or not.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn count_call(&self) {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn is(&self, variant: Variant) -> bool {
        self.config().variants.contains(&variant)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.shared.clock
    }

    pub(crate) fn behaviours(&self) -> &Behaviours {
        &self.shared.behaviours
    }

    /// The state, locked. No change is left half done, so a panic elsewhere doesn't spoil it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reference for a container's process, which must not keep the runtime alive.
    pub(crate) fn downgrade(&self) -> WeakSimulator {
        WeakSimulator { shared: Arc::downgrade(&self.shared) }
    }
}

/// A [`Simulator`] that may be gone.
#[derive(Clone, Debug)]
pub(crate) struct WeakSimulator {
    shared: Weak<Shared>,
}

impl WeakSimulator {
    /// A container's first process has exited by itself, after this time.
    pub(crate) fn process_exited(&self, container_id: &str, lifetime: Duration, code: i32) {
        let Some(shared) = self.shared.upgrade() else { return };
        let simulator = Simulator { shared };
        let code = simulator.behaviours().exit_code(lifetime, code);
        let now = simulator.clock().now();
        simulator.state().container_exited(container_id, code, now);
    }
}
