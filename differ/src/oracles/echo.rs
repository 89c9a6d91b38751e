//! Names, labels and annotations come back as they were given.

use std::collections::{BTreeMap, BTreeSet};

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "labels-and-annotations-echoed",
    rule: "labels, annotations and log paths must come back as they were given",
    source: "runtime.v1: labels and annotations of PodSandboxConfig and ContainerConfig must not be altered by the runtime",
    consequence: "kubelet tells by these which pod and container it is, and where its logs are: it restarts what runs, or finds no logs",
    severity: Severity::Breaking,
};

type Map = BTreeMap<String, String>;

/// What was asked for, by the id of what was made.
#[derive(Debug, Default)]
pub(super) struct Echo {
    given: BTreeMap<String, Given>,
    log_folders: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Given {
    labels: Map,
    annotations: Map,
    log_path: String,
}

impl Watch for Echo {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::RunPodSandbox(asked, answer) => {
                if let Some(config) = &asked.config {
                    let id = answer.pod_sandbox_id.clone();
                    self.log_folders.insert(id.clone(), config.log_directory.clone());
                    self.keep(id, &config.labels, &config.annotations, String::new());
                }
            }
            Said::CreateContainer(asked, answer) => {
                if let Some(config) = &asked.config {
                    let folder = self.log_folders.get(&asked.pod_sandbox_id).map(String::as_str);
                    let log_path = log_path(folder.unwrap_or_default(), &config.log_path);
                    self.keep(answer.container_id.clone(), &config.labels, &config.annotations, log_path);
                }
            }
            Said::PodSandboxStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    self.check("status", &it.id, &it.labels, &it.annotations, verdict);
                }
            }
            Said::ListPodSandbox(answer) => {
                answer
                    .items
                    .iter()
                    .for_each(|it| self.check("items[]", &it.id, &it.labels, &it.annotations, verdict));
            }
            Said::ContainerStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    self.check("status", &it.id, &it.labels, &it.annotations, verdict);
                    let given = self.given.get(&it.id).filter(|given| !given.log_path.is_empty());
                    if let Some(given) = given {
                        let holds = given.log_path == it.log_path;
                        verdict.check(
                            holds,
                            "status.log_path",
                            given.log_path.as_str(),
                            it.log_path.as_str(),
                        );
                    }
                }
            }
            Said::ListContainers(answer) => {
                for it in &answer.containers {
                    self.check("containers[]", &it.id, &it.labels, &it.annotations, verdict);
                }
            }
            Said::RemoveContainer(id) | Said::RemovePodSandbox(id) => {
                self.given.remove(id);
                self.log_folders.remove(id);
            }
            _ => {}
        }
    }

    /// It was given as it is, whatever else takes time.
    fn passing(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        self.answered(seen, verdict);
    }
}

impl Echo {
    fn keep(&mut self, id: String, labels: &Map, annotations: &Map, log_path: String) {
        let (labels, annotations) = (labels.clone(), annotations.clone());
        self.given.insert(id, Given { labels, annotations, log_path });
    }

    fn check(&self, path: &str, id: &str, labels: &Map, annotations: &Map, verdict: &mut Verdict) {
        let Some(given) = self.given.get(id) else { return };
        verdict.of(id);
        let both = [("labels", &given.labels, labels), ("annotations", &given.annotations, annotations)];
        for (field, given, told) in both {
            for key in given.keys().chain(told.keys()).collect::<BTreeSet<_>>() {
                verdict.check_entry(&format!("{path}.{field}"), key, given.get(key), told.get(key));
            }
        }
    }
}

/// The whole path of a log, where there is one.
fn log_path(folder: &str, name: &str) -> String {
    if folder.is_empty() || name.is_empty() {
        return String::new();
    }
    format!("{}/{name}", folder.trim_end_matches('/'))
}
