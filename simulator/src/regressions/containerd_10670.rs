//! containerd before 1.7.22: the rate was the difference to the last count, and a container on its way out counts zero.

use cri::v1::CpuUsage;

use super::{Behaviour, Regression};
use crate::container::Phase;
use crate::rpc::Reply;
use crate::simulator::Simulator;
use crate::usage::number;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10670",
    summary: "ListContainerStats of a container that has exited has an underflown, huge usage_nano_cores",
    source: "containerd#10670",
    shows: &[
        ("ListContainerStats", "stats[].cpu.usage_nano_cores.value"),
        ("ListContainerStats", "stats[].cpu"),
    ],
    behaviour: || Box::new(Underflow),
};

struct Underflow;

impl Behaviour for Underflow {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::ListContainerStats(_, Ok(response)) = reply else { return };
        let state = simulator.state();
        for stats in &mut response.stats {
            let id = stats.attributes.as_ref().map_or("", |attributes| &attributes.id);
            let Some(container) = state.containers.get(id) else { continue };
            if matches!(&container.phase, Phase::Exited(exit) if exit.started_at > 0) {
                stats.cpu = Some(CpuUsage {
                    timestamp: simulator.clock().now(),
                    usage_core_nano_seconds: Some(number(0)),
                    usage_nano_cores: Some(number(0_u64.wrapping_sub(container.usage.cpu_ns()))),
                    psi: None,
                });
            }
        }
    }
}
