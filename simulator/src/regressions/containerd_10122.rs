//! containerd before 1.7.16 and 1.6.32: the time of creation was asked of the sandbox's process, and where that was gone (after a
//! failure of CNI, or a dead shim) came Go's zero time, which crictl showed as "269 years ago".
//!
//! Networks don't fail here, so it shows on sandboxes that were stopped.

use cri::v1::{ContainerEventResponse, PodSandboxState, PodSandboxStatus, PodSandboxStatusResponse};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10122",
    summary: "PodSandboxStatus of a sandbox that is not ready has a negative created_at",
    source: "containerd#10122",
    shows: &[
        ("PodSandboxStatus", "status.created_at"),
        ("GetContainerEvents", "pod_sandbox_status.created_at"),
    ],
    behaviour: || Box::new(ZeroTime),
};

/// `time.Time{}.UnixNano()`: the year 1 doesn't fit, and wraps around.
const GO_ZERO_TIME: i64 = -6_795_364_578_871_345_152;

struct ZeroTime;

impl Behaviour for ZeroTime {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::PodSandboxStatus(_, Ok(PodSandboxStatusResponse { status: Some(status), .. })) = reply {
            forget_creation(status);
        }
    }

    fn event(&self, event: &mut ContainerEventResponse) {
        event.pod_sandbox_status.iter_mut().for_each(forget_creation);
    }
}

fn forget_creation(status: &mut PodSandboxStatus) {
    if status.state() == PodSandboxState::SandboxNotready {
        status.created_at = GO_ZERO_TIME;
    }
}
