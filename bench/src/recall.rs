//! What replays find: each regression alone in the simulator, by name and in its place, and nothing in the simulator as it was.

mod replay;
mod tapes;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use critape_simulator::{Regression, regressions};

use crate::args::RecallArgs;
use replay::{Answer, Found, replay};
use tapes::{Recording, Workload, record};

/// What a replay on a runtime with one regression told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is what the report begins with.
    Found,
    /// It is in the report, behind something else.
    Later,
    Missed,
}

impl Verdict {
    fn of(regression: &Regression, answer: &Answer) -> Self {
        let shows = |found: &Found| regression.shows().iter().any(|(rpc, path)| found.is_at(rpc, path));
        match answer.findings.iter().position(shows) {
            Some(0) => Self::Found,
            Some(_) => Self::Later,
            None => Self::Missed,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Later => "not first",
            Self::Missed => "MISSED",
        }
    }
}

pub(crate) fn measure(args: &RecallArgs) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tapes = [Workload::Demo, Workload::Broad]
        .map(|workload| record(workload, args.seed, folder.path()))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for tape in &tapes {
        println!("{}: {} calls", tape.workload.name(), tape.calls);
    }
    let missed = recall(args, &tapes, folder.path())?;
    let untrue = false_findings(args, &tapes, folder.path())?;
    ensure!(missed.is_empty(), "not found, or not first: {}", missed.join(", "));
    ensure!(untrue == 0, "{untrue} false findings");
    Ok(())
}

/// Those that the broad tape does not bring to light as it should, by name.
fn recall(args: &RecallArgs, tapes: &[Recording], folder: &Path) -> Result<Vec<&'static str>> {
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let regressions: Vec<&Regression> = regressions().iter().filter(|it| wanted(it.name())).collect();
    ensure!(!regressions.is_empty(), "no regression is called so");
    let mut missed = Vec::new();
    for tape in tapes {
        println!("\n{:<18} {:<9} {:>7}  first finding", tape.workload.name(), "verdict", "took");
        let mut found = 0;
        for regression in &regressions {
            let begun = Instant::now();
            let answer = replay(tape, pace(args), &["--regression", regression.name()], folder)?;
            let verdict = Verdict::of(regression, &answer);
            let first = answer.findings.first().map_or_else(|| "-".to_owned(), Found::to_string);
            println!(
                "{:<18} {:<9} {:>6.1}s  {first}",
                regression.name(),
                verdict.text(),
                begun.elapsed().as_secs_f64()
            );
            if verdict == Verdict::Found {
                found += 1;
                continue;
            }
            if tape.workload.brings_out_all() {
                missed.push(regression.name());
                tell_more(regression, &answer);
            }
        }
        println!("{found} of {} found", regressions.len());
    }
    Ok(missed)
}

fn pace(args: &RecallArgs) -> &'static [&'static str] {
    if args.paced { &["--pace", "recorded", "--speed", "10"] } else { &["--pace", "max"] }
}

/// Where it should have been, and what was there in its stead.
fn tell_more(regression: &Regression, answer: &Answer) {
    for (rpc, path) in regression.shows() {
        println!("    expected {rpc} {path}");
    }
    for found in answer.findings.iter().skip(1).take(5) {
        println!("    then     {found}");
    }
    for reason in &answer.inconclusive {
        println!("    {reason}");
    }
}

/// How many findings there are on simulators that are as they were, of other seeds.
fn false_findings(args: &RecallArgs, tapes: &[Recording], folder: &Path) -> Result<usize> {
    let mut untrue = 0;
    println!(
        "\n{:<8} {:>5}  {:>9} {:>13} {:>8}",
        "unchanged", "seeds", "compared", "inconclusive", "findings"
    );
    for tape in tapes {
        let (mut compared, mut inconclusive, mut findings) = (0, 0, 0);
        for seed in 0..args.seeds {
            let answer = replay(tape, pace(args), &["--seed", &seed.to_string()], folder)?;
            compared += answer.compared;
            inconclusive += answer.inconclusive_calls;
            findings += answer.findings.len();
            for found in &answer.findings {
                println!("    seed {seed}: {found}");
            }
        }
        println!(
            "{:<9} {:>5}  {compared:>9} {inconclusive:>13} {findings:>8}",
            tape.workload.name(),
            args.seeds
        );
        untrue += findings;
    }
    Ok(untrue)
}
