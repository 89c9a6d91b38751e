//! What a call has stopped has ended when the call returns.

use std::collections::HashMap;
use std::time::Duration;

use cri::v1;
use cri::wire::text_at;
use foldhash::quality::RandomState;
use serde_json::Value;

use super::exchange::{Observed, Said, number_in};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "stopped-when-told",
    rule: "a container must have ended, and a sandbox be ready no longer, when the call that stopped it, or its sandbox, returns",
    source: "runtime.v1: StopContainer and StopPodSandbox; kubelet frees what the container held as soon as they return",
    consequence: "kubelet takes what has stopped for running: it waits and stops it again, and the pod does not end",
    severity: Severity::Breaking,
};

/// Runtimes note what happened before they tell of it (containerd 1.6 to 2.1: an end 22 to 80 ms before `StopContainer` returns, a
/// removal 0.1 ms), but clocks are read at different moments.
pub(super) const NOTED_WITHIN: Duration = Duration::from_millis(50);
/// Containers that are kept in mind.
const MAX_CONTAINERS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Stopped {
    /// The sandbox of each container.
    sandboxes: HashMap<String, String, RandomState>,
    /// When the calls returned that stopped these, since the epoch.
    stopped: HashMap<String, Duration, RandomState>,
}

impl Watch for Stopped {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::CreateContainer(asked, made) if self.sandboxes.len() < MAX_CONTAINERS => {
                self.sandboxes.insert(made.container_id.clone(), asked.pod_sandbox_id.clone());
            }
            Said::StopContainer(id) | Said::StopPodSandbox(id) if self.stopped.len() < MAX_CONTAINERS => {
                self.stopped.entry(id.clone()).or_insert(seen.ended);
            }
            Said::RemoveContainer(id) => {
                self.sandboxes.remove(id);
                self.stopped.remove(id);
            }
            // A container that had not been started may be started yet.
            Said::StartContainer(id) | Said::RemovePodSandbox(id) => {
                self.stopped.remove(id);
            }
            Said::ContainerStatus(id, answer) => {
                if let Some(status) = &answer.status {
                    self.end(id, status, verdict);
                }
                self.passing(seen, verdict);
            }
            _ => self.passing(seen, verdict),
        }
    }

    fn passing(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::ContainerStatus(id, answer) => {
                if let Some(status) = &answer.status {
                    self.container(seen, id, status.state(), "status.state", verdict);
                }
            }
            Said::PodSandboxStatus(id, answer) => {
                if let Some(status) = &answer.status {
                    self.sandbox(seen, id, status.state(), "status.state", verdict);
                }
            }
            Said::ListContainers(_) => {
                let runs = v1::ContainerState::ContainerRunning;
                self.list(seen, "containers[].state", 6, (runs.into(), runs.as_str_name()), verdict);
            }
            Said::ListPodSandbox(_) => {
                let ready = v1::PodSandboxState::SandboxReady;
                self.list(seen, "items[].state", 3, (ready.into(), ready.as_str_name()), verdict);
            }
            _ => {}
        }
    }
}

impl Stopped {
    /// When the call returned that stopped this, or its sandbox.
    fn since(&self, id: &str) -> Option<Duration> {
        let sandbox = self.sandboxes.get(id).and_then(|sandbox| self.stopped.get(sandbox));
        self.stopped.get(id).into_iter().chain(sandbox).min().copied()
    }

    /// Looks at all elements of a list, which tell their state in this field: one that stays as it was is no news.
    fn list(
        &self,
        seen: &Observed<'_>,
        path: &str,
        field: u32,
        (alive, name): (i32, &str),
        verdict: &mut Verdict,
    ) {
        if self.stopped.is_empty() {
            return;
        }
        for element in seen.elements() {
            let id = text_at(element, &[1]).filter(|id| self.since(id).is_some());
            if let Some(id) = id {
                let is_alive = number_in(element, field) == i64::from(alive);
                self.ended(seen, id, is_alive.then_some(name), path, verdict);
            }
        }
    }

    fn container(
        &self,
        seen: &Observed<'_>,
        id: &str,
        state: v1::ContainerState,
        path: &str,
        verdict: &mut Verdict,
    ) {
        let runs = state == v1::ContainerState::ContainerRunning;
        self.ended(seen, id, runs.then(|| state.as_str_name()), path, verdict);
    }

    fn sandbox(
        &self,
        seen: &Observed<'_>,
        id: &str,
        state: v1::PodSandboxState,
        path: &str,
        verdict: &mut Verdict,
    ) {
        let is_ready = state == v1::PodSandboxState::SandboxReady;
        self.ended(seen, id, is_ready.then(|| state.as_str_name()), path, verdict);
    }

    /// What was stopped was seen, with the state where that is one of life.
    fn ended(&self, seen: &Observed<'_>, id: &str, alive: Option<&str>, path: &str, verdict: &mut Verdict) {
        if self.since(id).is_some_and(|stopped| stopped + NOTED_WITHIN <= seen.started) {
            verdict.check(
                alive.is_none(),
                path,
                "the state of what was stopped",
                alive.map_or(Value::Null, Value::from),
            );
        }
    }

    /// When it ended, as its status tells.
    fn end(&self, id: &str, status: &v1::ContainerStatus, verdict: &mut Verdict) {
        let Some(stopped) = self.since(id) else { return };
        let finished = u64::try_from(status.finished_at).map(Duration::from_nanos);
        if let Ok(finished) = finished
            && status.state() == v1::ContainerState::ContainerExited
        {
            let latest = stopped + NOTED_WITHIN;
            let expected =
                format!("{} at most: then the call that stopped it had returned", latest.as_nanos());
            verdict.check(finished <= latest, "status.finished_at", expected, status.finished_at.to_string());
        }
    }
}
