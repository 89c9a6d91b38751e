//! What a comparison comes to: findings, counts, a verdict. Its JSON is a contract.

use std::collections::{BTreeMap, BTreeSet};

use critape_calls::{CallId, time_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::baseline::{Accepted, BaselineUse};
use crate::comparer::Compared;
use crate::evidence::{Evidence, MAX_HELD, MAX_REPORT_EVIDENCE, Timeline, Witness};
use crate::examples;
use crate::known::{Catalogue, Known};
use crate::summary::summary;
use crate::{Divergence, Kind, Path, Rules, Severity, Signature};

/// What it all comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No divergence.
    Same,
    /// At least one finding.
    Different,
    /// No finding, but too much could not be compared.
    Inconclusive,
}

/// One of the two runtimes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideInfo {
    /// Its name, as `containerd`.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// The CRI package it was spoken to in.
    pub generation: String,
    /// The tape, where it was read from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tape: Option<String>,
    /// The socket, where it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCounts {
    /// Calls on the tape.
    pub recorded: u64,
    /// Calls sent to the live runtime.
    pub sent: u64,
    /// Calls whose answers were compared.
    pub compared: u64,
    /// Calls that nothing can be said about.
    pub inconclusive: u64,
    /// Calls left out on purpose.
    pub skipped: u64,
    /// Reads that had to be asked more than once.
    pub settled: u64,
}

/// Differences that rules let pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// How many.
    pub count: u64,
    /// By which rule.
    pub rules: Vec<RuleCount>,
}

/// How much one rule let pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The rule.
    pub rule: String,
    /// How many differences.
    pub count: u64,
}

/// One occurrence of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The recorded call.
    pub recorded_call: Option<u64>,
    /// The call on the second tape; null in a replay.
    pub live_call: Option<u64>,
    /// The recorded value.
    pub recorded: Value,
    /// The live value.
    pub live: Value,
    /// When the recorded call began, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Divergences of one signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The same from run to run.
    pub id: String,
    /// Request path.
    pub method: String,
    /// Where in the answer.
    pub path: String,
    /// What differs.
    pub kind: Kind,
    /// From what to what.
    pub transition: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What a kubelet would do about it, where the rules know.
    #[serde(default)]
    pub consequence: Option<String>,
    /// The known change it is, if it is one.
    pub known: Option<Known>,
    /// How often.
    pub count: u64,
    /// One sentence.
    pub summary: String,
    /// The rule that was broken.
    pub rule: String,
    /// What the rule says.
    #[serde(default)]
    pub rule_text: Option<RuleText>,
    /// What a baseline says about it, where it holds.
    #[serde(default)]
    pub accepted: Option<Accepted>,
    /// Some occurrences, different ones first.
    pub examples: Vec<Example>,
    /// The first of them in full, as far as there is room.
    #[serde(default)]
    pub evidence: Option<Evidence>,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    /// Why it is as it is.
    pub reason: String,
    /// Where that is known from; empty where nobody said.
    pub source: String,
}

/// Calls that nothing can be said about, by reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// Why.
    pub reason: String,
    /// How many calls.
    pub count: u64,
    /// The first of them.
    pub first_call: u64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub version: u32,
    /// What it comes to.
    pub verdict: Verdict,
    /// The recorded side.
    pub recorded: SideInfo,
    /// The live side.
    pub live: SideInfo,
    /// What became of the calls.
    pub calls: CallCounts,
    /// What rules let pass.
    pub suppressed: Suppressed,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// Why calls stayed inconclusive.
    #[serde(default)]
    pub inconclusive: Vec<ReasonCount>,
    /// Why calls were left out.
    #[serde(default)]
    pub skipped: Vec<ReasonCount>,
    /// Findings whose evidence there was no room for.
    #[serde(default)]
    pub evidence_left_out: u64,
    /// The recorded calls over time, where something was found.
    #[serde(default)]
    pub timeline: Option<Timeline>,
    /// What became of the baseline, where one was given.
    #[serde(default)]
    pub baseline: Option<BaselineUse>,
    /// Whether more calls stayed inconclusive than may.
    #[serde(skip)]
    pub(crate) too_inconclusive: bool,
}

/// Collects what comparisons find until the report is made.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    findings: BTreeMap<Signature, Met>,
    /// Size of the evidence so far.
    evidence_bytes: usize,
    passed: BTreeMap<String, u64>,
    inconclusive: BTreeMap<String, ReasonCount>,
    skipped: BTreeMap<String, ReasonCount>,
    calls: CallCounts,
}

/// A finding that is still being met.
#[derive(Clone, Debug)]
struct Met {
    finding: Finding,
    path: Path,
}

impl Findings {
    /// The counts so far; the caller keeps those of recorded, sent and settled calls.
    pub fn calls(&mut self) -> &mut CallCounts {
        &mut self.calls
    }

    /// Adds what the comparison of one call found. `witness` is asked only where something was.
    pub fn add(&mut self, method: &str, witness: &dyn Witness, compared: Compared) {
        self.calls.compared += 1;
        for (rule, count) in compared.passed {
            *self.passed.entry(rule).or_default() += count;
        }
        for divergence in compared.divergences {
            self.add_divergence(method, witness, divergence);
        }
    }

    /// Adds a divergence that is about more than one call.
    pub fn add_divergence(&mut self, method: &str, witness: &dyn Witness, mut divergence: Divergence) {
        let signature = Signature::of(method, &divergence);
        let met = self.findings.entry(signature).or_insert_with_key(|signature| {
            let evidence = (self.evidence_bytes < MAX_HELD).then(|| witness.evidence()).flatten();
            let evidence = evidence.map(Evidence::bounded);
            self.evidence_bytes += evidence.as_ref().map_or(0, Evidence::size);
            Met { finding: first_met(signature, &divergence, evidence), path: divergence.path.clone() }
        });
        let finding = &mut met.finding;
        finding.count += 1;
        finding.severity = finding.severity.min(divergence.severity);
        if examples::are_enough(&finding.examples) {
            return;
        }
        witness.seal(&mut divergence);
        let example = Example {
            recorded_call: witness.recorded().map(|call| call.0),
            live_call: witness.live().map(|call| call.0),
            recorded: divergence.recorded,
            live: divergence.live,
            at: witness.at().map(time_text),
        };
        examples::keep(&mut finding.examples, example);
    }

    /// Notes a call about which nothing can be said.
    pub fn inconclusive(&mut self, call: CallId, reason: String) {
        self.calls.inconclusive += 1;
        count_reason(&mut self.inconclusive, call, reason);
    }

    /// Notes a call that was left out on purpose.
    pub fn skipped(&mut self, call: CallId, reason: String) {
        self.calls.skipped += 1;
        count_reason(&mut self.skipped, call, reason);
    }

    /// The recorded calls of which a finding holds an example.
    pub fn example_calls(&self) -> BTreeSet<CallId> {
        let examples = self.findings.values().flat_map(|met| &met.finding.examples);
        examples.filter_map(|example| example.recorded_call.map(CallId)).collect()
    }

    /// The report. `rules` are those that were compared by; `max_inconclusive` is the share of recorded calls that may stay
    /// inconclusive.
    pub fn into_report(
        self,
        recorded: SideInfo,
        live: SideInfo,
        rules: &Rules,
        max_inconclusive: f64,
    ) -> Report {
        let mut findings: Vec<Finding> =
            self.findings.into_values().map(|met| met.explained(rules, &recorded, &live)).collect();
        findings.sort_by(|a, b| {
            (a.severity, std::cmp::Reverse(a.count), &a.method, &a.path).cmp(&(
                b.severity,
                std::cmp::Reverse(b.count),
                &b.method,
                &b.path,
            ))
        });
        let evidence_left_out = keep_evidence(&mut findings);
        let share = self.calls.inconclusive as f64 / self.calls.recorded.max(1) as f64;
        let mut rules: Vec<RuleCount> =
            self.passed.into_iter().map(|(rule, count)| RuleCount { rule, count }).collect();
        rules.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.rule.cmp(&b.rule)));
        let suppressed = Suppressed { count: rules.iter().map(|rule| rule.count).sum(), rules };
        let mut report = Report {
            version: 1,
            verdict: Verdict::Same,
            recorded,
            live,
            calls: self.calls,
            suppressed,
            findings,
            inconclusive: self.inconclusive.into_values().collect(),
            skipped: self.skipped.into_values().collect(),
            evidence_left_out,
            timeline: None,
            baseline: None,
            too_inconclusive: share > max_inconclusive,
        };
        report.judge();
        report
    }
}

impl Report {
    /// Findings that no baseline holds.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.accepted.is_none())
    }

    /// Makes the verdict fit the findings.
    pub(crate) fn judge(&mut self) {
        self.verdict = if self.open().next().is_some() {
            Verdict::Different
        } else if self.too_inconclusive {
            Verdict::Inconclusive
        } else {
            Verdict::Same
        };
    }
}

impl Met {
    /// The finding with what is known about it.
    fn explained(self, rules: &Rules, recorded: &SideInfo, live: &SideInfo) -> Finding {
        let Self { mut finding, path } = self;
        let rpc = finding.method.rsplit('/').next().unwrap_or_default();
        let transition = finding.transition.as_deref();
        finding.consequence =
            rules.consequence(rpc, &path, finding.kind, transition, finding.severity).map(str::to_owned);
        finding.rule_text = rules.text(&finding.rule);
        finding.known = Catalogue::standard().find(&finding, &path, recorded, live);
        finding
    }
}

/// Leaves out the evidence of the mildest findings where there is too much. Gives the number of those.
fn keep_evidence(findings: &mut [Finding]) -> u64 {
    let mut room = MAX_REPORT_EVIDENCE;
    let mut left_out = 0;
    for finding in findings {
        let size = finding.evidence.as_ref().map_or(0, Evidence::size);
        if size > room {
            finding.evidence = None;
            left_out += 1;
        } else {
            room -= size;
        }
    }
    left_out
}

fn first_met(signature: &Signature, divergence: &Divergence, evidence: Option<Evidence>) -> Finding {
    Finding {
        id: signature.id(),
        method: signature.method.clone(),
        path: signature.path.clone(),
        kind: signature.kind,
        transition: signature.transition.clone(),
        severity: divergence.severity,
        consequence: None,
        known: None,
        count: 0,
        summary: summary(&signature.method, divergence),
        rule: divergence.rule.clone(),
        rule_text: None,
        accepted: None,
        examples: Vec::new(),
        evidence,
    }
}

fn count_reason(reasons: &mut BTreeMap<String, ReasonCount>, call: CallId, reason: String) {
    reasons.entry(reason.clone()).or_insert(ReasonCount { reason, count: 0, first_call: call.0 }).count += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Ids;
    use serde_json::json;

    fn divergence(recorded: i64) -> Divergence {
        Divergence {
            path: Path::root("x"),
            kind: Kind::Value,
            transition: None,
            recorded: json!(recorded),
            live: json!(0),
            rule: "exact".into(),
            severity: Severity::Behaviour,
            settles: false,
        }
    }

    fn report_of(findings: Findings) -> Report {
        findings.into_report(SideInfo::default(), SideInfo::default(), &Rules::standard(), 0.01)
    }

    #[test]
    fn one_signature_is_one_finding_with_different_examples_first() {
        let mut findings = Findings::default();
        for recorded in [1, 1, 1, 1, 1, 2, 3, 1] {
            findings.add_divergence(
                "/p.S/M",
                &Ids { recorded: Some(CallId(7)), live: None },
                divergence(recorded),
            );
        }
        let report = report_of(findings);
        assert_eq!(report.verdict, Verdict::Different);
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].count, 8);
        let shown: Vec<_> = report.findings[0].examples.iter().map(|it| it.recorded.clone()).collect();
        assert_eq!(shown.len(), examples::MAX_EXAMPLES);
        for expected in [1, 2, 3] {
            assert!(shown.contains(&json!(expected)), "{shown:?}");
        }
    }

    #[test]
    fn the_verdict_weighs_what_could_not_be_compared() {
        let report = |inconclusive: u64| {
            let mut findings = Findings::default();
            findings.calls().recorded = 100;
            (0..inconclusive).for_each(|call| findings.inconclusive(CallId(call), "x".into()));
            report_of(findings).verdict
        };
        assert_eq!([report(0), report(1), report(2)], [Verdict::Same, Verdict::Same, Verdict::Inconclusive]);
    }
}
