//! Learns from replays on one runtime what differs from run to run, and writes rules for that.
//!
//! Only what changes between runs is noise. What is the same each time, and not what was recorded, is a difference between two
//! runtimes and stays a finding; so do outcomes, events, latency, and whatever would let a whole object pass.

mod learn;
mod write;

use std::collections::BTreeMap;

use crate::report::spread::Spread;
use crate::{Kind, Path, Report, Rules};

use learn::Run;

/// What calibration found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// A rules file, with a comment on every rule.
    pub text: String,
    /// Rules in it.
    pub rules: usize,
    /// Differences for which there is no rule: where, and why not.
    pub left: Vec<String>,
}

/// Where something differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    method: String,
    path: Path,
    /// Whether it is the order of a list.
    is_order: bool,
}

/// Learns from the reports of replays of one tape on one runtime, by `rules`. `source` says where: it is written into each rule.
pub fn calibrate(reports: &[Report], rules: &Rules, source: &str) -> Calibration {
    let mut places: BTreeMap<Place, Vec<Run>> = BTreeMap::new();
    let mut left = Vec::new();
    for (index, report) in reports.iter().enumerate() {
        for finding in &report.findings {
            let Some(reason) = unruled(finding.kind, &finding.path) else {
                let Spread { path, .. } = &finding.spread;
                let is_order = finding.kind == Kind::Order;
                let place = Place { method: finding.method.clone(), path: path.clone(), is_order };
                let runs = places.entry(place).or_insert_with(|| vec![Run::default(); reports.len()]);
                runs[index].add(&finding.spread, finding.count);
                continue;
            };
            let line = format!("{} {}: {reason}", rpc(&finding.method), finding.path);
            if !left.contains(&line) {
                left.push(line);
            }
        }
    }
    let mut entries = Vec::new();
    for (place, runs) in &places {
        let keys = rules.list(rpc(&place.method), &place.path).map(|list| list.keys.clone());
        match learn::lesson(place, runs, keys) {
            Ok(lesson) => entries.push((place.clone(), lesson)),
            Err(reason) => left.push(format!("{} {}: {reason}", rpc(&place.method), place.path)),
        }
    }
    let text = write::file(&entries, &left, source, reports.len());
    Calibration { text, rules: entries.len(), left }
}

/// Why there is no rule for differences of this kind, where there never is.
fn unruled(kind: Kind, path: &str) -> Option<&'static str> {
    match kind {
        Kind::Outcome => Some("how a call ends is never noise"),
        Kind::Latency => Some("durations are compared as a whole"),
        Kind::Capability => Some("what a runtime serves is never noise"),
        Kind::Oracle => Some("a rule of CRI was broken"),
        _ if path == "events" => Some("the events of a container are never noise"),
        _ if path.starts_with("outcome") => Some("how a call ends is never noise"),
        Kind::Presence | Kind::Value | Kind::Order => None,
    }
}

fn rpc(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
