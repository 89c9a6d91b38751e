//! What a comparison comes to: findings, counts, a verdict. Its JSON is a contract: `docs/report.md`.

pub(crate) mod causes;
pub(crate) mod divergence;
pub(crate) mod evidence;
pub(crate) mod examples;
pub(crate) mod findings;
pub(crate) mod follows;
pub(crate) mod known;
pub(crate) mod latency;
pub(crate) mod limitation;
pub(crate) mod shown;
pub(crate) mod spread;
pub(crate) mod summary;
pub(crate) mod suppressed;
pub(crate) mod timing;
pub(crate) mod units;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::baseline::{Accepted, BaselineUse};
use crate::{Kind, Severity, Subject};
use evidence::{Evidence, Timeline};
use known::Known;
use latency::Timed;
use limitation::Limitation;
use spread::Spread;
use suppressed::SuppressedExample;
use timing::Timing;

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
    /// Polls that were not sent because they only repeat what those around them say; they count for what those came to.
    #[serde(default)]
    pub collapsed: u64,
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
    /// When the recorded call began, or the event came that tells of it, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The pod or container that it is about, as `namespace/pod/container`; the id of what has no such name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Which of the things that the call tells of that is, until it has a name.
    #[serde(skip)]
    pub subject: Option<Subject>,
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
    /// The id of a finding before it that has the same cause: another answer says the same of the same kind of object,
    /// or a call failed before that changes the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What a baseline says about it, where it holds.
    #[serde(default)]
    pub accepted: Option<Accepted>,
    /// Some occurrences, different ones first.
    pub examples: Vec<Example>,
    /// The first of them in full, as far as there is room.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// More occurrences, for calibration.
    #[serde(skip)]
    pub(crate) spread: Spread,
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

/// How often one method was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodCount {
    /// Request path.
    pub method: String,
    /// How many calls.
    pub compared: u64,
    /// How long they took; absent where durations were not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed: Option<Timed>,
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
    /// What the command was told beside tape and runtime that decides what is found, word by word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The methods that were compared.
    #[serde(default)]
    pub methods: Vec<MethodCount>,
    /// How a replay kept its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// What can't be as it was recorded, known before the first call.
    #[serde(default)]
    pub preflight: Vec<Limitation>,
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

impl Report {
    /// Whether it is about a runtime alone: nothing was recorded.
    pub(crate) fn is_of_check(&self) -> bool {
        self.recorded.tape.is_none() && self.calls.recorded == 0
    }

    /// Findings that no baseline holds.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.accepted.is_none())
    }

    /// The finding with this id, or with the only id that begins like this.
    ///
    /// # Errors
    /// The ids that begin like this, where there are none or several.
    pub fn finding(&self, id: &str) -> Result<&Finding, Vec<&str>> {
        let fits: Vec<&Finding> = self.findings.iter().filter(|finding| finding.id.starts_with(id)).collect();
        match fits.as_slice() {
            [one] if !id.is_empty() => Ok(one),
            _ => Err(fits.iter().map(|finding| finding.id.as_str()).collect()),
        }
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
