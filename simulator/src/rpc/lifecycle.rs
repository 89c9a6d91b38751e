//! Starting and stopping containers.

use std::time::Duration;

use cri::v1;
use cri::v1::ContainerEventType as Event;
use tonic::Status;

use crate::container::{Container, Exit, Phase};
use crate::failure::{no_container, plain, sandbox_not_running};
use crate::index::LookupError;
use crate::process::{KILL, LogOutput, Process, Program};
use crate::sandbox::Sandbox;
use crate::simulator::Simulator;
use crate::state::State;

impl Simulator {
    pub(super) fn start_container(
        &self,
        request: &v1::StartContainerRequest,
    ) -> Result<v1::StartContainerResponse, Status> {
        let mut state = self.state();
        let container = state
            .container(&request.container_id)
            .map_err(|error| no_container(&request.container_id, &error))?;
        let id = container.id.clone();
        if !matches!(container.phase, Phase::Created) {
            return Err(plain(format!(
                "failed to set starting state for container {id:?}: container is in {} state",
                container.state().as_str_name()
            )));
        }
        let now = self.clock().now();
        match startable(&state, container) {
            Ok(program) => self.start(&mut state, &id, program, now),
            Err(error) => {
                if let Some(container) = state.containers.get_mut(&id) {
                    container.end(Exit::of_failed_start(now, error.message()));
                }
                return Err(error);
            }
        }
        Ok(v1::StartContainerResponse {})
    }

    fn start(&self, state: &mut State, id: &str, program: Program, now: i64) {
        let pid = state.next_pid();
        let Some(container) = state.containers.get_mut(id) else { return };
        container.open_log();
        let output = LogOutput::new(container.log.clone(), self.clock());
        let (simulator, clock) = (self.downgrade(), self.clock());
        let exited = {
            let id = id.to_owned();
            move |code| {
                let lifetime = Duration::from_nanos(u64::try_from(clock.now() - now).unwrap_or(0));
                simulator.process_exited(&id, lifetime, code);
            }
        };
        let process =
            Process::spawn(pid, program, container.namespace(), container.environment(), output, exited);
        container.start(now, process);
        let sandbox_id = container.sandbox_id.clone();
        state.publish(Event::ContainerStartedEvent, id, &sandbox_id, now);
    }

    /// Sends the stop signal, waits as long as the caller grants, then kills. A container that doesn't run is left as it is.
    pub(super) async fn stop_container(
        &self,
        request: &v1::StopContainerRequest,
    ) -> Result<v1::StopContainerResponse, Status> {
        let is_stuck;
        let (id, mut exited) = {
            let mut state = self.state();
            let container = match state.container_mut(&request.container_id) {
                Ok(container) => container,
                Err(LookupError::Missing) => return Ok(v1::StopContainerResponse {}),
                Err(error) => return Err(no_container(&request.container_id, &error)),
            };
            if !container.is_running() {
                return Ok(v1::StopContainerResponse {});
            }
            let exited = container.exited();
            let id = container.id.clone();
            is_stuck = request.timeout > 0
                && container.was_signalled()
                && self.behaviours().stop_gets_stuck_behind_another();
            let code = if request.timeout > 0 { container.signal_stop() } else { Some(128 + KILL) };
            if let Some(code) = code {
                state.container_exited(&id, code, self.clock().now());
                return Ok(v1::StopContainerResponse {});
            }
            (id, exited)
        };
        let grace = Duration::from_secs(u64::try_from(request.timeout).unwrap_or(0));
        if is_stuck {
            // An error means that the container is gone.
            let _ = exited.wait_for(|exited| *exited).await;
        } else if tokio::time::timeout(grace, exited.wait_for(|exited| *exited)).await.is_err() {
            self.state().container_exited(&id, 128 + KILL, self.clock().now());
        }
        Ok(v1::StopContainerResponse {})
    }
}

fn startable(state: &State, container: &Container) -> Result<Program, Status> {
    let is_ready = state.sandboxes.get(&container.sandbox_id).is_some_and(Sandbox::is_ready);
    if !is_ready {
        return Err(sandbox_not_running(&container.sandbox_id));
    }
    container.program().map_err(|error| {
        plain(format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
             runc create failed: unable to start container process: {error}"
        ))
    })
}
