//! What was asked for can be seen in the status: a runtime that ignores an option must not look as if it had heeded it.

use std::collections::BTreeMap;

use cri::v1;
use serde_json::json;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "options-visible",
    rule: "namespaces, mounts and resources that were asked for must be seen in the status",
    source: "runtime.v1: LinuxPodSandboxStatus.namespaces, ContainerStatus.mounts and resources; kubernetes#116707, containerd#9865",
    consequence: "what was asked for may not be in force, and kubelet, where it compares the two, goes on changing it",
    severity: Severity::Behaviour,
};

#[derive(Debug, Default)]
pub(super) struct Options {
    namespaces: BTreeMap<String, v1::NamespaceOption>,
    mounts: BTreeMap<String, Vec<v1::Mount>>,
    resources: BTreeMap<String, v1::LinuxContainerResources>,
}

impl Watch for Options {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::RunPodSandbox(asked, answer) => {
                if let Some(options) = namespaces(asked) {
                    self.namespaces.insert(answer.pod_sandbox_id.clone(), options.clone());
                }
            }
            Said::PodSandboxStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    self.sandbox(status, verdict);
                }
            }
            Said::CreateContainer(asked, answer) => {
                if let Some(config) = &asked.config {
                    self.mounts.insert(answer.container_id.clone(), config.mounts.clone());
                    let resources = config.linux.as_ref().and_then(|linux| linux.resources.clone());
                    resources.map(|it| self.resources.insert(answer.container_id.clone(), it));
                }
            }
            // Some fields may be left out of an update, which keep what they were.
            Said::UpdateContainerResources(asked) => drop(self.resources.remove(&asked.container_id)),
            Said::ContainerStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    self.container(status, verdict);
                }
            }
            Said::RemovePodSandbox(id) => drop(self.namespaces.remove(id)),
            Said::RemoveContainer(id) => {
                self.mounts.remove(id);
                self.resources.remove(id);
            }
            _ => {}
        }
    }
}

impl Options {
    fn sandbox(&self, status: &v1::PodSandboxStatus, verdict: &mut Verdict) {
        let Some(asked) = self.namespaces.get(&status.id) else { return };
        let told =
            status.linux.as_ref().and_then(|it| it.namespaces.as_ref()).and_then(|it| it.options.as_ref());
        let shown = |it: &v1::NamespaceOption| json!({ "network": it.network, "pid": it.pid, "ipc": it.ipc });
        let modes = |it: &v1::NamespaceOption| (it.network, it.pid, it.ipc);
        let holds = told.is_some_and(|told| modes(told) == modes(asked));
        let path = "status.linux.namespaces.options";
        verdict.check(holds, path, shown(asked), told.map(shown).unwrap_or_default());
        if let (Some(asked), Some(told)) = (&asked.userns_options, told) {
            let told = told.userns_options.as_ref();
            let shown = |it: &v1::UserNamespace| json!({ "mode": it.mode, "uids": it.uids.len() });
            let path = "status.linux.namespaces.options.userns_options";
            verdict.check(told == Some(asked), path, shown(asked), told.map(shown).unwrap_or_default());
        }
    }

    fn container(&self, status: &v1::ContainerStatus, verdict: &mut Verdict) {
        for asked in self.mounts.get(&status.id).into_iter().flatten() {
            let told = status.mounts.iter().find(|mount| mount.container_path == asked.container_path);
            let shown = |it: &v1::Mount| json!({ "container_path": it.container_path, "host_path": it.host_path, "readonly": it.readonly });
            let holds =
                told.is_some_and(|told| told.host_path == asked.host_path && told.readonly == asked.readonly);
            verdict.check(holds, "status.mounts[]", shown(asked), told.map(shown).unwrap_or_default());
        }
        let asked = self.resources.get(&status.id);
        // A runtime of CRI before 1.26 has no such field.
        let told = status.resources.as_ref().and_then(|it| it.linux.as_ref());
        let (Some(asked), Some(told)) = (asked, told) else { return };
        let fields = [
            ("cpu_period", asked.cpu_period, told.cpu_period),
            ("cpu_quota", asked.cpu_quota, told.cpu_quota),
            ("cpu_shares", asked.cpu_shares, told.cpu_shares),
            ("memory_limit_in_bytes", asked.memory_limit_in_bytes, told.memory_limit_in_bytes),
        ];
        for (field, asked, told) in fields.into_iter().filter(|(_, asked, _)| *asked != 0) {
            verdict.check(asked == told, &format!("status.resources.linux.{field}"), asked, told);
        }
    }
}

/// The namespaces that a sandbox is asked to have.
pub(super) fn namespaces(asked: &v1::RunPodSandboxRequest) -> Option<&v1::NamespaceOption> {
    asked.config.as_ref()?.linux.as_ref()?.security_context.as_ref()?.namespace_options.as_ref()
}
