//! Lists and statuses say the same of one object, and its state never goes back.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1;

use super::exchange::{Observed, Said};
use super::{Against, Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "list-and-status-agree",
    rule: "a list and a status must say the same of one object, as it was made, and its state must not go back",
    source: "kubelet's PLEG compares what lists say with what statuses said: kubernetes pkg/kubelet/pleg; cri-dockerd#168",
    consequence: "kubelet takes what it lists for what is: it looks again at pods that have not changed, and not at those that have",
    severity: Severity::Breaking,
};

/// A runtime may round its times to seconds, and clocks are read at different moments.
const MADE_WITHIN: Duration = Duration::from_secs(2);

/// What is known of objects, by id.
#[derive(Debug, Default)]
pub(super) struct Agreement(BTreeMap<String, Known>);

/// An RPC, and where in its answer the object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Teller {
    rpc: &'static str,
    path: &'static str,
}

const SANDBOX: Teller = Teller { rpc: "PodSandboxStatus", path: "status" };
const SANDBOXES: Teller = Teller { rpc: "ListPodSandbox", path: "items[]" };
const CONTAINER: Teller = Teller { rpc: "ContainerStatus", path: "status" };
const CONTAINERS: Teller = Teller { rpc: "ListContainers", path: "containers[]" };

/// What never changes, as first told, and the latest state.
#[derive(Debug, Default)]
struct Known {
    /// What the request that made it called it.
    name: Option<String>,
    /// When it was made, at the earliest and the latest.
    made: Option<(Duration, Duration)>,
    facts: BTreeMap<&'static str, (String, Teller)>,
    /// How far the object was in its life, the end of the call that told it, and which that was.
    state: Option<(i32, Duration, Teller)>,
}

/// What one answer says of an object; text that is empty it does not say.
struct Told<'a> {
    by: Teller,
    id: &'a str,
    name: String,
    created_at: i64,
    image_id: &'a str,
    /// Below zero where nobody knows.
    state: i32,
}

impl Watch for Agreement {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::RunPodSandbox(asked, made) => {
                let metadata = asked.config.as_ref().and_then(|config| config.metadata.as_ref());
                self.made(seen, ("pod_sandbox_id", &made.pod_sandbox_id), sandbox_name(metadata), verdict);
            }
            Said::CreateContainer(asked, made) => {
                let metadata = asked.config.as_ref().and_then(|config| config.metadata.as_ref());
                self.made(seen, ("container_id", &made.container_id), container_name(metadata), verdict);
            }
            Said::PodSandboxStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    let (name, state) = (sandbox_name(it.metadata.as_ref()), it.state);
                    let (id, created_at) = (&it.id, it.created_at);
                    self.told(
                        seen,
                        &Told { by: SANDBOX, id, name, created_at, image_id: "", state },
                        verdict,
                    );
                }
            }
            Said::ListPodSandbox(answer) => {
                for it in &answer.items {
                    let (name, state) = (sandbox_name(it.metadata.as_ref()), it.state);
                    let (id, created_at) = (&it.id, it.created_at);
                    self.told(
                        seen,
                        &Told { by: SANDBOXES, id, name, created_at, image_id: "", state },
                        verdict,
                    );
                }
            }
            Said::ContainerStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    let (name, state) = (container_name(it.metadata.as_ref()), container_state(it.state()));
                    let (id, created_at, image_id) = (&it.id, it.created_at, &it.image_id);
                    self.told(seen, &Told { by: CONTAINER, id, name, created_at, image_id, state }, verdict);
                }
            }
            Said::ListContainers(answer) => {
                for it in &answer.containers {
                    let (name, state) = (container_name(it.metadata.as_ref()), container_state(it.state()));
                    let (id, created_at, image_id) = (&it.id, it.created_at, &it.image_id);
                    self.told(seen, &Told { by: CONTAINERS, id, name, created_at, image_id, state }, verdict);
                }
            }
            Said::RemoveContainer(id) | Said::RemovePodSandbox(id) => drop(self.0.remove(id)),
            _ => {}
        }
    }
}

impl Agreement {
    /// It was made by this call: what its answers say can be held against that, so that the one is blamed that is wrong.
    fn made(&mut self, seen: &Observed<'_>, (path, id): (&str, &str), name: String, verdict: &mut Verdict) {
        let known = self.0.entry(id.to_owned()).or_default();
        verdict.check(known.made.is_none(), path, "an id that nothing else has", id);
        known.name = Some(name).filter(|name| !name.is_empty());
        known.made = Some((seen.started.saturating_sub(MADE_WITHIN), seen.ended + MADE_WITHIN));
    }

    fn told(&mut self, seen: &Observed<'_>, told: &Told<'_>, verdict: &mut Verdict) {
        let known = self.0.entry(told.id.to_owned()).or_default();
        let by = told.by;
        verdict.of(told.id);
        if let Some(name) = known.name.as_ref().filter(|_| !told.name.is_empty()) {
            verdict.check(told.name == *name, &by.at("metadata"), name.as_str(), told.name.as_str());
        } else {
            known.fact(by, "metadata", told.name.clone(), verdict);
        }
        let created = if told.created_at == 0 { String::new() } else { told.created_at.to_string() };
        let at = u64::try_from(told.created_at).map(Duration::from_nanos);
        match known.made.zip(at.ok()).filter(|_| !created.is_empty()) {
            Some(((from, to), at)) if !(from..=to).contains(&at) => {
                let expected = format!("from {} to {}: then it was made", from.as_nanos(), to.as_nanos());
                verdict.check(false, &by.at("created_at"), expected, created);
            }
            _ => known.fact(by, "created_at", created, verdict),
        }
        known.fact(by, "image_id", told.image_id.to_owned(), verdict);
        known.reached(seen, by, told.state, verdict);
    }
}

impl Known {
    /// What never changes. What a runtime does not tell is no contradiction.
    fn fact(&mut self, by: Teller, field: &'static str, now: String, verdict: &mut Verdict) {
        if now.is_empty() {
            return;
        }
        match self.facts.get(field) {
            Some((before, first)) => {
                let expected = format!("{before}, as {} says", first.rpc);
                verdict.agree(*before == now, &by.at(field), expected, now, first.against(field));
            }
            None => drop(self.facts.insert(field, (now, by))),
        }
    }

    fn reached(&mut self, seen: &Observed<'_>, by: Teller, state: i32, verdict: &mut Verdict) {
        let Some((before, since, first)) = self.state else {
            self.state = Some((state, seen.ended, by));
            return;
        };
        // Only a call that began after another had ended is later than it.
        if since <= seen.started && state >= 0 {
            let expected = format!("no state before {before}, which {} told", first.rpc);
            verdict.agree(state >= before, &by.at("state"), expected, state, first.against("state"));
        }
        if state > before {
            self.state = Some((state, seen.ended, by));
        }
    }
}

impl Teller {
    fn at(self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    /// The place of what it said, where that is another than the one that is looked at.
    fn against(self, field: &str) -> Against {
        Against { rpc: self.rpc, path: self.at(field) }
    }
}

/// How far a container is in its life; below zero where nobody knows.
fn container_state(state: v1::ContainerState) -> i32 {
    match state {
        v1::ContainerState::ContainerUnknown => -1,
        known => known as i32,
    }
}

fn sandbox_name(metadata: Option<&v1::PodSandboxMetadata>) -> String {
    metadata.map_or_else(String::new, |it| format!("{}/{} {} {}", it.namespace, it.name, it.uid, it.attempt))
}

fn container_name(metadata: Option<&v1::ContainerMetadata>) -> String {
    metadata.map_or_else(String::new, |it| format!("{} {}", it.name, it.attempt))
}
