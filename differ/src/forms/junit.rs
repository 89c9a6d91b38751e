//! A report for what shows tests: one suite per service, one case per method that was compared. A method fails where it has findings
//! that no baseline holds; one that only follows from a finding of another method fails as well, and says from which.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quick_junit::{
    NonSuccessKind, Property, Report as Junit, SerializeError, TestCase, TestCaseStatus, TestSuite,
};

use super::table::{call, limitation_line};
use super::text::{cut, known, plain, pretty, rpc, side, signature, times, until};
use crate::{Finding, Report};

/// Longest piece of a value in a failure's text.
const MAX_VALUE: usize = 2000;

/// The report as XML that readers of `JUnit`'s form take.
pub(super) fn render(report: &Report) -> Result<String, SerializeError> {
    let mut junit = Junit::new("critape");
    let mut services = services(report);
    let groups = report.grouped();
    // Where nothing was compared, a suite without cases tells at least why.
    if services.is_empty() && !report.preflight.is_empty() {
        services.insert("critape", BTreeMap::new());
    }
    for (service, methods) in services {
        let mut suite = TestSuite::new(service);
        suite.add_property(Property::new("recorded", side(&report.recorded)));
        suite.add_property(Property::new("live", side(&report.live)));
        for limitation in &report.preflight {
            let name = format!("preflight.{}", limitation.kind);
            suite.add_property(Property::new(name, squeezed(&limitation_line(limitation))));
        }
        for (method, compared) in methods {
            suite.add_test_case(case((report, &groups), service, method, compared));
        }
        junit.add_test_suite(suite);
    }
    junit.to_string()
}

/// A line without the blanks that put lines into columns.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The methods that were compared, by service, each with how often.
fn services(report: &Report) -> BTreeMap<&str, BTreeMap<&str, u64>> {
    let mut services: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    let counted = report.methods.iter().map(|it| (it.method.as_str(), it.compared));
    // A finding may be about more than one call, or about none that was compared.
    for (method, compared) in counted.chain(report.findings.iter().map(|it| (it.method.as_str(), 0))) {
        let service = method.trim_start_matches('/').rsplit_once('/').map_or("", |(service, _)| service);
        *services.entry(service).or_default().entry(method).or_default() += compared;
    }
    services
}

fn case(
    (report, groups): (&Report, &[Vec<(usize, &Finding)>]),
    service: &str,
    method: &str,
    compared: u64,
) -> TestCase {
    let of: Vec<&Finding> = report.findings.iter().filter(|finding| finding.method == method).collect();
    let (accepted, open): (Vec<&Finding>, Vec<&Finding>) =
        of.into_iter().partition(|it| it.accepted.is_some());
    let status = match open.first() {
        None => TestCaseStatus::success(),
        // Readers expect one failure a case: it is named after the worst finding and holds all of them.
        Some(worst) => {
            let more = if open.len() > 1 { format!(" (and {} more)", open.len() - 1) } else { String::new() };
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let cause = group_of(groups, worst).and_then(|group| cause(group, worst));
            let cause = cause.map(|first| format!(", as does {}", named(first))).unwrap_or_default();
            status.set_message(format!("{}{cause}{more}", plain(&worst.summary)));
            status.set_type(worst.severity.to_string());
            status.set_description(
                open.iter()
                    .map(|finding| described(finding, group_of(groups, finding)))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
            status
        }
    };
    let mut case = TestCase::new(plain(rpc(method)), status);
    case.set_classname(plain(service));
    let mut out = format!("{compared} calls compared\n");
    for finding in accepted {
        let Some(accepted) = &finding.accepted else { continue };
        // Writing to a string never fails.
        let _ = writeln!(
            out,
            "accepted: {} [{}]: {}{}",
            plain(&finding.summary),
            finding.id,
            plain(&accepted.note),
            until(accepted.expires.as_deref())
        );
    }
    case.set_system_out(out);
    case
}

/// The findings of the cause of this one, the first of them first.
fn group_of<'a, 'b>(
    groups: &'a [Vec<(usize, &'b Finding)>],
    finding: &Finding,
) -> Option<&'a [(usize, &'b Finding)]> {
    groups.iter().find(|group| group.iter().any(|(_, it)| it.id == finding.id)).map(Vec::as_slice)
}

/// The finding from which this one follows.
fn cause<'a>(group: &[(usize, &'a Finding)], finding: &Finding) -> Option<&'a Finding> {
    group.first().map(|(_, first)| *first).filter(|first| first.id != finding.id)
}

fn named(finding: &Finding) -> String {
    format!("{} {} [{}]", plain(rpc(&finding.method)), plain(&finding.path), finding.id)
}

fn described(finding: &Finding, group: Option<&[(usize, &Finding)]>) -> String {
    let mut lines = vec![
        format!("{} [{}] {}", finding.severity, finding.id, plain(&finding.summary)),
        format!("{}  {}", signature(finding), times(finding.count)),
    ];
    let group = group.unwrap_or_default();
    match cause(group, finding) {
        Some(first) => lines.push(format!("follows: {} has the same cause", named(first))),
        None => lines.extend(group.iter().skip(1).map(|(_, it)| format!("also: {}", named(it)))),
    }
    lines.extend(finding.consequence.as_deref().map(|consequence| format!("so: {}", plain(consequence))));
    lines.extend(finding.known.as_ref().map(|change| format!("known: {}", known(change))));
    if let Some(example) = finding.examples.first() {
        let value = |value| cut(&pretty(value), MAX_VALUE);
        lines.extend(Some(call(example)).filter(|call| !call.is_empty()));
        lines.push(format!("recorded: {}", value(&example.recorded)));
        lines.push(format!("live: {}", value(&example.live)));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_method_with_findings_fails_and_the_others_do_not() {
        let text = render(&sample::report()).unwrap();
        let junit = Junit::deserialize_from_str(&text).unwrap();
        let suites: Vec<_> = junit.test_suites.iter().map(|suite| suite.name.as_str().to_owned()).collect();
        assert_eq!(suites, ["runtime.v1.ImageService", "runtime.v1.RuntimeService"]);
        let runtime = &junit.test_suites[1];
        assert_eq!((runtime.tests, runtime.failures, runtime.errors), (2, 1, 0));
        let failed: Vec<_> = runtime
            .test_cases
            .iter()
            .filter(|case| !matches!(case.status, TestCaseStatus::Success { .. }))
            .map(|case| case.name.as_str().to_owned())
            .collect();
        assert_eq!(failed, ["StopContainer"]);
        assert!(text.contains("type=\"breaking\""), "{text}");
    }

    #[test]
    fn what_was_known_before_the_first_call_is_told_with_each_suite() {
        let told = |report: &Report| {
            let junit = Junit::deserialize_from_str(&render(report).unwrap()).unwrap();
            let suites = junit.test_suites.iter().map(|suite| {
                let properties = suite.properties.iter();
                properties
                    .filter(|it| it.name.as_str().starts_with("preflight."))
                    .map(|it| format!("{}: {}", it.name.as_str(), it.value.as_str()))
                    .collect::<Vec<_>>()
            });
            suites.collect::<Vec<_>>()
        };
        let mut report = sample::report();
        let both = [
            "preflight.image-missing: inconclusive 2 calls image-missing: quay.example/app is not here (first: call 7)",
            "preflight.registry: sent 2 calls registry: images are pulled from registry.example (first: call 7)",
        ];
        assert_eq!(told(&report), [both, both]);
        (report.methods, report.findings) = (Vec::new(), Vec::new());
        assert_eq!(told(&report), [both]);
        report.preflight.clear();
        assert_eq!(told(&report), Vec::<Vec<String>>::new());
    }

    /// Both methods fail, and each says that it is one cause.
    #[test]
    fn what_follows_from_a_finding_says_from_which() {
        let mut report = sample::grouped();
        let failure = |report: &Report, rpc: &str| {
            let junit = Junit::deserialize_from_str(&render(report).unwrap()).unwrap();
            let mut cases = junit.test_suites.iter().flat_map(|suite| &suite.test_cases);
            match &cases.find(|case| case.name.as_str() == rpc).unwrap().status {
                TestCaseStatus::NonSuccess { message, description, .. } => {
                    [message, description].map(|text| text.as_ref().unwrap().to_string())
                }
                _ => panic!("{rpc} does not fail"),
            }
        };
        let [cause, follower] = [0, 1].map(|at: usize| report.findings[at].id.clone());
        let [message, text] = failure(&report, "PullImage");
        assert!(message.ends_with(&format!(", as does StopContainer outcome.code [{cause}]")), "{message}");
        assert!(
            text.contains(&format!("\nfollows: StopContainer outcome.code [{cause}] has the same cause\n")),
            "{text}"
        );
        let [message, text] = failure(&report, "StopContainer");
        assert!(!message.contains("as does"), "{message}");
        assert!(text.contains(&format!("\nalso: PullImage outcome.code [{follower}]\n")), "{text}");
        report.findings[1].follows = None;
        assert!(!failure(&report, "PullImage").join("").contains(&cause));
        assert!(!failure(&report, "StopContainer").join("").contains(&follower));
    }

    #[test]
    fn what_a_baseline_holds_is_no_failure() {
        let text = render(&sample::accepted()).unwrap();
        let junit = Junit::deserialize_from_str(&text).unwrap();
        assert_eq!(junit.failures, 0);
        assert!(text.contains("our registry, until 2099-12-31"), "{text}");
    }

    #[test]
    fn values_do_not_break_the_xml() {
        let text = render(&sample::hostile()).unwrap();
        let junit = Junit::deserialize_from_str(&text).unwrap();
        assert_eq!(junit.failures, 1);
        assert!(!text.contains("<img") && !text.contains("]]>]]>") && !text.contains('\u{1b}'), "{text}");
    }
}
