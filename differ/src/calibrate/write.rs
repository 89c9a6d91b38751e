//! Writes what was learnt as a rules file.

use std::fmt::Write as _;

use super::learn::{Learned, Lesson};
use super::{Place, rpc};

/// The file: a head, each rule under a comment on what was seen, and what was left out.
pub(super) fn file(entries: &[(Place, Lesson)], left: &[String], source: &str, runs: usize) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = writeln!(out, "# What differed between {runs} replays of one tape on one runtime: {source}.");
    let _ =
        writeln!(out, "#\n# Read each rule before you use it: it lets pass what it says, in every replay.");
    for (place, lesson) in entries {
        let _ = writeln!(out, "\n# {}", one_line(&lesson.seen));
        let _ = entry(&mut out, place, lesson, source);
    }
    if !left.is_empty() {
        let _ = writeln!(out, "\n# Without a rule, and still a finding:");
        for line in left {
            let _ = writeln!(out, "#   {}", one_line(line));
        }
    }
    out
}

fn entry(out: &mut String, place: &Place, lesson: &Lesson, source: &str) -> std::fmt::Result {
    let is_list = matches!(lesson.relation, Learned::AnyOrder(_));
    writeln!(out, "[[{}]]", if is_list { "list" } else { "rule" })?;
    writeln!(out, "name = {}", quoted(&format!("noise: {} {}", rpc(&place.method), place.path)))?;
    writeln!(out, "method = [{}]", quoted(rpc(&place.method)))?;
    writeln!(out, "path = [{}]", quoted(&place.path.to_pattern()))?;
    match &lesson.relation {
        Learned::Timestamp => writeln!(out, "relation = \"timestamp\"")?,
        Learned::Sometime => writeln!(out, "relation = \"sometime\"")?,
        Learned::Optional => writeln!(out, "relation = \"optional\"")?,
        Learned::Text => writeln!(out, "relation = \"text\"")?,
        Learned::Presence => writeln!(out, "relation = \"presence\"")?,
        Learned::Range { min, max } => writeln!(out, "relation = \"range\"\nmin = {min:?}\nmax = {max:?}")?,
        Learned::OneOf(values) => {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            writeln!(out, "relation = \"oneof\"\nvalues = [{}]", values.join(", "))?;
        }
        Learned::Pattern(pattern) => writeln!(out, "relation = \"pattern\"\npattern = {}", quoted(pattern))?,
        Learned::AnyOrder(keys) => {
            let keys: Vec<String> = keys
                .iter()
                .map(|key| {
                    format!("[{}]", key.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(", "))
                })
                .collect();
            writeln!(out, "keys = [{}]\norder = \"any\"", keys.join(", "))?;
        }
    }
    writeln!(out, "reason = \"it differs from run to run\"")?;
    writeln!(out, "source = {}", quoted(source))
}

/// A TOML string: those of JSON are some.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
