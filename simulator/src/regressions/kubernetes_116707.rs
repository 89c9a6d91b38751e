//! containerd 1.6, which did not know the field: a pod that asked for a user namespace ran without, as root of the node, and
//! nobody was told.

use cri::v1::{ContainerEventResponse, PodSandboxStatus, PodSandboxStatusResponse};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "kubernetes-116707",
    summary: "RunPodSandbox ignores userns_options",
    source: "kubernetes#116707",
    shows: &[
        ("PodSandboxStatus", "status.linux.namespaces.options.userns_options"),
        ("ExecSync", "stdout"),
        ("GetContainerEvents", "pod_sandbox_status.linux.namespaces.options.userns_options"),
    ],
    behaviour: || Box::new(UnknownField),
};

struct UnknownField;

impl Behaviour for UnknownField {
    fn ignores_user_namespaces(&self) -> bool {
        true
    }

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
    }
}
