//! Causes before consequences: which calls changed an object on one side alone, and what was found of that object after them.

use std::collections::{BTreeSet, HashMap};

use cri::Class;

use crate::{Divergence, Finding, Kind, Subject, Witness};

/// Calls that run something in a container or connect to it: no later answer is another because of them.
const CHANGES_NOTHING: [&str; 5] = ["ExecSync", "Exec", "Attach", "PortForward", "ReopenContainerLog"];

/// The recorded ids and references that a call is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// All that it names or makes.
    pub named: BTreeSet<String>,
    /// Those that are otherwise after it.
    pub changed: BTreeSet<String>,
}

impl Objects {
    /// Of what is found of one thing alone, which it does not change.
    pub(crate) fn only(about: &Subject) -> Self {
        Self { named: BTreeSet::from([about.id.clone()]), changed: BTreeSet::new() }
    }
}

/// Where a finding was met first.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The number of the recorded call; of a stream, one after all others, for it goes on until the end.
    call: u64,
    objects: Objects,
    /// Whether the answer is about whatever there is.
    is_of_all: bool,
}

impl Origin {
    pub(crate) fn of(method: &str, witness: &dyn Witness, mut objects: Objects) -> Self {
        let rpc = rpc(method);
        let is_stream = rpc == "GetContainerEvents";
        let call = witness.recorded().map_or(u64::MAX, |call| call.0);
        if !changes(method) {
            objects.changed.clear();
        }
        let is_of_all = is_stream || rpc.starts_with("List") && witness.objects().named.is_empty();
        Self { call: if is_stream { u64::MAX } else { call }, objects, is_of_all }
    }

    /// Whether what was found here may be because of what was found there.
    fn may_follow(&self, cause: &Self) -> bool {
        cause.call < self.call
            && !cause.objects.changed.is_empty()
            && (self.is_of_all || !self.objects.named.is_disjoint(&cause.objects.changed))
    }
}

/// What one finding has been a consequence of, each time that it was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cause {
    #[default]
    NotMet,
    /// Of the finding of this id.
    Of(String),
    None,
}

/// Calls that changed an object on one side and failed on the other, by object: the id of the finding of the first of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Causes(HashMap<String, String>);

impl Causes {
    /// Takes note of what was found of a call, which is the finding of this id.
    pub(crate) fn note(
        &mut self,
        id: &str,
        method: &str,
        divergence: &Divergence,
        objects: impl FnOnce() -> Objects,
    ) {
        if divergence.kind != Kind::Outcome || !changes(method) || !has_failed_once(divergence) {
            return;
        }
        for object in objects().changed {
            self.0.entry(object).or_insert_with(|| id.to_owned());
        }
    }

    /// Takes note that a finding of this id was met once more.
    pub(crate) fn met(&self, id: &str, cause: &mut Cause, objects: impl FnOnce() -> Objects) {
        if self.0.is_empty() {
            *cause = Cause::None;
        }
        if *cause == Cause::None {
            return;
        }
        let named = objects().named;
        let found = named.iter().find_map(|object| self.0.get(object)).filter(|found| *found != id);
        *cause = match (std::mem::take(cause), found) {
            (Cause::NotMet, Some(found)) => Cause::Of(found.clone()),
            (Cause::Of(known), Some(found)) if known == *found => Cause::Of(known),
            _ => Cause::None,
        };
    }
}

/// Puts findings that stand in the order of their weight so that none stands before one as severe that may be its cause.
pub(crate) fn first(findings: &mut [(Finding, Origin)]) {
    let mut rest = findings;
    while let Some(severity) = rest.first().map(|(finding, _)| finding.severity) {
        let end = rest.iter().position(|(it, _)| it.severity != severity).unwrap_or(rest.len());
        let (alike, others) = rest.split_at_mut(end);
        first_among(alike);
        rest = others;
    }
}

fn first_among(alike: &mut [(Finding, Origin)]) {
    let changes = |(_, origin): &&(Finding, Origin)| !origin.objects.changed.is_empty();
    let mut causes: Vec<(u64, String)> =
        alike.iter().filter(changes).map(|(finding, origin)| (origin.call, finding.id.clone())).collect();
    // The first call comes last, and so to stand before all others.
    causes.sort_by(|a, b| b.cmp(a));
    for (_, id) in causes {
        let Some(at) = alike.iter().position(|(finding, _)| finding.id == id) else { continue };
        let follows = |(finding, origin): &(Finding, Origin)| {
            finding.rule != "runtime-gone" && origin.may_follow(&alike[at].1)
        };
        if let Some(to) = alike[..at].iter().position(follows) {
            alike[to..=at].rotate_right(1);
        }
    }
}

/// Whether the call went well on one side alone.
fn has_failed_once(divergence: &Divergence) -> bool {
    let ends = divergence.transition.as_deref().and_then(|it| it.split_once('→'));
    ends.is_some_and(|(before, now)| (before == "OK") != (now == "OK"))
}

fn changes(method: &str) -> bool {
    let is_change = cri::methods().by_path(method).is_some_and(|method| method.class != Class::ReadOnly);
    is_change && !CHANGES_NOTHING.contains(&rpc(method))
}

fn rpc(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use critape_calls::CallId;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Findings, Path, Report, Rules, Severity, SideInfo};

    /// A call of this number about this object.
    struct About(u64, &'static str);

    impl Witness for About {
        fn recorded(&self) -> Option<CallId> {
            Some(CallId(self.0))
        }

        fn objects(&self) -> Objects {
            let named: BTreeSet<String> =
                [self.1].into_iter().filter(|id| !id.is_empty()).map(str::to_owned).collect();
            Objects { changed: named.clone(), named }
        }

        fn seal(&self, _: &Path, _: &mut Value, _: &mut Value) {}
    }

    /// What was found, each as RPC, path, object and the numbers of the calls.
    fn report(found: &[(&str, &str, &'static str, &[u64])]) -> Report {
        let mut findings = Findings::default();
        let mut all: Vec<_> = found.iter().flat_map(|it| it.3.iter().map(move |call| (*call, it))).collect();
        all.sort_by_key(|(call, _)| *call);
        for (call, (rpc, path, object, _)) in all {
            let is_outcome = path.starts_with("outcome");
            let divergence = Divergence {
                path: Path::of(&path.split('.').collect::<Vec<_>>()),
                kind: if is_outcome { Kind::Outcome } else { Kind::Value },
                transition: is_outcome.then(|| "OK→DEADLINE_EXCEEDED".to_owned()),
                recorded: json!(0),
                live: json!(1),
                rule: "exact".into(),
                severity: Severity::Breaking,
                settles: false,
                about: None,
            };
            findings.add_divergence(
                &format!("/runtime.v1.RuntimeService/{rpc}"),
                &About(call, object),
                divergence,
            );
        }
        findings.into_report(SideInfo::default(), SideInfo::default(), &Rules::standard(), 0.01)
    }

    /// The paths of the findings in their order, each with that of the one from which it follows.
    fn told(report: &Report) -> Vec<(&str, Option<&str>)> {
        let path = |id: &String| report.findings.iter().find(|it| it.id == *id).map(|it| it.path.as_str());
        report.findings.iter().map(|it| (it.path.as_str(), it.follows.as_ref().and_then(path))).collect()
    }

    #[test]
    fn what_is_found_of_an_object_after_a_call_that_failed_follows_from_it() {
        let stop: (&str, &str, &str, &[u64]) = ("StopContainer", "outcome.code", "c", &[5]);
        let told_of = |state: (&'static str, &[u64])| {
            let state: (&str, &str, &'static str, &[u64]) =
                ("ContainerStatus", "status.state", state.0, state.1);
            told(&report(&[stop, state]))
                .into_iter()
                .map(|(a, b)| (a.to_owned(), b.map(str::to_owned)))
                .collect::<Vec<_>>()
        };
        let alone = |path: &str| (path.to_owned(), None);
        let state = "status.state".to_owned();
        assert_eq!(
            told_of(("c", &[7, 9])),
            [alone("outcome.code"), (state, Some("outcome.code".to_owned()))]
        );
        assert_eq!(told_of(("d", &[7, 9])), [alone("status.state"), alone("outcome.code")], "of another");
        assert_eq!(
            told_of(("c", &[3, 9])),
            [alone("status.state"), alone("outcome.code")],
            "before it as well"
        );
    }

    #[test]
    fn lists_and_streams_stand_behind_what_may_be_their_cause() {
        let found = report(&[
            ("RunPodSandbox", "pod_sandbox_id", "p", &[4]),
            ("CreateContainer", "container_id", "p", &[6]),
            ("GetContainerEvents", "events", "", &[1, 2]),
            ("ListContainers", "containers[]", "", &[8, 9]),
            ("ListPodSandbox", "items[]", "", &[3, 7, 9]),
        ]);
        let order: Vec<&str> = found.findings.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(order, ["items[]", "pod_sandbox_id", "container_id", "containers[]", "events"]);
        assert!(found.findings.iter().all(|it| it.follows.is_none()), "neither failed");
    }
}
