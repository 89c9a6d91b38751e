//! containerd before 1.7.21 and 1.6.35: stopping what is gone was an error, though the calls are idempotent by contract.
//!
//! Shows where a client stops after it removed, or never had, the object; stopping twice what is still there was right.

use super::{Behaviour, Regression};
use crate::failure::{no_container, no_sandbox};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10527",
    summary: "StopPodSandbox and StopContainer of an id that is gone end with NOT_FOUND instead of OK",
    source: "containerd#10527",
    shows: &[("StopContainer", "outcome.code"), ("StopPodSandbox", "outcome.code")],
    behaviour: || Box::new(StopOfUnknown),
};

struct StopOfUnknown;

impl Behaviour for StopOfUnknown {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        match reply {
            Reply::StopPodSandbox(request, outcome @ Ok(_)) => {
                let id = &request.pod_sandbox_id;
                if let Err(error) = simulator.state().sandbox(id) {
                    *outcome = Err(no_sandbox(id, &error));
                }
            }
            Reply::StopContainer(request, outcome @ Ok(_)) => {
                let id = &request.container_id;
                if let Err(error) = simulator.state().container(id) {
                    *outcome = Err(no_container(id, &error));
                }
            }
            _ => {}
        }
    }
}
