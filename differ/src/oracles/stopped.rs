//! What a call has stopped has ended when the call returns.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "stopped-when-told",
    rule: "a container must have ended when the call that stopped it, or its sandbox, returns",
    source: "runtime.v1: StopContainer and StopPodSandbox; kubelet frees what the container held as soon as they return",
    severity: Severity::Breaking,
};

/// A runtime may note the end of a process a moment after it told of it, and clocks are read at different moments.
const NOTED_WITHIN: Duration = Duration::from_millis(500);
/// Containers that are kept in mind.
const MAX_CONTAINERS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Stopped {
    /// The sandbox of each container.
    sandboxes: BTreeMap<String, String>,
    /// When the calls returned that stopped these, since the epoch.
    stopped: BTreeMap<String, Duration>,
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
                    self.status(id, status, verdict);
                }
            }
            _ => {}
        }
    }
}

impl Stopped {
    fn status(&self, id: &str, status: &v1::ContainerStatus, verdict: &mut Verdict) {
        let sandbox = self.sandboxes.get(id).and_then(|sandbox| self.stopped.get(sandbox));
        let Some(stopped) = self.stopped.get(id).into_iter().chain(sandbox).min() else { return };
        let finished = u64::try_from(status.finished_at).map(Duration::from_nanos);
        if let Ok(finished) = finished
            && status.state() == v1::ContainerState::ContainerExited
        {
            let latest = *stopped + NOTED_WITHIN;
            let expected =
                format!("{} at most: then the call that stopped it had returned", latest.as_nanos());
            verdict.check(finished <= latest, "status.finished_at", expected, status.finished_at.to_string());
        }
    }
}
