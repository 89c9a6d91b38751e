//! Findings that have one cause: what a list, a status, an event and statistics say of an object is wrong in all of them.

use std::collections::HashMap;

use crate::{Example, Finding, Kind, Report};

/// Where answers have what they say of a container or a sandbox.
const OBJECTS: [(&str, &str); 12] = [
    ("ListContainers", "containers[]."),
    ("ContainerStatus", "status."),
    ("GetContainerEvents", "containers_statuses[]."),
    ("ListContainerStats", "stats[].attributes."),
    ("ContainerStats", "stats.attributes."),
    ("ListPodSandboxStats", "stats[].linux.containers[].attributes."),
    ("PodSandboxStats", "stats.linux.containers[].attributes."),
    ("ListPodSandbox", "items[]."),
    ("PodSandboxStatus", "status."),
    ("GetContainerEvents", "pod_sandbox_status."),
    ("ListPodSandboxStats", "stats[].attributes."),
    ("PodSandboxStats", "stats.attributes."),
];
/// How many of these are about containers.
const OF_CONTAINERS: usize = 7;

/// What a finding is about, whichever answer it stands in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cause<'a> {
    of_container: bool,
    field: &'a str,
    kind: Kind,
    transition: Option<&'a str>,
}

impl<'a> Cause<'a> {
    fn of(finding: &'a Finding) -> Option<Self> {
        let rpc = finding.method.rsplit('/').next().unwrap_or_default();
        let place = OBJECTS.iter().enumerate().find_map(|(place, (method, prefix))| {
            let field = finding.path.strip_prefix(prefix).filter(|_| *method == rpc);
            field.map(|field| (place < OF_CONTAINERS, field))
        });
        let (of_container, field) = place?;
        let transition = finding.transition.as_deref();
        Some(Self { of_container, field, kind: finding.kind, transition })
    }
}

/// Notes in each finding that says the same as one before it which that is: the same field of the same kind of object, and
/// nothing seen in it that was not seen there. What follows from a call that failed has that noted already; it stays where that
/// stands before it.
pub(crate) fn note(findings: &mut [Finding]) {
    let mut first: HashMap<Cause<'_>, Vec<usize>> = HashMap::new();
    // The finding from which each follows that does.
    let mut follows: Vec<Option<usize>> = Vec::new();
    for (at, finding) in findings.iter().enumerate() {
        let named = finding.follows.as_ref().and_then(|id| findings[..at].iter().position(|it| it.id == *id));
        let same = Cause::of(finding).and_then(|cause| {
            let leaders = first.entry(cause).or_default();
            let leader = leaders.iter().copied().find(|leader| says_no_more(finding, &findings[*leader]));
            if leader.is_none() {
                leaders.push(at);
            }
            leader
        });
        let leader = named.or(same);
        // Those that follow from one have one cause, which follows from nothing.
        follows.push(leader.map(|leader| follows[leader].unwrap_or(leader)));
    }
    let ids: Vec<Option<String>> =
        follows.iter().map(|leader| leader.map(|leader| findings[leader].id.clone())).collect();
    for (finding, id) in findings.iter_mut().zip(ids) {
        finding.follows = id;
    }
}

/// Whether all values of a finding are among those of another.
fn says_no_more(finding: &Finding, other: &Finding) -> bool {
    let is_seen = |example: &Example| {
        other.spread.seen.iter().any(|it| it.recorded == example.recorded && it.live == example.live)
    };
    finding.examples.iter().all(is_seen)
}

impl Report {
    /// The findings that are shown on their own, each with those that follow from it, with their places in the report, from 0.
    /// Accepted ones are left out; what follows from one of these stands on its own.
    pub(crate) fn grouped(&self) -> Vec<Vec<(usize, &Finding)>> {
        let mut groups: Vec<Vec<(usize, &Finding)>> = Vec::new();
        for (at, finding) in self.findings.iter().enumerate().filter(|(_, it)| it.accepted.is_none()) {
            let leader =
                finding.follows.as_ref().and_then(|id| groups.iter_mut().find(|group| group[0].1.id == *id));
            match leader {
                Some(group) => group.push((at, finding)),
                None => groups.push(vec![(at, finding)]),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        Accepted, Divergence, Finding, Findings, Ids, Kind, Path, Report, Rules, Severity, SideInfo,
    };

    const SERVICE: &str = "/runtime.v1.RuntimeService";

    fn report(of: &[(&str, &str, i64)]) -> Report {
        let mut findings = Findings::default();
        for (rpc, path, live) in of {
            let divergence = Divergence {
                path: Path::of(&path.split('.').collect::<Vec<_>>()),
                kind: Kind::Value,
                transition: None,
                recorded: json!(0),
                live: json!(live),
                rule: "exact".into(),
                severity: Severity::Behaviour,
                settles: false,
                about: None,
            };
            findings.add_divergence(&format!("{SERVICE}/{rpc}"), &Ids::default(), divergence);
        }
        findings.into_report(SideInfo::default(), SideInfo::default(), &Rules::standard(), 0.01)
    }

    fn of<'a>(report: &'a Report, rpc: &str) -> &'a Finding {
        report.findings.iter().find(|it| it.method.ends_with(rpc)).unwrap()
    }

    #[test]
    fn what_a_status_and_a_list_say_alike_is_one_cause() {
        let alike = [
            ("ContainerStatus", "status.exit_code", 1),
            ("GetContainerEvents", "containers_statuses[].exit_code", 1),
            ("PodSandboxStatus", "status.exit_code", 1),
            ("GetContainerEvents", "pod_sandbox_status.x", 1),
            ("ListPodSandbox", "items[].x", 1),
        ];
        let report = report(&alike);
        let groups: Vec<usize> = report.grouped().iter().map(Vec::len).collect();
        assert_eq!(groups.iter().sum::<usize>(), 5);
        assert_eq!(groups.iter().filter(|count| **count == 2).count(), 2, "a pod's is another");
        let first = of(&report, "ContainerStatus");
        assert_eq!(of(&report, "GetContainerEvents").follows.as_ref(), Some(&first.id));
    }

    #[test]
    fn other_values_and_other_fields_are_other_causes() {
        let status = ("ContainerStatus", "status.exit_code", 1);
        for other in [
            ("ListContainers", "containers[].exit_code", 2),
            ("ListContainers", "containers[].state", 1),
            ("ListContainers", "exit_code", 1),
        ] {
            assert!(report(&[status, other]).findings.iter().all(|it| it.follows.is_none()), "{other:?}");
        }
    }

    #[test]
    fn what_follows_from_an_accepted_one_stands_on_its_own() {
        let mut report =
            report(&[("ContainerStatus", "status.image", 1), ("ListContainers", "containers[].image", 1)]);
        assert_eq!(report.grouped().len(), 1);
        report.findings[0].accepted = Some(Accepted { note: "x".into(), expires: None });
        assert_eq!(report.grouped().len(), 1);
        assert_eq!(report.grouped()[0][0].0, 1);
    }
}
