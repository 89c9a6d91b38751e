//! Where a regression gets hold of the runtime.

use std::fmt;
use std::time::Duration;

use cri::{Generation, v1};
use tonic::Status;

use super::Regression;
use crate::Simulator;
use crate::events::Delivery;
use crate::rpc::{Call, Reply};

/// What a regression changes. It overrides what it needs; everything else stays right.
pub(crate) trait Behaviour: Send + Sync {
    /// Sees a call before it is answered; may change the request, or refuse it.
    fn before(&self, _simulator: &Simulator, _call: Call<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// Sees the outcome of a call before it is sent; may change it.
    fn after(&self, _simulator: &Simulator, _reply: Reply<'_>) {}

    /// The code that is reported of a container that exited by itself, after this time.
    fn exit_code(&self, _lifetime: Duration, code: i32) -> i32 {
        code
    }

    /// Sees an event before it is sent; may change it.
    fn event(&self, _event: &mut v1::ContainerEventResponse) {}

    /// Who gets an event.
    fn delivery(&self) -> Delivery {
        Delivery::ToAll
    }

    /// Whether the services of this generation are there.
    fn serves(&self, _generation: Generation) -> bool {
        true
    }

    /// Whether a container may be created in a sandbox that has stopped.
    fn creates_in_stopped_sandboxes(&self) -> bool {
        false
    }
}

/// The regressions of one simulator.
#[derive(Default)]
pub(crate) struct Behaviours(Vec<Box<dyn Behaviour>>);

impl Behaviours {
    pub(crate) fn of(regressions: &[Regression]) -> Self {
        Self(regressions.iter().map(|regression| (regression.behaviour)()).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Behaviour> {
        self.0.iter().map(AsRef::as_ref)
    }

    pub(crate) fn exit_code(&self, lifetime: Duration, code: i32) -> i32 {
        self.iter().fold(code, |code, behaviour| behaviour.exit_code(lifetime, code))
    }

    pub(crate) fn event(&self, event: &mut v1::ContainerEventResponse) {
        self.iter().for_each(|behaviour| behaviour.event(event));
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.iter().map(Behaviour::delivery).find(|way| *way != Delivery::ToAll).unwrap_or(Delivery::ToAll)
    }

    pub(crate) fn serves(&self, generation: Generation) -> bool {
        self.iter().all(|behaviour| behaviour.serves(generation))
    }

    pub(crate) fn creates_in_stopped_sandboxes(&self) -> bool {
        self.iter().any(Behaviour::creates_in_stopped_sandboxes)
    }
}

impl fmt::Debug for Behaviours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behaviours", self.0.len())
    }
}
