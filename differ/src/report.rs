//! What a comparison comes to: findings, counts, a verdict. Its JSON is a contract.

use std::collections::BTreeMap;
use std::time::Duration;

use critape_calls::{CallId, Live, Recorded};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::comparer::Compared;
use crate::latency::Durations;
use crate::spread::{Seen, Spread};
use crate::suppressed::{self, SuppressedExample};
use crate::{Breach, Divergence, Kind, Oracle, Relation, Rules, Severity, Signature};

/// Examples kept of one finding.
const MAX_EXAMPLES: usize = 5;

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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Suppressed {
    /// How many.
    pub count: u64,
    /// By which rule.
    pub rules: Vec<RuleCount>,
    /// Some of them.
    #[serde(default)]
    pub examples: Vec<SuppressedExample>,
}

/// How much one rule let pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The rule.
    pub rule: String,
    /// How many differences.
    pub count: u64,
}

/// A change of a runtime that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Issue or pull request, as `containerd#10527`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The version that brought it.
    pub since: String,
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
    /// The known change it is, if it is one.
    pub known: Option<Known>,
    /// How often.
    pub count: u64,
    /// One sentence.
    pub summary: String,
    /// The rule that was broken.
    pub rule: String,
    /// Some occurrences, different ones first.
    pub examples: Vec<Example>,
    /// More of them, for calibration.
    #[serde(skip)]
    pub(crate) spread: Spread,
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
    /// What a check of a runtime could not look at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<String>,
}

/// Collects what comparisons find until the report is made.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    findings: BTreeMap<Signature, Finding>,
    passed: BTreeMap<String, u64>,
    inconclusive: BTreeMap<String, ReasonCount>,
    skipped: BTreeMap<String, ReasonCount>,
    calls: CallCounts,
    durations: Durations,
    examples: Vec<SuppressedExample>,
}

impl Findings {
    /// The counts so far; the caller keeps those of recorded, sent and settled calls.
    pub fn calls(&mut self) -> &mut CallCounts {
        &mut self.calls
    }

    /// Adds what the comparison of one call found.
    pub fn add(&mut self, method: &str, recorded: Option<CallId>, live: Option<CallId>, compared: Compared) {
        self.calls.compared += 1;
        for (rule, count) in compared.passed {
            *self.passed.entry(rule).or_default() += count;
        }
        for passed in compared.examples {
            suppressed::keep(&mut self.examples, method, recorded, passed);
        }
        for divergence in compared.divergences {
            self.add_divergence(method, recorded, live, divergence);
        }
    }

    /// Adds an answer that breaks a rule of CRI, unless what is wrong with it has been found otherwise, or nobody wants to know.
    pub fn add_breach(&mut self, breach: &Breach, rules: &Rules) {
        let rpc = breach.method.rsplit('/').next().unwrap_or_default();
        let rule = rules.rule(rpc, &breach.divergence.path);
        if let Some(rule) = rule.filter(|rule| rule.relation == Relation::Ignore) {
            *self.passed.entry(rule.name.clone()).or_default() += 1;
            return;
        }
        let path = breach.divergence.path.to_string();
        let found = |known: &Signature| known.method == breach.method && known.path == path;
        if !self.findings.keys().any(found) {
            self.add_divergence(&breach.method, breach.call, None, breach.divergence.clone());
        }
    }

    /// Notes how long a call took on either side, where both were made at one pace.
    pub fn took(&mut self, method: &str, recorded: Recorded<Duration>, live: Live<Duration>) {
        self.durations.add(method, recorded.0, live.0);
    }

    /// Adds a divergence that is about more than one call.
    pub fn add_divergence(
        &mut self,
        method: &str,
        recorded: Option<CallId>,
        live: Option<CallId>,
        divergence: Divergence,
    ) {
        let signature = Signature::of(method, &divergence);
        let summary = summary(method, &divergence);
        let finding = self.findings.entry(signature).or_insert_with_key(|signature| Finding {
            id: signature.id(),
            method: signature.method.clone(),
            path: signature.path.clone(),
            kind: signature.kind,
            transition: signature.transition.clone(),
            severity: divergence.severity,
            known: None,
            count: 0,
            summary,
            rule: divergence.rule.clone(),
            examples: Vec::new(),
            spread: Spread { path: divergence.path.clone(), ..Spread::default() },
        });
        finding.count += 1;
        finding.severity = finding.severity.min(divergence.severity);
        let example = Example {
            recorded_call: recorded.map(|call| call.0),
            live_call: live.map(|call| call.0),
            recorded: divergence.recorded,
            live: divergence.live,
        };
        finding.spread.add(Seen {
            call: example.recorded_call,
            recorded: example.recorded.clone(),
            live: example.live.clone(),
        });
        keep_example(&mut finding.examples, example);
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

    /// The report. `max_inconclusive` is the share of recorded calls that may stay inconclusive.
    pub fn into_report(mut self, recorded: SideInfo, live: SideInfo, max_inconclusive: f64) -> Report {
        for (method, divergence) in std::mem::take(&mut self.durations).divergences() {
            self.add_divergence(method, None, None, divergence);
        }
        let mut findings: Vec<Finding> = self.findings.into_values().collect();
        findings.sort_by(|a, b| {
            (a.severity, std::cmp::Reverse(a.count), &a.method, &a.path).cmp(&(
                b.severity,
                std::cmp::Reverse(b.count),
                &b.method,
                &b.path,
            ))
        });
        let share = self.calls.inconclusive as f64 / self.calls.recorded.max(1) as f64;
        let verdict = if !findings.is_empty() {
            Verdict::Different
        } else if share > max_inconclusive {
            Verdict::Inconclusive
        } else {
            Verdict::Same
        };
        let mut rules: Vec<RuleCount> =
            self.passed.into_iter().map(|(rule, count)| RuleCount { rule, count }).collect();
        rules.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.rule.cmp(&b.rule)));
        let count = rules.iter().map(|rule| rule.count).sum();
        let suppressed = Suppressed { count, rules, examples: self.examples };
        Report {
            version: 1,
            verdict,
            recorded,
            live,
            calls: self.calls,
            suppressed,
            findings,
            inconclusive: self.inconclusive.into_values().collect(),
            skipped: self.skipped.into_values().collect(),
            unchecked: Vec::new(),
        }
    }
}

fn count_reason(reasons: &mut BTreeMap<String, ReasonCount>, call: CallId, reason: String) {
    reasons.entry(reason.clone()).or_insert(ReasonCount { reason, count: 0, first_call: call.0 }).count += 1;
}

/// Different examples push out repeated ones.
fn keep_example(examples: &mut Vec<Example>, example: Example) {
    let same = |other: &Example| other.recorded == example.recorded && other.live == example.live;
    if examples.len() < MAX_EXAMPLES {
        let at = if examples.iter().any(same) {
            examples.len()
        } else {
            examples
                .iter()
                .enumerate()
                .position(|(at, it)| {
                    examples[..at].iter().any(|other| other.recorded == it.recorded && other.live == it.live)
                })
                .unwrap_or(examples.len())
        };
        examples.insert(at, example);
    } else if !examples.iter().any(same) {
        let repeated = (1..examples.len()).rev().find(|at| {
            examples[..*at]
                .iter()
                .any(|other| other.recorded == examples[*at].recorded && other.live == examples[*at].live)
        });
        if let Some(at) = repeated {
            examples.remove(at);
            examples.insert(at, example);
        }
    }
}

/// One sentence about a divergence.
fn summary(method: &str, divergence: &Divergence) -> String {
    let rpc = method.rsplit('/').next().unwrap_or(method);
    let path = divergence.path.to_string();
    match (divergence.kind, divergence.transition.as_deref()) {
        (Kind::Outcome, Some(transition)) => {
            let (before, now) = transition.split_once('→').unwrap_or((transition, ""));
            format!("{rpc} ended with {before} when recorded and ends with {now} now")
        }
        (Kind::Presence, Some("present→absent")) => format!("{rpc} no longer gives {path}"),
        (Kind::Presence, Some("absent→present")) => format!("{rpc} now gives {path}"),
        (Kind::Latency, _) => {
            let slower = divergence.live["p50"].as_u64() > divergence.recorded["p50"].as_u64();
            let how = if slower { "longer" } else { "less long" };
            format!("{rpc} takes {how} than when it was recorded")
        }
        (Kind::Oracle, _) if Oracle::by_name(&divergence.rule).is_some() => {
            let rule = Oracle::by_name(&divergence.rule).map(|oracle| oracle.rule).unwrap_or_default();
            format!("{rpc} breaks a rule at {path}: {rule}")
        }
        (Kind::Order, _) => format!("{rpc} gives {path} in another order"),
        (Kind::Oracle, _) => format!("{rpc} gives {path} in an order that changes from call to call"),
        (Kind::Capability, _) => format!("{rpc} is served by one of the two only"),
        (_, Some(transition)) => {
            let (before, now) = transition.split_once('→').unwrap_or((transition, ""));
            format!("{rpc} gives {now} in {path} where the recording has {before}")
        }
        (_, None) if path == "events" => {
            "the events of a container are not those of the recording".to_owned()
        }
        (_, None) => format!("{rpc} gives another {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Path;
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

    #[test]
    fn one_signature_is_one_finding_with_different_examples_first() {
        let mut findings = Findings::default();
        for recorded in [1, 1, 1, 1, 1, 2, 3, 1] {
            findings.add_divergence("/p.S/M", Some(CallId(7)), None, divergence(recorded));
        }
        let report = findings.into_report(SideInfo::default(), SideInfo::default(), 0.01);
        assert_eq!(report.verdict, Verdict::Different);
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].count, 8);
        let shown: Vec<_> = report.findings[0].examples.iter().map(|it| it.recorded.clone()).collect();
        assert_eq!(shown.len(), MAX_EXAMPLES);
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
            findings.into_report(SideInfo::default(), SideInfo::default(), 0.01).verdict
        };
        assert_eq!([report(0), report(1), report(2)], [Verdict::Same, Verdict::Same, Verdict::Inconclusive]);
    }
}
