//! CRI-O before 1.32: kubelet compares that time with others in nanoseconds, and took every status for an old one.

use cri::v1::PodSandboxStatusResponse;

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-8582",
    summary: "PodSandboxStatus gives its time in seconds instead of nanoseconds",
    source: "cri-o#8582",
    shows: &[("PodSandboxStatus", "status.created_at")],
    behaviour: || Box::new(Seconds),
};

struct Seconds;

impl Behaviour for Seconds {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::PodSandboxStatus(_, Ok(PodSandboxStatusResponse { status: Some(status), .. })) = reply {
            status.created_at /= 1_000_000_000;
        }
    }
}
