//! containerd before 2.3: the rate of processor time was left to kubelet to work out, in the statistics of pods and of what is in
//! them.

use cri::v1::{CpuUsage, PodSandboxStats};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-12629",
    summary: "Pod statistics have no usage_nano_cores",
    source: "containerd#12629",
    shows: &[
        ("ListPodSandboxStats", "stats[].linux.cpu.usage_nano_cores"),
        ("ListPodSandboxStats", "stats[].linux.containers[].cpu.usage_nano_cores"),
        ("PodSandboxStats", "stats.linux.cpu.usage_nano_cores"),
        ("PodSandboxStats", "stats.linux.containers[].cpu.usage_nano_cores"),
    ],
    behaviour: || Box::new(NoRate),
};

struct NoRate;

impl Behaviour for NoRate {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        match reply {
            Reply::ListPodSandboxStats(_, Ok(response)) => response.stats.iter_mut().for_each(strip),
            Reply::PodSandboxStats(_, Ok(response)) => response.stats.iter_mut().for_each(strip),
            _ => {}
        }
    }
}

fn strip(stats: &mut PodSandboxStats) {
    let forget = |cpu: &mut CpuUsage| cpu.usage_nano_cores = None;
    let Some(linux) = &mut stats.linux else { return };
    linux.cpu.iter_mut().for_each(forget);
    linux.containers.iter_mut().filter_map(|container| container.cpu.as_mut()).for_each(forget);
}
