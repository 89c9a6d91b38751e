//! containerd 1.6.0-rc: what is known of a container whose command is not there had changed, and with it the exit code that
//! clients report.

use cri::v1::{ContainerEventResponse, ContainerStatus, ContainerStatusResponse};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-6429",
    summary: "A container whose command is missing has exit code 127 instead of 128",
    source: "containerd#6429",
    shows: &[("ContainerStatus", "status.exit_code")],
    behaviour: || Box::new(CodeOfTheShell),
};

struct CodeOfTheShell;

impl Behaviour for CodeOfTheShell {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::ContainerStatus(_, Ok(ContainerStatusResponse { status: Some(status), .. })) = reply {
            change(status);
        }
    }

    fn event(&self, event: &mut ContainerEventResponse) {
        event.containers_statuses.iter_mut().for_each(change);
    }
}

fn change(status: &mut ContainerStatus) {
    if status.reason == "StartError" {
        status.exit_code = 127;
    }
}
