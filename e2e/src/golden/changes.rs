//! What is known to have changed between the releases, held against what was found.

use serde::Deserialize;

use super::{PAIRS, findings, pair_name, toml};

/// The program's own catalogue.
const CATALOGUE: &str = include_str!("../../../differ/known/containerd.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    change: Vec<Change>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(rename = "ref")]
    reference: String,
    what: String,
    /// Findings that show it, as [`super::Expected::fits`] reads them; each has to be in each of `between`.
    #[serde(default)]
    shown: Vec<String>,
    /// The pairs that it lies between.
    #[serde(default)]
    between: Vec<String>,
    /// Why no finding shows it.
    #[serde(default)]
    unseen: String,
}

#[derive(Debug, Deserialize)]
struct Catalogue {
    change: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "ref")]
    reference: String,
}

/// Changes that are to be seen and are not, and entries of the catalogue that are not in the list.
///
/// # Panics
/// Where a file is not what it should be.
pub fn unseen_changes() -> Vec<String> {
    let changes = toml::<File>("changes.toml").change;
    let mut missed = Vec::new();
    for change in &changes {
        let reference = &change.reference;
        if change.shown.is_empty() == change.unseen.is_empty() {
            missed.push(format!("{reference}: tell what shows it, or why nothing does"));
        }
        for pattern in &change.shown {
            for between in &change.between {
                let pair = PAIRS.into_iter().find(|pair| pair_name(*pair) == *between);
                let is_there = pair.is_some_and(|pair| findings(pair).iter().any(|it| it.fits(pattern)));
                if !is_there {
                    missed.push(format!("{reference}: {between} has no {pattern}"));
                }
            }
        }
    }
    let catalogue: Catalogue = ::toml::from_str(CATALOGUE).unwrap_or_else(|error| panic!("{error}"));
    let is_listed = |entry: &Entry| changes.iter().any(|change| change.reference.contains(&entry.reference));
    let unlisted = catalogue.change.iter().filter(|entry| !is_listed(entry));
    missed
        .extend(unlisted.map(|entry| format!("{} is in the catalogue and not in the list", entry.reference)));
    missed
}

/// The list as a table in Markdown.
pub fn changes_table() -> String {
    let mut out = "| change | what | found | in |\n| --- | --- | --- | --- |\n".to_owned();
    for change in toml::<File>("changes.toml").change {
        let Change { reference, what, shown, between, unseen } = change;
        let shown: Vec<String> = shown.iter().map(|it| format!("`{it}`")).collect();
        let found =
            if shown.is_empty() { format!("no: {unseen}") } else { format!("yes: {}", shown.join("<br>")) };
        out.extend([format!("| {reference} | {what} | {found} | {} |\n", between.join(", "))]);
    }
    out
}
