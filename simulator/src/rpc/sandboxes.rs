//! Pod sandboxes.

use std::collections::BTreeMap;

use cri::v1;
use cri::v1::ContainerEventType as Event;
use tonic::Status;

use super::node::check_handler;
use crate::failure::{lookup, no_sandbox, plain, reserved};
use crate::index::LookupError;
use crate::info;
use crate::process::KILL;
use crate::sandbox::{Origin, Phase, Sandbox, reserved_name, uses_host_network};
use crate::simulator::Simulator;
use crate::state::State;
use crate::usage::Usage;

impl Simulator {
    pub(super) fn run_pod_sandbox(
        &self,
        request: &v1::RunPodSandboxRequest,
    ) -> Result<v1::RunPodSandboxResponse, Status> {
        let config = request.config.clone().unwrap_or_default();
        let Some(metadata) = &config.metadata else {
            return Err(plain("sandbox config must include metadata"));
        };
        let name = reserved_name(metadata);
        let mut state = self.state();
        let id = state.random.id();
        if let Err(holder) = state.sandbox_names.reserve(&name, &id) {
            return Err(reserved(format!("failed to reserve sandbox name {name:?}"), &name, &holder));
        }
        let started = check_handler(self, &request.runtime_handler, &id)
            .and_then(|()| start(&mut state, &config, &id).map_err(|error| *error));
        let (pid, ip) = match started {
            Ok(started) => started,
            Err(error) => {
                state.sandbox_names.release(&name);
                return Err(error);
            }
        };
        let now = self.clock().now();
        let origin = Origin {
            id: id.clone(),
            name,
            config,
            runtime_handler: request.runtime_handler.clone(),
            created_at: now,
        };
        let usage = Usage::beginning(now, &mut state.random);
        let sandbox = Sandbox::new(origin, pid, ip, usage);
        state.sandboxes.insert(id.clone(), sandbox);
        state.publish(Event::ContainerCreatedEvent, &id, &id, now);
        state.publish(Event::ContainerStartedEvent, &id, &id, now);
        Ok(v1::RunPodSandboxResponse { pod_sandbox_id: id })
    }

    pub(super) fn stop_pod_sandbox(
        &self,
        request: &v1::StopPodSandboxRequest,
    ) -> Result<v1::StopPodSandboxResponse, Status> {
        let mut state = self.state();
        match state.sandbox(&request.pod_sandbox_id).map(|sandbox| sandbox.id.clone()) {
            Ok(id) => stop(&mut state, &id, self.clock().now()),
            Err(LookupError::Missing) => {}
            Err(error) => return Err(no_sandbox(&request.pod_sandbox_id, &error)),
        }
        Ok(v1::StopPodSandboxResponse {})
    }

    pub(super) fn remove_pod_sandbox(
        &self,
        request: &v1::RemovePodSandboxRequest,
    ) -> Result<v1::RemovePodSandboxResponse, Status> {
        let mut state = self.state();
        let id = match state.sandbox(&request.pod_sandbox_id) {
            Ok(sandbox) => sandbox.id.clone(),
            Err(LookupError::Missing) => return Ok(v1::RemovePodSandboxResponse {}),
            Err(error) => return Err(no_sandbox(&request.pod_sandbox_id, &error)),
        };
        let now = self.clock().now();
        stop(&mut state, &id, now);
        for container in state.container_ids(&id) {
            super::containers::remove(&mut state, &container, now);
        }
        state.publish(Event::ContainerDeletedEvent, &id, &id, now);
        if let Some(sandbox) = state.sandboxes.remove(&id) {
            state.sandbox_names.release(&sandbox.name);
        }
        Ok(v1::RemovePodSandboxResponse {})
    }

    pub(super) fn pod_sandbox_status(
        &self,
        request: &v1::PodSandboxStatusRequest,
    ) -> Result<v1::PodSandboxStatusResponse, Status> {
        let state = self.state();
        let sandbox = state
            .sandbox(&request.pod_sandbox_id)
            .map_err(|error| lookup("an error occurred when try to find sandbox", &error))?;
        Ok(v1::PodSandboxStatusResponse {
            status: Some(sandbox.to_status()),
            info: if request.verbose { info::of_sandbox(sandbox) } else { BTreeMap::new() },
            // containerd leaves them to the events.
            containers_statuses: Vec::new(),
            timestamp: 0,
        })
    }

    pub(super) fn list_pod_sandbox(&self, request: &v1::ListPodSandboxRequest) -> v1::ListPodSandboxResponse {
        let mut state = self.state();
        let items = listed(&mut state, request).into_iter().map(Sandbox::to_item).collect();
        v1::ListPodSandboxResponse { items }
    }

    /// The same, encoded.
    pub(super) fn encoded_pod_sandboxes(&self, request: &v1::ListPodSandboxRequest) -> Vec<u8> {
        let mut state = self.state();
        let listed = listed(&mut state, request);
        let mut list = Vec::with_capacity(listed.iter().map(|sandbox| sandbox.element().room()).sum());
        for sandbox in listed {
            sandbox.element().append(sandbox.state().into(), &mut list);
        }
        list
    }
}

/// What is under the request's filter, in the order in which it is told.
fn listed<'a>(state: &'a mut State, request: &v1::ListPodSandboxRequest) -> Vec<&'a Sandbox> {
    let filter = request.filter.clone().unwrap_or_default();
    let State { sandboxes, random, .. } = state;
    let mut listed: Vec<_> = sandboxes.values().filter(|sandbox| sandbox.matches(&filter)).collect();
    random.shuffle(&mut listed);
    listed
}

/// The pid of a new sandbox, and its address where it has one.
fn start(
    state: &mut State,
    config: &v1::PodSandboxConfig,
    id: &str,
) -> Result<(u32, Option<String>), Box<Status>> {
    let ip = if uses_host_network(config) {
        None
    } else {
        let address = state.addresses.allocate();
        Some(address.ok_or_else(|| {
            let text =
                format!("failed to setup network for sandbox {id:?}: no IP addresses available in range set");
            Box::new(plain(text))
        })?)
    };
    Ok((state.next_pid(), ip))
}

/// Kills the containers, then the sandbox. Done twice, it does nothing the second time.
fn stop(state: &mut State, id: &str, now: i64) {
    for container in state.container_ids(id) {
        state.container_exited(&container, 128 + KILL, now);
    }
    let Some(sandbox) = state.sandboxes.get_mut(id) else { return };
    match std::mem::replace(&mut sandbox.phase, Phase::Stopped) {
        Phase::Stopped => return,
        // That was told when it died.
        Phase::Dead => {}
        // The network is taken down after the processes: the event still has the address.
        Phase::Ready { .. } => state.publish(Event::ContainerStoppedEvent, id, id, now),
    }
    if let Some(ip) = state.sandboxes.get_mut(id).and_then(|sandbox| sandbox.ip.take()) {
        state.addresses.release(&ip);
    }
}
