//! What became of the changes, as people read it.

use std::path::Path;

use critape_differ::Rules;
use critape_replayer::Recording;

use super::tally::{Share, Tally};

/// Violations shown of one tape.
const SHOWN: usize = 40;

pub(super) fn print(file: &Path, recording: &Recording, tally: &Tally, rules: &Rules) {
    let name = file.file_name().unwrap_or_default().display();
    let calls = recording.count();
    println!("{name}: {} {}, {calls} calls", recording.side.runtime, recording.side.version);
    let Share { all, found } = tally.all;
    println!(
        "{} response messages ({} events of objects that no call made, and {} calls, are never compared), {all} changes: {found} found ({}), {} let pass by a rule",
        tally.messages,
        tally.foreign_events,
        tally.left_out,
        percent(found, all),
        all - found,
    );
    println!("\n  {:<26} {:>9} {:>8}  relation", "rule", "let pass", "share");
    let mut passed: Vec<(&String, &u64)> = tally.passed.iter().collect();
    passed.sort_by_key(|(rule, count)| (std::cmp::Reverse(**count), *rule));
    for (rule, count) in passed {
        let of_field = rules.iter().find(|it| it.name == *rule).map(|it| it.relation.to_string());
        let of_list = || rules.lists().find(|it| it.name == *rule).map(|it| format!("order {}", it.order));
        let relation = of_field.or_else(of_list).unwrap_or_else(|| "built in".to_owned());
        println!("  {rule:<26} {count:>9} {:>8}  {relation}", percent(*count, all));
    }
    println!("\n  {:<26} {:>9} {:>8}", "change", "made", "found");
    for (change, share) in &tally.by_change {
        println!("  {:<26} {:>9} {:>8}", change.to_string(), share.all, percent(share.found, share.all));
    }
    let violations = tally.violations();
    println!("\n  {} places with a message; {} violations", tally.places(), violations.len());
    violations.iter().take(SHOWN).for_each(|violation| println!("    {violation}"));
    println!();
}

fn percent(part: u64, all: u64) -> String {
    format!("{:.2} %", 100.0 * part as f64 / all.max(1) as f64)
}
