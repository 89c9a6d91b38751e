//! Containers, but for starting and stopping them.

use std::collections::BTreeMap;

use cri::v1;
use cri::v1::ContainerEventType as Event;
use tonic::Status;

use crate::container::{Container, reserved_name};
use crate::failure::{lookup, no_container, plain, reserved, sandbox_not_running};
use crate::index::LookupError;
use crate::info;
use crate::process::KILL;
use crate::regressions::Behaviours;
use crate::simulator::Simulator;
use crate::spec::Spec;
use crate::state::State;
use crate::usage::Usage;

impl Simulator {
    pub(super) fn create_container(
        &self,
        request: &v1::CreateContainerRequest,
    ) -> Result<v1::CreateContainerResponse, Status> {
        let mut state = self.state();
        let sandbox = state.sandbox(&request.pod_sandbox_id).map_err(|error| {
            lookup(format!("failed to find sandbox id {:?}", request.pod_sandbox_id), &error)
        })?;
        if !sandbox.is_ready() && !self.behaviours().creates_in_stopped_sandboxes() {
            return Err(sandbox_not_running(&sandbox.id));
        }
        let sandbox_id = sandbox.id.clone();
        let name = container_name(request)?;
        let id = state.random.id();
        if let Err(holder) = state.container_names.reserve(&name, &id) {
            let context = format!(
                "failed to reserve container name {name:?}; \
                 check if another CreateContainer request is in progress"
            );
            return Err(reserved(context, &name, &holder));
        }
        let now = self.clock().now();
        let made = make(&mut state, self.behaviours(), request, &sandbox_id, (id.clone(), name.clone()), now);
        match made {
            Ok(container) => {
                state.containers.insert(id.clone(), container);
                if let Some(sandbox) = state.sandboxes.get_mut(&sandbox_id) {
                    sandbox.containers.insert(id.clone());
                }
                state.publish(Event::ContainerCreatedEvent, &id, &sandbox_id, now);
                Ok(v1::CreateContainerResponse { container_id: id })
            }
            Err(error) => {
                state.container_names.release(&name);
                Err(error)
            }
        }
    }

    pub(super) fn remove_container(
        &self,
        request: &v1::RemoveContainerRequest,
    ) -> Result<v1::RemoveContainerResponse, Status> {
        let mut state = self.state();
        match state.container(&request.container_id).map(|container| container.id.clone()) {
            Ok(id) => remove(&mut state, &id, self.clock().now()),
            Err(LookupError::Missing) => {}
            Err(error) => return Err(no_container(&request.container_id, &error)),
        }
        Ok(v1::RemoveContainerResponse {})
    }

    pub(super) fn list_containers(&self, request: &v1::ListContainersRequest) -> v1::ListContainersResponse {
        let mut state = self.state();
        let containers = listed(&mut state, request).into_iter().map(Container::to_item).collect();
        v1::ListContainersResponse { containers }
    }

    /// The same, encoded.
    pub(super) fn encoded_containers(&self, request: &v1::ListContainersRequest) -> Vec<u8> {
        let mut state = self.state();
        let listed = listed(&mut state, request);
        let mut list = Vec::with_capacity(listed.iter().map(|container| container.element().room()).sum());
        for container in listed {
            container.element().append(container.state().into(), &mut list);
        }
        list
    }

    pub(super) fn container_status(
        &self,
        request: &v1::ContainerStatusRequest,
    ) -> Result<v1::ContainerStatusResponse, Status> {
        let state = self.state();
        let container = state
            .container(&request.container_id)
            .map_err(|error| no_container(&request.container_id, &error))?;
        Ok(v1::ContainerStatusResponse {
            status: Some(container.to_status(&state.images)),
            info: if request.verbose { info::of_container(container) } else { BTreeMap::new() },
        })
    }

    pub(super) fn update_container_resources(
        &self,
        request: &v1::UpdateContainerResourcesRequest,
    ) -> Result<v1::UpdateContainerResourcesResponse, Status> {
        let mut state = self.state();
        let container = state
            .container_mut(&request.container_id)
            .map_err(|error| lookup("failed to find container", &error))?;
        if let Some(update) = &request.linux {
            merge(&mut container.resources, update);
            container.cgroup.set_limit(container.resources.memory_limit_in_bytes);
        }
        Ok(v1::UpdateContainerResourcesResponse {})
    }

    pub(super) fn reopen_container_log(
        &self,
        request: &v1::ReopenContainerLogRequest,
    ) -> Result<v1::ReopenContainerLogResponse, Status> {
        let state = self.state();
        let container = state
            .container(&request.container_id)
            .map_err(|error| no_container(&request.container_id, &error))?;
        if !container.is_running() {
            return Err(plain("container is not running"));
        }
        if let Some(log) = &container.log {
            log.reopen();
        }
        Ok(v1::ReopenContainerLogResponse {})
    }

    /// As containerd on a node without CRIU.
    #[allow(clippy::unused_self, reason = "every answer has this form")]
    pub(super) fn checkpoint_container(
        &self,
        request: &v1::CheckpointContainerRequest,
    ) -> Result<v1::CheckpointContainerResponse, Status> {
        Err(plain(format!(
            "CRIU binary not found or too old (<31600). Failed to checkpoint container {:?}: \
             failed to check for criu version: exec: \"criu\": executable file not found in $PATH",
            request.container_id
        )))
    }
}

/// What is under the request's filter, in the order in which it is told.
fn listed<'a>(state: &'a mut State, request: &v1::ListContainersRequest) -> Vec<&'a Container> {
    let mut filter = request.filter.clone().unwrap_or_default();
    whole_ids(state, &mut filter.id, &mut filter.pod_sandbox_id);
    let State { containers, random, .. } = state;
    let mut listed: Vec<_> = containers.values().filter(|container| container.matches(&filter)).collect();
    random.shuffle(&mut listed);
    listed
}

/// Makes prefixes of ids whole; those that are of no object or of several stay, and match nothing.
pub(super) fn whole_ids(state: &State, container_id: &mut String, sandbox_id: &mut String) {
    if let Ok(container) = state.container(container_id) {
        container_id.clone_from(&container.id);
    }
    if let Ok(sandbox) = state.sandbox(sandbox_id) {
        sandbox_id.clone_from(&sandbox.id);
    }
}

/// Takes a container away, killing it first if it still runs.
pub(super) fn remove(state: &mut State, id: &str, now: i64) {
    state.container_exited(id, 128 + KILL, now);
    let Some(container) = state.containers.remove(id) else { return };
    state.container_names.release(&container.name);
    if let Some(sandbox) = state.sandboxes.get_mut(&container.sandbox_id) {
        sandbox.containers.remove(id);
    }
    state.publish(Event::ContainerDeletedEvent, id, &container.sandbox_id, now);
}

fn container_name(request: &v1::CreateContainerRequest) -> Result<String, Status> {
    let metadata = request.config.as_ref().and_then(|config| config.metadata.as_ref());
    let Some(metadata) = metadata else {
        return Err(plain("container config must include metadata"));
    };
    let pod = request.sandbox_config.as_ref().and_then(|config| config.metadata.as_ref());
    let Some(pod) = pod else {
        return Err(plain("pod sandbox config must include metadata"));
    };
    Ok(reserved_name(metadata, pod))
}

fn make(
    state: &mut State,
    behaviours: &Behaviours,
    request: &v1::CreateContainerRequest,
    sandbox_id: &str,
    (id, name): (String, String),
    now: i64,
) -> Result<Container, Status> {
    let config = request.config.as_ref();
    let image = config.and_then(|config| config.image.as_ref()).map_or("", |image| &image.image);
    // containerd takes an image for a checkpoint first.
    let image = state.images.resolve(image).map_err(|error| {
        lookup(
            format!("failed to check if this is a checkpoint image: failed to resolve image {image:?}"),
            &error,
        )
    })?;
    if is_privileged(config) && !allows_privileged(request.sandbox_config.as_ref()) {
        return Err(plain(format!(
            "failed to generate container {id:?} spec: failed to generate spec opts: \
             no privileged container allowed in sandbox"
        )));
    }
    let sandbox = state.sandboxes.get(sandbox_id).ok_or_else(|| sandbox_not_running(sandbox_id))?;
    let usage = Usage::beginning(now, &mut state.random);
    let spec = Spec::of(&request.config.clone().unwrap_or_default(), &sandbox.config, behaviours);
    Ok(Container::new((id, name), sandbox, request, image, spec, usage, now))
}

fn is_privileged(config: Option<&v1::ContainerConfig>) -> bool {
    let context = config.and_then(|config| config.linux.as_ref()?.security_context.as_ref());
    context.is_some_and(|context| context.privileged)
}

fn allows_privileged(config: Option<&v1::PodSandboxConfig>) -> bool {
    let context = config.and_then(|config| config.linux.as_ref()?.security_context.as_ref());
    context.is_some_and(|context| context.privileged)
}

/// Sets what `update` sets; what it leaves at zero stays.
fn merge(resources: &mut v1::LinuxContainerResources, update: &v1::LinuxContainerResources) {
    fn set<T: Default + PartialEq + Clone>(field: &mut T, update: &T) {
        if *update != T::default() {
            field.clone_from(update);
        }
    }
    set(&mut resources.cpu_period, &update.cpu_period);
    set(&mut resources.cpu_quota, &update.cpu_quota);
    set(&mut resources.cpu_shares, &update.cpu_shares);
    set(&mut resources.memory_limit_in_bytes, &update.memory_limit_in_bytes);
    set(&mut resources.oom_score_adj, &update.oom_score_adj);
    set(&mut resources.cpuset_cpus, &update.cpuset_cpus);
    set(&mut resources.cpuset_mems, &update.cpuset_mems);
    set(&mut resources.hugepage_limits, &update.hugepage_limits);
    set(&mut resources.unified, &update.unified);
    set(&mut resources.memory_swap_limit_in_bytes, &update.memory_swap_limit_in_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_what_it_does_not_set() {
        let mut resources = v1::LinuxContainerResources {
            cpu_shares: 100,
            memory_limit_in_bytes: 5,
            ..v1::LinuxContainerResources::default()
        };
        let update =
            v1::LinuxContainerResources { cpu_shares: 200, ..v1::LinuxContainerResources::default() };
        merge(&mut resources, &update);
        assert_eq!((resources.cpu_shares, resources.memory_limit_in_bytes), (200, 5));
    }
}
