//! What was told of a start, an end or an address stays as it was told.

use std::collections::HashMap;

use cri::v1;
use foldhash::quality::RandomState;

use super::exchange::{EventStream, Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;
use crate::comparing::lateness::TOLD_LATER;

pub(super) const ORACLE: Oracle = Oracle {
    name: "told-once-for-all",
    rule: "when a container started and ended, how it ended and of what image it is must not change once it was told, \
           nor the address of a sandbox while it is ready",
    source: "runtime.v1: ContainerStatus and PodSandboxNetworkStatus; kubelet counts restarts and back-off by these times and tells the \
             address to the whole cluster: kubernetes pkg/kubelet/kuberuntime",
    consequence: "kubelet takes it for another container, or another end: it restarts, or reports, what did not happen",
    severity: Severity::Breaking,
};

/// Objects that are kept in mind.
const MAX_OBJECTS: usize = 100_000;
#[derive(Debug, Default)]
pub(super) struct Steady {
    containers: HashMap<String, Life, RandomState>,
    /// The address of each sandbox that is ready.
    addresses: HashMap<String, String, RandomState>,
}

/// What was first told of a container: what is 0 or empty has not been told.
#[derive(Debug, Default)]
struct Life {
    started_at: i64,
    end: Option<End>,
    /// As its status names it, and as a list does: they need not be the same.
    images: [String; 2],
}

#[derive(Debug)]
struct End {
    finished_at: i64,
    exit_code: i32,
    reason: String,
}

impl Watch for Steady {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::ContainerStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    self.container(status, "status", verdict);
                }
            }
            Said::ListContainers(answer) => {
                for it in &answer.containers {
                    if let Some(life) = self.life(&it.id) {
                        verdict.of(&it.id);
                        text(&mut life.images[1], &it.image_ref, "containers[].image_ref", verdict);
                    }
                }
            }
            Said::PodSandboxStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    self.sandbox(status, "status", verdict);
                }
            }
            Said::RemoveContainer(id) => drop(self.containers.remove(id)),
            Said::RemovePodSandbox(id) => drop(self.addresses.remove(id)),
            _ => {}
        }
    }

    fn events(&mut self, stream: &EventStream, verdict: &mut Verdict) {
        for event in &stream.events {
            verdict.in_event_of(&event.container_id);
            for status in &event.containers_statuses {
                verdict.of(&status.id);
                self.container(status, "containers_statuses[]", verdict);
            }
        }
    }
}

impl Steady {
    fn life(&mut self, id: &str) -> Option<&mut Life> {
        if !self.containers.contains_key(id) && self.containers.len() < MAX_OBJECTS {
            self.containers.insert(id.to_owned(), Life::default());
        }
        self.containers.get_mut(id)
    }

    fn container(&mut self, status: &v1::ContainerStatus, path: &str, verdict: &mut Verdict) {
        let Some(life) = self.life(&status.id) else { return };
        number(&mut life.started_at, status.started_at, || format!("{path}.started_at"), verdict);
        if path == "status" {
            text(&mut life.images[0], &status.image_ref, "status.image_ref", verdict);
        }
        if status.state() != v1::ContainerState::ContainerExited {
            return;
        }
        let end = life.end.get_or_insert_with(|| End {
            finished_at: status.finished_at,
            exit_code: status.exit_code,
            reason: status.reason.clone(),
        });
        number(&mut end.finished_at, status.finished_at, || format!("{path}.finished_at"), verdict);
        let code = (end.exit_code, status.exit_code);
        if code.0 == code.1 {
            verdict.held();
        } else {
            verdict.check(false, &format!("{path}.exit_code"), code.0, code.1);
        }
        if status.reason == TOLD_LATER {
            TOLD_LATER.clone_into(&mut end.reason);
        }
        text(&mut end.reason, &status.reason, &format!("{path}.reason"), verdict);
    }

    fn sandbox(&mut self, status: &v1::PodSandboxStatus, path: &str, verdict: &mut Verdict) {
        let Some(ip) = status.network.as_ref().map(|network| &network.ip).filter(|ip| !ip.is_empty()) else {
            return;
        };
        let is_known = self.addresses.contains_key(&status.id);
        if status.state() == v1::PodSandboxState::SandboxReady
            && (is_known || self.addresses.len() < MAX_OBJECTS)
        {
            let known = self.addresses.entry(status.id.clone()).or_default();
            text(known, ip, &format!("{path}.network.ip"), verdict);
        }
    }
}

fn number(known: &mut i64, told: i64, path: impl FnOnce() -> String, verdict: &mut Verdict) {
    if *known == 0 || *known == told {
        *known = told;
        return verdict.held();
    }
    if told != 0 {
        verdict.check(false, &path(), format!("{known}, as was told before"), told.to_string());
    }
}

fn text(known: &mut String, told: &str, path: &str, verdict: &mut Verdict) {
    if known.is_empty() || known == told {
        if known.is_empty() {
            told.clone_into(known);
        }
        return verdict.held();
    }
    if !told.is_empty() {
        verdict.check(false, path, format!("{known}, as was told before"), told);
    }
}
