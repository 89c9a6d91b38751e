//! Lists and statuses say the same of one object, and its state never goes back.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1;
use serde_json::Value;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "list-and-status-agree",
    rule: "a list and a status must say the same of one object, and its state must not go back",
    source: "kubelet's PLEG compares what lists say with what statuses said: kubernetes pkg/kubelet/pleg; cri-dockerd#168",
    severity: Severity::Breaking,
};

/// What is known of objects, by id.
#[derive(Debug, Default)]
pub(super) struct Agreement(BTreeMap<String, Known>);

/// What never changes, as first told, and the latest state.
#[derive(Debug)]
struct Known {
    facts: Vec<(&'static str, String)>,
    /// How far the object was in its life, and the end of the call that told it.
    state: (i32, Duration),
}

impl Watch for Agreement {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::PodSandboxStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    let name = sandbox_name(it.metadata.as_ref());
                    self.told(
                        seen,
                        "status",
                        &it.id,
                        vec![("metadata", name), created(it.created_at)],
                        it.state,
                        verdict,
                    );
                }
            }
            Said::ListPodSandbox(answer) => {
                for it in &answer.items {
                    let name = sandbox_name(it.metadata.as_ref());
                    self.told(
                        seen,
                        "items[]",
                        &it.id,
                        vec![("metadata", name), created(it.created_at)],
                        it.state,
                        verdict,
                    );
                }
            }
            Said::ContainerStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    let facts = vec![
                        ("metadata", container_name(it.metadata.as_ref())),
                        created(it.created_at),
                        image(&it.image_id),
                    ];
                    self.told(seen, "status", &it.id, facts, container_state(it.state()), verdict);
                }
            }
            Said::ListContainers(answer) => {
                for it in &answer.containers {
                    let facts = vec![
                        ("metadata", container_name(it.metadata.as_ref())),
                        created(it.created_at),
                        image(&it.image_id),
                    ];
                    self.told(seen, "containers[]", &it.id, facts, container_state(it.state()), verdict);
                }
            }
            Said::RemoveContainer(id) | Said::RemovePodSandbox(id) => drop(self.0.remove(id)),
            _ => {}
        }
    }
}

impl Agreement {
    fn told(
        &mut self,
        seen: &Observed<'_>,
        path: &str,
        id: &str,
        facts: Vec<(&'static str, String)>,
        state: i32,
        verdict: &mut Verdict,
    ) {
        let Some(known) = self.0.get_mut(id) else {
            self.0.insert(id.to_owned(), Known { facts, state: (state, seen.ended) });
            return;
        };
        for ((field, before), (_, now)) in known.facts.iter_mut().zip(facts) {
            // What a runtime does not tell is no contradiction.
            if before.is_empty() {
                *before = now;
            } else if !now.is_empty() {
                verdict.check(*before == now, &format!("{path}.{field}"), before.as_str(), now);
            }
        }
        // Only a call that began after another had ended is later than it.
        if known.state.1 <= seen.started && state >= 0 {
            let at_least = format!("no state before {}", known.state.0);
            verdict.check(state >= known.state.0, &format!("{path}.state"), at_least, Value::from(state));
        }
        if state > known.state.0 {
            known.state = (state, seen.ended);
        }
    }
}

/// How far a container is in its life; below zero where nobody knows.
fn container_state(state: v1::ContainerState) -> i32 {
    match state {
        v1::ContainerState::ContainerUnknown => -1,
        known => known as i32,
    }
}

fn created(at: i64) -> (&'static str, String) {
    ("created_at", if at == 0 { String::new() } else { at.to_string() })
}

fn image(id: &str) -> (&'static str, String) {
    ("image_id", id.to_owned())
}

fn sandbox_name(metadata: Option<&v1::PodSandboxMetadata>) -> String {
    metadata.map_or_else(String::new, |it| format!("{}/{} {} {}", it.namespace, it.name, it.uid, it.attempt))
}

fn container_name(metadata: Option<&v1::ContainerMetadata>) -> String {
    metadata.map_or_else(String::new, |it| format!("{} {}", it.name, it.attempt))
}
