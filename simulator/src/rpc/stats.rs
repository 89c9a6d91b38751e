//! What containers and pods use.

use cri::v1;
use tonic::Status;

use super::containers::whole_ids;
use crate::container::Container;
use crate::element;
use crate::failure::{lookup, plain};
use crate::random::Random;
use crate::sandbox::has_labels;
use crate::simulator::Simulator;
use crate::state::State;
use crate::usage::number;

/// Where snapshots of containers live: a mount point that exists on every node.
pub(super) const MOUNTPOINT: &str = "/";

impl Simulator {
    pub(super) fn container_stats(
        &self,
        request: &v1::ContainerStatsRequest,
    ) -> Result<v1::ContainerStatsResponse, Status> {
        let mut state = self.state();
        let container = state
            .container(&request.container_id)
            .map_err(|error| lookup("failed to find container", &error))?;
        if !container.is_running() {
            return Err(plain("unexpected metrics response: []"));
        }
        let id = container.id.clone();
        Ok(v1::ContainerStatsResponse { stats: of_container(&mut state, &id, self.clock().now()) })
    }

    pub(super) fn list_container_stats(
        &self,
        request: &v1::ListContainerStatsRequest,
    ) -> v1::ListContainerStatsResponse {
        let mut state = self.state();
        let with_attributes = |(container, used): (&Container, v1::ContainerStats)| v1::ContainerStats {
            attributes: Some(container.attributes()),
            ..used
        };
        let list = listed(&mut state, request, self.clock().now());
        v1::ListContainerStatsResponse { stats: list.into_iter().map(with_attributes).collect() }
    }

    /// The same, encoded.
    pub(super) fn encoded_container_stats(&self, request: &v1::ListContainerStatsRequest) -> Vec<u8> {
        let mut state = self.state();
        let mut list = Vec::new();
        for (container, used) in listed(&mut state, request, self.clock().now()) {
            element::append(container.encoded_attributes(), &used, &mut list);
        }
        list
    }

    pub(super) fn pod_sandbox_stats(
        &self,
        request: &v1::PodSandboxStatsRequest,
    ) -> Result<v1::PodSandboxStatsResponse, Status> {
        let mut state = self.state();
        let given = &request.pod_sandbox_id;
        let sandbox = state.sandbox(given).map_err(|error| {
            lookup(format!("an error occurred when trying to find sandbox {given}"), &error)
        })?;
        let id = sandbox.id.clone();
        if !sandbox.is_ready() {
            return Err(Status::unavailable(format!(
                "failed to decode pod sandbox metrics {given}: failed to get pod sandbox stats since \
                 sandbox container {id:?} is not in ready state: unavailable"
            )));
        }
        Ok(v1::PodSandboxStatsResponse { stats: of_sandbox(&mut state, &id, self.clock().now()) })
    }

    pub(super) fn list_pod_sandbox_stats(
        &self,
        request: &v1::ListPodSandboxStatsRequest,
    ) -> v1::ListPodSandboxStatsResponse {
        let mut state = self.state();
        let mut filter = request.filter.clone().unwrap_or_default();
        whole_ids(&state, &mut String::new(), &mut filter.id);
        let ids: Vec<String> = state
            .sandboxes
            .values()
            .filter(|sandbox| sandbox.is_ready())
            .filter(|sandbox| filter.id.is_empty() || filter.id == sandbox.id)
            .filter(|sandbox| has_labels(&sandbox.config.labels, &filter.label_selector))
            .map(|sandbox| sandbox.id.clone())
            .collect();
        let now = self.clock().now();
        let mut list: Vec<_> = ids.iter().filter_map(|id| of_sandbox(&mut state, id, now)).collect();
        state.random.shuffle(&mut list);
        v1::ListPodSandboxStatsResponse { stats: list }
    }
}

/// What the containers under the request's filter use, without their attributes, in the order in which it is told.
fn listed<'a>(
    state: &'a mut State,
    request: &v1::ListContainerStatsRequest,
    now: i64,
) -> Vec<(&'a Container, v1::ContainerStats)> {
    let mut filter = request.filter.clone().unwrap_or_default();
    whole_ids(state, &mut filter.id, &mut filter.pod_sandbox_id);
    let wanted = v1::ContainerFilter {
        id: filter.id,
        state: None,
        pod_sandbox_id: filter.pod_sandbox_id,
        label_selector: filter.label_selector,
    };
    let State { containers, random, .. } = state;
    let mut list = Vec::new();
    for container in containers.values_mut().filter(|container| container.matches(&wanted)) {
        let used = used(container, random, now);
        list.push((&*container, used));
    }
    random.shuffle(&mut list);
    list
}

/// The statistics of one container.
fn of_container(state: &mut State, id: &str, now: i64) -> Option<v1::ContainerStats> {
    let State { containers, random, .. } = state;
    let container = containers.get_mut(id)?;
    let used = used(container, random, now);
    Some(v1::ContainerStats { attributes: Some(container.attributes()), ..used })
}

/// What one container uses, without its attributes; of one that doesn't run, only its layer.
fn used(container: &mut Container, random: &mut Random, now: i64) -> v1::ContainerStats {
    let limit = container.resources.memory_limit_in_bytes;
    let sample = container.is_running().then(|| container.usage.sample(now, limit, random));
    let (cpu, memory) = sample.map(|sample| (sample.cpu, sample.memory)).unzip();
    let writable_layer = v1::FilesystemUsage {
        timestamp: now,
        fs_id: Some(v1::FilesystemIdentifier { mountpoint: MOUNTPOINT.to_owned() }),
        used_bytes: Some(number(8192 + 4096 * random.below(4))),
        inodes_used: Some(number(7 + random.below(4))),
    };
    v1::ContainerStats { cpu, memory, writable_layer: Some(writable_layer), ..v1::ContainerStats::default() }
}

fn of_sandbox(state: &mut State, id: &str, now: i64) -> Option<v1::PodSandboxStats> {
    let ids = state.container_ids(id);
    let mut containers: Vec<_> = ids.iter().filter_map(|id| of_container(state, id, now)).collect();
    let State { sandboxes, random, .. } = state;
    random.shuffle(&mut containers);
    let running = containers.iter().filter(|stats| stats.cpu.is_some()).count() as u64;
    let sandbox = sandboxes.get_mut(id)?;
    let sample = sandbox.usage.sample(now, 0, random);
    let linux = v1::LinuxPodSandboxStats {
        cpu: Some(sample.cpu),
        memory: Some(sample.memory),
        network: (!sandbox.uses_host_network()).then_some(sample.network),
        // Of its containers; the sandbox's own process is not counted.
        process: Some(v1::ProcessUsage { timestamp: now, process_count: Some(number(running)) }),
        containers,
        io: None,
    };
    Some(v1::PodSandboxStats { attributes: Some(sandbox.attributes()), linux: Some(linux), windows: None })
}
