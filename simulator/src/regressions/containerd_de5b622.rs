//! containerd from 2.3: `info` is filled whether it was asked for or not. Each answer is several times as large.

use super::{Behaviour, Regression};
use crate::info;
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-de5b622",
    summary: "PodSandboxStatus has info without verbose",
    source: "containerd@de5b622",
    shows: &[("PodSandboxStatus", "info"), ("PodSandboxStatus", "info.info")],
    behaviour: || Box::new(AlwaysVerbose),
};

struct AlwaysVerbose;

impl Behaviour for AlwaysVerbose {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::PodSandboxStatus(request, Ok(response)) = reply else { return };
        if let Ok(sandbox) = simulator.state().sandbox(&request.pod_sandbox_id) {
            response.info = info::of_sandbox(sandbox);
        }
    }
}
