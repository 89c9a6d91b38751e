//! containerd 1.7.0 on cgroup v2: metrics of a task came as a type that was not looked for, and one failed the whole list.

use super::{Behaviour, Regression};
use crate::container::Container;
use crate::failure::plain;
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-8472",
    summary: "ListContainerStats fails while a container runs: unexpected metrics type",
    source: "containerd#8472",
    shows: &[("ListContainerStats", "outcome.code")],
    behaviour: || Box::new(UnknownType),
};

struct UnknownType;

impl Behaviour for UnknownType {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::ListContainerStats(_, outcome @ Ok(_)) = reply else { return };
        let Ok(response) = &*outcome else { return };
        let state = simulator.state();
        let ids = response.stats.iter().filter_map(|stats| stats.attributes.as_ref()).map(|it| &it.id);
        let running = |id: &&String| state.containers.get(*id).is_some_and(Container::is_running);
        if let Some(id) = ids.into_iter().find(running) {
            *outcome = Err(plain(format!(
                "failed to convert to cri containerd stats format: failed to decode container metrics for \
                 {id:?}: failed to obtain container stats: unexpected metrics type: *v2.Metrics"
            )));
        }
    }
}
