//! Commands in running containers, and the addresses for streams to them.

use std::time::Duration;

use cri::v1;
use tonic::Status;

use crate::container::Container;
use crate::failure::{lookup, plain};
use crate::host::Tool;
use crate::index::LookupError;
use crate::process::{Captured, Inbox, KILL, Program};
use crate::simulator::Simulator;

/// Where containerd would serve the streams. Nothing listens there.
const STREAMS: &str = "http://127.0.0.1:36921";

impl Simulator {
    pub(super) async fn exec_sync(
        &self,
        request: &v1::ExecSyncRequest,
    ) -> Result<v1::ExecSyncResponse, Status> {
        let (program, environment, mut exited, _exec) = {
            let mut state = self.state();
            let exec_id = state.random.id();
            let container = running(state.container(&request.container_id), &request.container_id)
                .map_err(|error| within("failed to exec in container", &error))?;
            if let Some(tool) = Tool::of(&request.cmd, container) {
                let exit_code = tool.run(&mut state, self.behaviours().outside_pull(), self.clock().now());
                return Ok(v1::ExecSyncResponse { exit_code, ..v1::ExecSyncResponse::default() });
            }
            let exec = container.exec();
            let hangs = exec.is_one_of_several && self.behaviours().concurrent_execs_hang();
            let program = if hangs { Program::Sleep(None) } else { resolve(&request.cmd, &exec_id)? };
            (program, container.environment(), container.exited(), exec)
        };
        let mut output = Captured::default();
        let mut inbox = Inbox::closed();
        let limit = u64::try_from(request.timeout).ok().filter(|seconds| *seconds > 0);
        let exit_code = tokio::select! {
            // Most commands end at once, and need no timer.
            biased;
            code = program.run(environment, &mut output, &mut inbox) => code,
            // All processes of a container go with its first.
            _ = exited.wait_for(|exited| *exited) => 128 + KILL,
            () = expiry(limit) => return Err(timed_out(limit.unwrap_or(0))),
        };
        Ok(v1::ExecSyncResponse { stdout: output.stdout.into(), stderr: output.stderr.into(), exit_code })
    }

    pub(super) fn exec(&self, request: &v1::ExecRequest) -> Result<v1::ExecResponse, Status> {
        let mut state = self.state();
        running(state.container(&request.container_id), &request.container_id)?;
        if request.tty && request.stderr {
            return Err(Status::invalid_argument("tty and stderr cannot both be true"));
        }
        if !(request.stdin || request.stdout || request.stderr) {
            return Err(Status::invalid_argument("one of stdin, stdout, or stderr must be set"));
        }
        Ok(v1::ExecResponse { url: format!("{STREAMS}/exec/{}", state.random.token()) })
    }

    pub(super) fn attach(&self, request: &v1::AttachRequest) -> Result<v1::AttachResponse, Status> {
        let mut state = self.state();
        let container = state
            .container(&request.container_id)
            .map_err(|error| lookup("failed to find container in store", &error));
        in_running_state(container?)?;
        if request.tty && request.stderr {
            return Err(Status::invalid_argument("tty and stderr cannot both be true"));
        }
        if !(request.stdin || request.stdout || request.stderr) {
            return Err(Status::invalid_argument("one of stdin, stdout, and stderr must be set"));
        }
        Ok(v1::AttachResponse { url: format!("{STREAMS}/attach/{}", state.random.token()) })
    }

    pub(super) fn port_forward(
        &self,
        request: &v1::PortForwardRequest,
    ) -> Result<v1::PortForwardResponse, Status> {
        let mut state = self.state();
        let sandbox = state.sandbox(&request.pod_sandbox_id).map_err(|error| {
            lookup(format!("failed to find sandbox {:?}", request.pod_sandbox_id), &error)
        })?;
        if !sandbox.is_ready() {
            return Err(plain("sandbox container is not running"));
        }
        Ok(v1::PortForwardResponse { url: format!("{STREAMS}/portforward/{}", state.random.token()) })
    }
}

fn running<'a>(found: Result<&'a Container, LookupError>, id: &str) -> Result<&'a Container, Status> {
    in_running_state(
        found.map_err(|error| lookup(format!("failed to find container {id:?} in store"), &error))?,
    )
}

fn in_running_state(container: &Container) -> Result<&Container, Status> {
    if container.is_running() {
        return Ok(container);
    }
    Err(plain(format!("container is in {} state", container.state().as_str_name())))
}

fn within(context: &str, error: &Status) -> Status {
    Status::new(error.code(), format!("{context}: {}", error.message()))
}

fn resolve(command: &[String], exec_id: &str) -> Result<Program, Status> {
    let failed = |reason: String| {
        plain(format!(
            "failed to exec in container: failed to start exec {exec_id:?}: OCI runtime exec failed: exec failed: {reason}"
        ))
    };
    if command.is_empty() {
        return Err(failed("args must not be empty".to_owned()));
    }
    Program::resolve(command).map_err(|error| failed(format!("unable to start container process: {error}")))
}

async fn expiry(limit: Option<u64>) {
    match limit {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

fn timed_out(seconds: u64) -> Status {
    let limit = go_duration(seconds);
    Status::deadline_exceeded(format!(
        "failed to exec in container: timeout {limit} exceeded: context deadline exceeded"
    ))
}

/// Seconds as Go prints a duration: `5s`, `1m30s`, `2h0m0s`.
fn go_duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_in_go() {
        assert_eq!(go_duration(5), "5s");
        assert_eq!(go_duration(90), "1m30s");
        assert_eq!(go_duration(7200), "2h0m0s");
    }
}
