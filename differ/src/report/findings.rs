//! Collects what comparisons find, and makes a report of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use critape_calls::{CallId, Live, Recorded, time_text};

use crate::comparing::asked::Listed;
use crate::comparing::comparer::Compared;
use crate::oracles::Against;
use crate::report::causes::{self, Cause, Causes, Objects, Origin};
use crate::report::evidence::{Evidence, MAX_HELD, MAX_REPORT_EVIDENCE, Witness};
use crate::report::examples;
use crate::report::follows;
use crate::report::known::Catalogue;
use crate::report::latency::Durations;
use crate::report::spread::{Seen, Spread};
use crate::report::summary::summary;
use crate::report::suppressed::{self, SuppressedExample};
use crate::report::timing::Clocks;
use crate::rules::severity::{told_by, told_of};
use crate::{
    Breach, CallCounts, Divergence, Example, Finding, Ids, Kind, Memory, MethodCount, Oracle, Path,
    ReasonCount, Relation, Report, RuleCount, Rules, SideInfo, Signature, Suppressed, Verdict,
};

/// Collects what comparisons find until the report is made.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    findings: BTreeMap<Signature, Met>,
    /// Size of the evidence so far.
    evidence_bytes: usize,
    passed: BTreeMap<String, u64>,
    methods: BTreeMap<String, u64>,
    inconclusive: BTreeMap<String, ReasonCount>,
    skipped: BTreeMap<String, ReasonCount>,
    calls: CallCounts,
    durations: Durations,
    /// How long after they were made events came.
    delays: Durations,
    /// Of what rules let pass.
    examples: Vec<SuppressedExample>,
    clocks: Option<Clocks>,
    /// Calls that are not sent, by the call that stands for them.
    collapsed: HashMap<CallId, Vec<CallId>>,
    causes: Causes,
}

/// A finding that is still being met.
#[derive(Clone, Debug)]
struct Met {
    finding: Finding,
    path: Path,
    /// What it has to do with what was asked for, in a list.
    listed: Option<Listed>,
    origin: Origin,
    cause: Cause,
}

impl Findings {
    /// The counts so far; the caller keeps those of recorded, sent and settled calls.
    pub fn calls(&mut self) -> &mut CallCounts {
        &mut self.calls
    }

    /// Where a replay notes how it keeps its time.
    pub fn clocks(&mut self) -> &mut Clocks {
        self.clocks.get_or_insert_default()
    }

    /// Calls that are not sent, by the call that stands for them: what becomes of that one becomes of them.
    pub fn collapse(&mut self, collapsed: HashMap<CallId, Vec<CallId>>) {
        self.collapsed = collapsed;
    }

    /// The calls that this one stands for; they are counted once.
    fn stands_for(&mut self, call: Option<CallId>) -> Vec<CallId> {
        let collapsed = call.and_then(|call| self.collapsed.remove(&call)).unwrap_or_default();
        self.calls.collapsed += collapsed.len() as u64;
        collapsed
    }

    /// Adds what the comparison of one call found. `witness` is asked only where something was.
    pub fn add(&mut self, method: &str, witness: &dyn Witness, compared: Compared) {
        if let Some((reason, call)) = compared.untold.zip(witness.recorded()) {
            self.inconclusive(call, reason.to_owned());
            return;
        }
        let calls = 1 + self.stands_for(witness.recorded()).len() as u64;
        self.calls.compared += calls;
        match self.methods.get_mut(method) {
            Some(count) => *count += calls,
            None => drop(self.methods.insert(method.to_owned(), calls)),
        }
        for (rule, count) in compared.passed {
            *self.passed.entry(rule).or_default() += count;
        }
        for passed in compared.examples {
            suppressed::keep(&mut self.examples, method, witness, passed);
        }
        for divergence in compared.divergences {
            self.add_divergence(method, witness, divergence);
        }
    }

    /// Adds an answer that breaks a rule of CRI, unless what is wrong with it has been found otherwise, or nobody wants to know.
    pub fn add_breach(&mut self, breach: &Breach, witness: &dyn Witness, rules: &Rules) {
        // Where two answers disagree and the recording tells that the other is wrong, this one is not.
        let is_of = |found: &Signature, other: &Against| {
            found.method.rsplit('/').next() == Some(other.rpc) && found.path == other.path
        };
        if breach.against.as_ref().is_some_and(|other| self.findings.keys().any(|it| is_of(it, other))) {
            return;
        }
        self.add_if_new(&breach.method, witness, breach.divergence.clone(), rules);
    }

    /// Adds usage that is told in another unit than when it was recorded, in the same way. `memory` is that of all comparers of the run.
    pub fn add_units(&mut self, memory: &Memory, rules: &Rules) {
        for (method, divergence) in memory.units.borrow().divergences() {
            self.add_if_new(method, &Ids::default(), divergence, rules);
        }
    }

    fn add_if_new(&mut self, method: &str, witness: &dyn Witness, divergence: Divergence, rules: &Rules) {
        let rpc = method.rsplit('/').next().unwrap_or_default();
        let rule = rules.rule(rpc, &divergence.path);
        if let Some(rule) = rule.filter(|rule| rule.relation == Relation::Ignore) {
            *self.passed.entry(rule.name.clone()).or_default() += 1;
            return;
        }
        let path = divergence.path.to_string();
        let found = |known: &Signature| known.method == method && known.path == path;
        if !self.findings.keys().any(found) {
            self.add_divergence(method, witness, divergence);
        }
    }

    /// Notes how long a call took on either side, where both were made at one pace.
    pub fn took(&mut self, method: &str, call: CallId, recorded: Recorded<Duration>, live: Live<Duration>) {
        self.durations.add(method, Some(call), recorded.0, live.0);
    }

    /// Notes how long after it was made an event came on either side, where both runs went at one pace.
    pub fn event_took(&mut self, method: &str, recorded: Recorded<Duration>, live: Live<Duration>) {
        self.delays.add(method, None, recorded.0, live.0);
    }

    /// Adds a divergence that is about more than one call.
    pub fn add_divergence(&mut self, method: &str, witness: &dyn Witness, mut divergence: Divergence) {
        let signature = Signature::of(method, &divergence);
        let about = divergence.about.take();
        let objects = || about.as_ref().map_or_else(|| witness.objects(), Objects::only);
        let met = self.findings.entry(signature).or_insert_with_key(|signature| {
            let evidence = (self.evidence_bytes < MAX_HELD).then(|| witness.evidence()).flatten();
            let evidence = evidence.map(|it| it.about_subject(about.as_ref()).bounded());
            self.evidence_bytes += evidence.as_ref().map_or(0, Evidence::size);
            let listed = evidence.as_ref().and_then(|evidence| Listed::of(&divergence, evidence));
            let mut finding = first_met(signature, &divergence, evidence);
            if let Some(listed) = &listed {
                let rpc = method.rsplit('/').next().unwrap_or(method);
                finding.summary = listed.summary(rpc, &signature.path);
            }
            let (origin, cause) = (Origin::of(method, witness, objects()), Cause::default());
            Met { finding, path: divergence.path.clone(), listed, origin, cause }
        });
        let finding = &mut met.finding;
        self.causes.met(&finding.id, &mut met.cause, objects);
        self.causes.note(&finding.id, method, &divergence, objects);
        finding.count += 1;
        finding.severity = finding.severity.min(divergence.severity);
        if examples::are_enough(&finding.examples) && finding.spread.is_full() {
            return;
        }
        witness.seal(&divergence.path, &mut divergence.recorded, &mut divergence.live);
        let example = Example {
            recorded_call: witness.recorded().map(|call| call.0),
            live_call: witness.live().map(|call| call.0),
            recorded: divergence.recorded,
            live: divergence.live,
            at: about.as_ref().and_then(|about| about.at).or_else(|| witness.at()).map(time_text),
            about: None,
            subject: about,
        };
        finding.spread.add(Seen {
            call: example.recorded_call,
            recorded: example.recorded.clone(),
            live: example.live.clone(),
        });
        examples::keep(&mut finding.examples, example);
    }

    /// Notes a call about which nothing can be said.
    pub fn inconclusive(&mut self, call: CallId, reason: String) {
        for collapsed in self.stands_for(Some(call)) {
            self.inconclusive(collapsed, reason.clone());
        }
        self.calls.inconclusive += 1;
        count_reason(&mut self.inconclusive, call, reason);
    }

    /// Notes a call that was left out on purpose.
    pub fn skipped(&mut self, call: CallId, reason: String) {
        for collapsed in self.stands_for(Some(call)) {
            self.skipped(collapsed, reason.clone());
        }
        self.calls.skipped += 1;
        count_reason(&mut self.skipped, call, reason);
    }

    /// The report. `rules` are those that were compared by; `max_inconclusive` is the share of recorded calls that may stay
    /// inconclusive.
    pub fn into_report(
        mut self,
        recorded: SideInfo,
        live: SideInfo,
        rules: &Rules,
        max_inconclusive: f64,
    ) -> Report {
        let durations = std::mem::take(&mut self.durations);
        for (method, divergence) in durations.divergences() {
            self.add_divergence(method, &Ids::default(), divergence);
        }
        for (method, divergence) in std::mem::take(&mut self.delays).delays() {
            self.add_divergence(method, &Ids::default(), divergence);
        }
        let mut findings: Vec<(Finding, Origin)> =
            self.findings.into_values().map(|met| met.explained(rules, &recorded, &live)).collect();
        findings.sort_by(|(a, _), (b, _)| {
            // What became of the runtime itself explains what stands beside it.
            let is_other = |it: &Finding| it.rule != "runtime-gone";
            // An event repeats what a status says, to whoever listens.
            let is_in_event = |it: &Finding| {
                let is_outcome = it.path.starts_with("outcome.");
                it.method.ends_with("/GetContainerEvents") && it.path.contains('.') && !is_outcome
            };
            let key =
                |it: &Finding| (it.severity, is_other(it), is_in_event(it), std::cmp::Reverse(it.count));
            // What events are missing is seen last, when their stream has ended.
            let place = |it: &Finding| (it.path == "events", it.method.clone(), it.path.clone());
            key(a).cmp(&key(b)).then_with(|| place(a).cmp(&place(b)))
        });
        causes::first(&mut findings);
        let mut findings: Vec<Finding> = findings.into_iter().map(|(finding, _)| finding).collect();
        follows::note(&mut findings);
        let evidence_left_out = keep_evidence(&mut findings);
        let share = self.calls.inconclusive as f64 / self.calls.recorded.max(1) as f64;
        let mut rules: Vec<RuleCount> =
            self.passed.into_iter().map(|(rule, count)| RuleCount { rule, count }).collect();
        rules.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.rule.cmp(&b.rule)));
        let count = rules.iter().map(|rule| rule.count).sum();
        let suppressed = Suppressed { count, rules, examples: self.examples };
        let methods = self.methods.into_iter().map(|(method, compared)| {
            let timed = durations.timed(&method);
            MethodCount { method, compared, timed }
        });
        let mut report = Report {
            version: 1,
            verdict: Verdict::Same,
            recorded,
            live,
            calls: self.calls,
            options: Vec::new(),
            methods: methods.collect(),
            timing: self.clocks.map(Clocks::timing),
            preflight: Vec::new(),
            suppressed,
            findings,
            inconclusive: self.inconclusive.into_values().collect(),
            skipped: self.skipped.into_values().collect(),
            unchecked: Vec::new(),
            evidence_left_out,
            timeline: None,
            baseline: None,
            too_inconclusive: share > max_inconclusive,
        };
        report.judge();
        report
    }
}

impl Met {
    /// The finding with what is known about it.
    fn explained(self, rules: &Rules, recorded: &SideInfo, live: &SideInfo) -> (Finding, Origin) {
        let Self { mut finding, path, listed, origin, cause } = self;
        if let Cause::Of(id) = cause {
            finding.follows = Some(id);
        }
        let rpc = finding.method.rsplit('/').next().unwrap_or_default();
        // Of values, the one that made it as severe as it is.
        let told = finding.examples.iter().find_map(|it| told_by(&path, &it.recorded, &it.live));
        let of_those = || finding.examples.iter().map(|it| told_of(&path, it.subject.as_ref()));
        let told = listed.as_ref().and_then(Listed::transition).or(told);
        let told = told.or_else(|| of_those().next().flatten().filter(|_| of_those().all(|it| it.is_some())));
        let transitions = [finding.transition.as_deref(), told];
        let lifted = listed
            .and_then(|it| it.transition())
            .and_then(|_| rules.severity_of(rpc, &path, finding.kind, &transitions));
        finding.severity = lifted.map_or(finding.severity, |severity| finding.severity.min(severity));
        let of_oracle = || {
            Oracle::by_name(&finding.rule).filter(|_| finding.kind == Kind::Oracle).map(|it| it.consequence)
        };
        let consequence = rules.consequence_of(rpc, &path, finding.kind, &transitions, finding.severity);
        finding.consequence = consequence.or_else(of_oracle).map(str::to_owned);
        finding.rule_text = rules.text(&finding.rule);
        finding.known = Catalogue::standard().find(&finding, &path, recorded, live);
        (finding, origin)
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
        follows: None,
        accepted: None,
        examples: Vec::new(),
        evidence,
        spread: Spread { path: divergence.path.clone(), ..Spread::default() },
    }
}

fn count_reason(reasons: &mut BTreeMap<String, ReasonCount>, call: CallId, reason: String) {
    let known = reasons.entry(reason.clone()).or_insert(ReasonCount { reason, count: 0, first_call: call.0 });
    known.count += 1;
    known.first_call = known.first_call.min(call.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Comparer, Kind, NoTrajectories, Severity};
    use critape_calls::IdentityMap;
    use prost::Message as _;
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
            about: None,
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
    fn usage_in_another_unit_is_a_finding_unless_nobody_wants_to_know() {
        let method = cri::methods().by_name(cri::Generation::V1, "ListContainerStats").unwrap();
        let answer = |used| {
            let stats = ["c", "d"].map(|id| {
                let working_set_bytes = Some(cri::v1::UInt64Value { value: used });
                let memory = Some(cri::v1::MemoryUsage { working_set_bytes, ..Default::default() });
                let attributes =
                    Some(cri::v1::ContainerAttributes { id: id.to_owned(), ..Default::default() });
                cri::v1::ContainerStats { attributes, memory, ..Default::default() }
            });
            cri::v1::ListContainerStatsResponse { stats: stats.to_vec() }.encode_to_vec().into()
        };
        let found = |rules: &Rules| {
            let (memory, ids, mut findings) =
                (Memory::default(), IdentityMap::default(), Findings::default());
            let comparer = Comparer::new(rules, &ids, &memory);
            for _ in 0..5 {
                let (before, now) = (answer(4_096_000), answer(4000));
                let compared = comparer.answers(method, Recorded(&before), Live(&now), &NoTrajectories);
                findings.add(&method.path, &Ids::default(), compared);
            }
            findings.add_units(&memory, rules);
            report_of(findings).findings
        };
        let rules = Rules::standard();
        let [found_one] = &found(&rules)[..] else { panic!() };
        assert_eq!((found_one.rule.as_str(), found_one.kind), ("usage-unit", Kind::Value));
        assert!(found_one.consequence.is_some() && found_one.rule_text.is_some());
        assert!(found_one.summary.ends_with("the median is 4000, and was 4096000 when recorded"));
        let ignore = "[[rule]]\nname = \"x\"\npath = [\"**.working_set_bytes.value\"]\nrelation = \"ignore\"\nreason = \"x\"\n";
        assert_eq!(found(&rules.overridden_by(Rules::parse("mine", ignore).unwrap())), []);
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
