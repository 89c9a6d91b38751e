//! Whether findings are true, and why.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Expected, PAIRS, findings, pair_name, toml};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    reason: Vec<Reason>,
}

/// Why findings are there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// `true`, or `false` for one that is nothing.
    judged: bool,
    why: String,
    source: String,
    /// What it is about, as [`Expected::fits`] reads it.
    findings: Vec<String>,
    /// Only in these reports, by the name of the pair.
    #[serde(default)]
    between: Vec<String>,
}

impl Reason {
    fn is_of(&self, pair: &str, finding: &Expected) -> bool {
        (self.between.is_empty() || self.between.iter().any(|name| name == pair))
            && self.findings.iter().any(|pattern| finding.fits(pattern))
    }
}

fn reasons() -> Vec<Reason> {
    toml::<File>("reasons.toml").reason
}

/// Findings without a reason or with another than the catalogue gives, and reasons without a finding.
pub fn unjudged() -> Vec<String> {
    let reasons = reasons();
    let mut used = vec![false; reasons.len()];
    let mut missing = Vec::new();
    for pair in PAIRS {
        let name = pair_name(pair);
        for finding in findings(pair) {
            match reasons.iter().position(|reason| reason.is_of(&name, &finding)) {
                Some(index) => {
                    used[index] = true;
                    let source = &reasons[index].source;
                    let numbered = finding.known.as_deref().and_then(|known| known.split_once('#'));
                    if let Some((_, number)) = numbered.filter(|(_, number)| !source.contains(*number)) {
                        missing.push(format!("{name}: {finding:?} is #{number}, and people say: {source}"));
                    }
                }
                None => missing.push(format!("{name}: {finding:?} has no reason")),
            }
        }
    }
    let unused = reasons.iter().zip(used).filter(|(_, used)| !used);
    missing.extend(unused.map(|(reason, _)| format!("there is no finding for {reason:?}")));
    missing
}

/// All findings of all reports as a table in Markdown, those of one reason in one row.
pub fn findings_table() -> String {
    let reasons = reasons();
    // By reason, then by finding: the reports that have it.
    let mut rows: BTreeMap<usize, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for pair in PAIRS {
        let name = pair_name(pair);
        for finding in findings(pair) {
            let Some(index) = reasons.iter().position(|reason| reason.is_of(&name, &finding)) else {
                continue;
            };
            let transition = finding.transition.as_deref().map(|it| format!(" {it}")).unwrap_or_default();
            let text = format!("{} `{}`{transition} ({})", finding.rpc(), finding.path, finding.severity);
            let reports = rows.entry(index).or_default().entry(text).or_default();
            if !reports.contains(&name) {
                reports.push(name.clone());
            }
        }
    }
    let mut out = "| finding | in | judged | why | source |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for (index, found) in rows {
        let reason = &reasons[index];
        // Findings that the same reports have share a cell.
        let mut by_reports: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        for (finding, reports) in found {
            by_reports.entry(reports).or_default().push(finding);
        }
        for (nth, (reports, findings)) in by_reports.into_iter().enumerate() {
            let (why, source) =
                if nth == 0 { (reason.why.as_str(), reason.source.as_str()) } else { ("as above", "") };
            let (findings, reports) = (findings.join("<br>"), reports.join(", "));
            out.extend([format!("| {findings} | {reports} | {} | {why} | {source} |\n", reason.judged)]);
        }
    }
    out
}
