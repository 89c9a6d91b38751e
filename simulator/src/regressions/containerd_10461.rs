//! containerd 1.7 before 1.7.20: the state was asked of the sandbox's shim, and where that had died the status was an error.
//! kubelet could not tell that the pod was over.

use super::{Behaviour, Regression};
use crate::failure::plain;
use crate::rpc::Reply;
use crate::sandbox::Phase;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10461",
    summary: "PodSandboxStatus of a sandbox whose shim has died is an error instead of NOTREADY",
    source: "containerd#10461",
    shows: &[("PodSandboxStatus", "outcome.code")],
    behaviour: || Box::new(AsksTheShim),
};

struct AsksTheShim;

impl Behaviour for AsksTheShim {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::PodSandboxStatus(request, outcome) = reply else { return };
        let is_dead = simulator
            .state()
            .sandbox(&request.pod_sandbox_id)
            .is_ok_and(|sandbox| sandbox.phase == Phase::Dead);
        if is_dead {
            *outcome = Err(plain("failed to query controller status: ttrpc: closed: unknown"));
        }
    }
}
