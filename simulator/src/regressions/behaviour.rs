//! Where a regression gets hold of the runtime.

use std::fmt;
use std::time::Duration;

use cri::{Generation, v1};
use tonic::Status;

use super::Regression;
use crate::Simulator;
use crate::container::Memory;
use crate::events::Delivery;
use crate::rpc::{Call, Reply};
use crate::spec::Mount;

/// What becomes of an image that another client than CRI's pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutsidePull {
    /// It is there, and pinned where its label says so.
    AsLabelled,
    /// It is there, whatever its label says.
    Unpinned,
    /// CRI does not hear of it.
    Unseen,
}

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

    /// What is known of a container whose control group counted a process that was killed for memory.
    fn out_of_memory(&self) -> Memory {
        Memory::RanOut
    }

    /// Changes the order of a container's own mounts.
    fn order_mounts(&self, _mounts: &mut [Mount]) {}

    /// Whether a resolver configuration that is there and empty counts as none.
    fn takes_empty_dns_for_none(&self) -> bool {
        false
    }

    /// Whether user namespaces that pods ask for are left out without a word.
    fn ignores_user_namespaces(&self) -> bool {
        false
    }

    /// What becomes of an image that is pulled past CRI.
    fn outside_pull(&self) -> OutsidePull {
        OutsidePull::AsLabelled
    }

    /// Whether a command hangs that begins while another runs in the same container.
    fn concurrent_execs_hang(&self) -> bool {
        false
    }

    /// Whether a stop with a grace period never ends where one before it has sent the signal.
    fn stop_gets_stuck_behind_another(&self) -> bool {
        false
    }

    /// What `RemoveImage` says of an image that was there when it began, and that another call removed meanwhile.
    fn removed_meanwhile(&self) -> Result<(), Status> {
        Ok(())
    }

    /// How a method ends that is not there.
    fn stub(&self, _method: &str) -> Option<Status> {
        None
    }
}

/// The regressions of one simulator.
#[derive(Default)]
pub(crate) struct Behaviours(Vec<Box<dyn Behaviour>>);

impl Behaviours {
    pub(crate) fn of(regressions: &[Regression]) -> Self {
        Self(regressions.iter().map(|regression| (regression.behaviour)()).collect())
    }

    /// Whether all is right.
    pub(crate) fn are_none(&self) -> bool {
        self.0.is_empty()
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

    pub(crate) fn out_of_memory(&self) -> Memory {
        let known = |behaviour: &dyn Behaviour| behaviour.out_of_memory();
        self.iter().map(known).find(|memory| *memory != Memory::RanOut).unwrap_or(Memory::RanOut)
    }

    pub(crate) fn order_mounts(&self, mounts: &mut [Mount]) {
        self.iter().for_each(|behaviour| behaviour.order_mounts(mounts));
    }

    pub(crate) fn takes_empty_dns_for_none(&self) -> bool {
        self.iter().any(Behaviour::takes_empty_dns_for_none)
    }

    pub(crate) fn ignores_user_namespaces(&self) -> bool {
        self.iter().any(Behaviour::ignores_user_namespaces)
    }

    pub(crate) fn outside_pull(&self) -> OutsidePull {
        let pull = |behaviour: &dyn Behaviour| behaviour.outside_pull();
        self.iter().map(pull).find(|pull| *pull != OutsidePull::AsLabelled).unwrap_or(OutsidePull::AsLabelled)
    }

    pub(crate) fn concurrent_execs_hang(&self) -> bool {
        self.iter().any(Behaviour::concurrent_execs_hang)
    }

    pub(crate) fn stop_gets_stuck_behind_another(&self) -> bool {
        self.iter().any(Behaviour::stop_gets_stuck_behind_another)
    }

    pub(crate) fn removed_meanwhile(&self) -> Result<(), Status> {
        self.iter().try_for_each(Behaviour::removed_meanwhile)
    }

    pub(crate) fn stub(&self, method: &str) -> Option<Status> {
        self.iter().find_map(|behaviour| behaviour.stub(method))
    }
}

impl fmt::Debug for Behaviours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behaviours", self.0.len())
    }
}
