//! cri-dockerd 0.3.2: a sandbox was ready once it had an address. Those on the node's network never had one, and nodes did
//! not come up that run their own network in such pods. Taken back in cri-dockerd#181.

use cri::v1::{PodSandboxState, PodSandboxStatusResponse};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-dockerd-168",
    summary: "PodSandboxStatus of a sandbox without an address of its own is NOTREADY",
    source: "cri-dockerd#168",
    shows: &[("PodSandboxStatus", "status.state")],
    behaviour: || Box::new(ReadyWithAddress),
};

struct ReadyWithAddress;

impl Behaviour for ReadyWithAddress {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::PodSandboxStatus(_, Ok(PodSandboxStatusResponse { status: Some(status), .. })) = reply
            && status.network.as_ref().is_none_or(|network| network.ip.is_empty())
        {
            status.set_state(PodSandboxState::SandboxNotready);
        }
    }
}
