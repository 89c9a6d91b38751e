//! What a comparison of two runtimes is known to find, and why.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One finding, without what differs from run to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Expected {
    method: String,
    path: String,
    kind: String,
    transition: Option<String>,
    severity: String,
    /// The change of the runtime that it shows.
    why: String,
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
            why: String::new(),
        }
    }

    /// All but the reason, which no report can tell.
    fn unexplained(&self) -> Self {
        Self { why: String::new(), ..self.clone() }
    }
}

/// Fails the test unless `report` has just the findings of `golden/NAME`.
///
/// With `UPDATE_GOLDEN=1` the file is written instead: known findings keep their reasons, those of new ones are for you to
/// write.
///
/// # Panics
/// Then.
#[track_caller]
pub fn expect(report: &Value, name: &str) {
    let file = file(name);
    let known: Vec<Expected> = read(&file);
    let reasons: BTreeMap<Expected, String> =
        known.iter().map(|expected| (expected.unexplained(), expected.why.clone())).collect();
    let findings = report["findings"].as_array().expect("a report has findings");
    let mut found: Vec<Expected> = findings.iter().map(Expected::of).collect();
    for expected in &mut found {
        if let Some(why) = reasons.get(expected) {
            expected.why.clone_from(why);
        }
    }
    found.sort();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let text = serde_json::to_string_pretty(&found).expect("no map keys that are not strings");
        fs::write(&file, text + "\n").unwrap();
        return;
    }
    let new: Vec<_> = found.iter().filter(|expected| expected.why.is_empty()).collect();
    let gone: Vec<_> = known.iter().filter(|expected| !found.contains(expected)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not as in {}\nnot explained there: {new:#?}\nnot found any more: {gone:#?}",
        file.display()
    );
}

/// The file of this name in `golden`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn read(file: &PathBuf) -> Vec<Expected> {
    match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
        // None yet.
        Err(_) => Vec::new(),
    }
}
