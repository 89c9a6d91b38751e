//! cri-dockerd 0.3.9: what it doesn't have it refused with a plain error. kubelet falls back at UNIMPLEMENTED alone.

use super::{Behaviour, Regression};
use crate::failure::plain;
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-dockerd-293",
    summary: "Pod statistics end with UNKNOWN, which tells kubelet not to fall back",
    source: "cri-dockerd#293",
    shows: &[("ListPodSandboxStats", "outcome.code"), ("PodSandboxStats", "outcome.code")],
    behaviour: || Box::new(PlainError),
};

struct PlainError;

impl Behaviour for PlainError {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        match reply {
            Reply::ListPodSandboxStats(_, outcome) => *outcome = Err(plain("not implemented")),
            Reply::PodSandboxStats(_, outcome) => *outcome = Err(plain("not implemented")),
            _ => {}
        }
    }
}
