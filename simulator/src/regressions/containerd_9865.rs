//! containerd before 1.7.16: of a pod's namespace options the status gave the modes only.

use cri::v1::{ContainerEventResponse, PodSandboxStatus, PodSandboxStatusResponse};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-9865",
    summary: "PodSandboxStatus lacks userns_options and target_id of the namespaces",
    source: "containerd#9865",
    shows: &[
        ("PodSandboxStatus", "status.linux.namespaces.options.userns_options"),
        ("PodSandboxStatus", "status.linux.namespaces.options.target_id"),
        ("GetContainerEvents", "pod_sandbox_status.linux.namespaces.options.userns_options"),
    ],
    behaviour: || Box::new(ModesOnly),
};

struct ModesOnly;

impl Behaviour for ModesOnly {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::PodSandboxStatus(_, Ok(PodSandboxStatusResponse { status: Some(status), .. })) = reply {
            strip(status);
        }
    }

    fn event(&self, event: &mut ContainerEventResponse) {
        event.pod_sandbox_status.iter_mut().for_each(strip);
    }
}

fn strip(status: &mut PodSandboxStatus) {
    let namespaces = status.linux.as_mut().and_then(|linux| linux.namespaces.as_mut());
    if let Some(options) = namespaces.and_then(|namespaces| namespaces.options.as_mut()) {
        options.userns_options = None;
        options.target_id.clear();
    }
}
