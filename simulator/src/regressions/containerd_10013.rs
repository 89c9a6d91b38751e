//! containerd before 1.7.16: a single sandbox without a running task failed the whole list.

use tonic::Status;

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10013",
    summary: "ListPodSandboxStats fails with NOT_FOUND while one sandbox is not ready",
    source: "containerd#10013",
    shows: &[("ListPodSandboxStats", "outcome.code")],
    behaviour: || Box::new(AllOrNothing),
};

struct AllOrNothing;

impl Behaviour for AllOrNothing {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::ListPodSandboxStats(_, outcome) = reply else { return };
        let state = simulator.state();
        if let Some(stopped) = state.sandboxes.values().find(|sandbox| !sandbox.is_ready()) {
            let id = &stopped.id;
            *outcome = Err(Status::not_found(format!(
                "failed to decode sandbox container metrics for sandbox {id:?}: \
                 no running task found: task {id} not found: not found"
            )));
        }
    }
}
