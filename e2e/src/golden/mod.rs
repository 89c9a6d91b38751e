//! What comparisons of runtimes are known to find, and why.
//!
//! `TAPE-on-VERSION.json` has the findings of a report; `reasons.toml` has for each of them whether it is true, why, and where that is
//! known from; `changes.toml` has what is known to have changed, and which findings show it. The document for readers is made of
//! these three.

mod changes;
mod document;
mod reasons;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wildmatch::WildMatch;

pub use changes::{changes_table, unseen_changes};
pub use document::section;
pub use reasons::{findings_table, unjudged};

/// The tapes that are replayed, each with the release that it is replayed on.
pub const PAIRS: [(&str, &str); 4] = [
    ("containerd-1.6", "1.7"),
    ("containerd-1.7", "2.1"),
    ("containerd-1.6", "2.1"),
    ("containerd-1.6-v1alpha2", "2.1"),
];

/// One finding, without what differs from run to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Expected {
    method: String,
    path: String,
    kind: String,
    transition: Option<String>,
    severity: String,
    /// The entry of the program's catalogue that the report gave for it.
    known: Option<String>,
}

impl Expected {
    fn of(finding: &Value) -> Self {
        let text = |name: &str| finding[name].as_str().map(str::to_owned);
        let needed = |name: &str| text(name).unwrap_or_else(|| panic!("a finding without {name}: {finding}"));
        Self {
            method: needed("method"),
            path: needed("path"),
            kind: needed("kind"),
            transition: text("transition"),
            severity: needed("severity"),
            known: finding["known"]["ref"].as_str().map(str::to_owned),
        }
    }

    fn rpc(&self) -> &str {
        self.method.rsplit('/').next().unwrap_or_default()
    }

    /// Whether `pattern` is about it: an RPC, a path, and where it is told a transition; `*` stands for anything.
    fn fits(&self, pattern: &str) -> bool {
        let mut parts = pattern.splitn(3, ' ');
        let mut part = |text: &str| parts.next().is_none_or(|pattern| WildMatch::new(pattern).matches(text));
        part(self.rpc()) && part(&self.path) && part(self.transition.as_deref().unwrap_or_default())
    }
}

/// Fails the test unless `report` has just the findings of `golden/NAME`.
///
/// With `UPDATE_GOLDEN=1` the file is written instead.
///
/// # Panics
/// Then.
#[track_caller]
pub fn expect(report: &Value, name: &str) {
    let findings = report["findings"].as_array().expect("a report has findings").iter();
    // How long calls take tells of what else the machine did, at either time.
    let mut found: Vec<Expected> =
        findings.filter(|finding| finding["kind"] != "latency").map(Expected::of).collect();
    found.sort();
    if is_updated() {
        let text = serde_json::to_string_pretty(&found).expect("no map keys that are not strings");
        fs::write(file(name), text + "\n").unwrap();
        return;
    }
    let known = read(name);
    let new: Vec<_> = found.iter().filter(|one| !known.contains(one)).collect();
    let gone: Vec<_> = known.iter().filter(|one| !found.contains(one)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not as in {name}\nnew: {new:#?}\nnot found any more: {gone:#?}"
    );
}

/// The file of this name in `golden`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn is_updated() -> bool {
    env::var_os("UPDATE_GOLDEN").is_some()
}

/// The findings of one replay.
fn findings((tape, version): (&str, &str)) -> Vec<Expected> {
    read(&format!("{tape}-on-{version}.json"))
}

fn read(name: &str) -> Vec<Expected> {
    let text = text(name);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn toml<T: serde::de::DeserializeOwned>(name: &str) -> T {
    toml::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a pair is called.
fn pair_name((tape, version): (&str, &str)) -> String {
    format!("{} → {version}", tape.trim_start_matches("containerd-"))
}
