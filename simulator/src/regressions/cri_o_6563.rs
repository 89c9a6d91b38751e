//! CRI-O before 1.27: `linux.containers` was never filled.

use cri::v1::PodSandboxStats;

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-6563",
    summary: "Pod statistics lack those of their containers",
    source: "cri-o#6563",
    shows: &[
        ("ListPodSandboxStats", "stats[].linux.containers[]"),
        ("PodSandboxStats", "stats.linux.containers[]"),
    ],
    behaviour: || Box::new(NoContainers),
};

struct NoContainers;

impl Behaviour for NoContainers {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        match reply {
            Reply::ListPodSandboxStats(_, Ok(response)) => response.stats.iter_mut().for_each(strip),
            Reply::PodSandboxStats(_, Ok(response)) => response.stats.iter_mut().for_each(strip),
            _ => {}
        }
    }
}

fn strip(stats: &mut PodSandboxStats) {
    if let Some(linux) = &mut stats.linux {
        linux.containers.clear();
    }
}
