//! `critape calibrate`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use critape_differ::{Report, Rules, calibrate};
use critape_replayer::{Config, Pace, Replay, ReplayError};
use critape_tape::Tape;
use jiff::{Timestamp, tz::TimeZone};

use super::{one_thread, report};
use crate::args::{CalibrateArgs, PaceArg};
use crate::exit::Exit;
use crate::output::{self, progress};
use crate::signals;

pub(crate) fn run(args: &CalibrateArgs) -> Result<Exit> {
    if args.speed.is_some() && args.pace != PaceArg::Recorded {
        bail!("--speed is for the recorded pace: leave it out, or --pace");
    }
    let folder =
        args.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("{}: its folder is not there: make it first", args.output.display());
    }
    let rules = report::rules(&args.rules)?;
    let mut reports = Vec::new();
    for run in 1..=args.runs {
        reports.push(replay(args, &rules, run)?);
    }
    let source = source(&reports, args.runs);
    let learned = calibrate(&reports, &rules, &source);
    // What is written must be readable, whatever values there were.
    Rules::parse(&args.output.display().to_string(), &learned.text)?;
    fs::write(&args.output, &learned.text).with_context(|| format!("writing {}", args.output.display()))?;
    output::say(format_args!("{}: {} rules from {source}", args.output.display(), learned.rules));
    for line in &learned.left {
        output::say(format_args!("still a finding: {line}"));
    }
    Ok(Exit::Done)
}

fn replay(args: &CalibrateArgs, rules: &Rules, run: u32) -> Result<Report> {
    let config = Config {
        pace: match args.pace {
            PaceArg::Recorded => Pace::Recorded(args.speed.unwrap_or(1.0)),
            PaceArg::Max => Pace::Max,
            PaceArg::Serial => Pace::Serial,
        },
        max_idle: args.max_idle,
        settle: args.settle,
        rules: rules.clone(),
        share: args.share,
        allow_node_changes: args.allow_node_changes,
        ..Config::new(args.endpoints.asked().resolve()?)
    };
    let replay = Replay::of(&Tape::open(&args.tape)?, config)?;
    one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let bar = progress(&format!("run {run} of {}", args.runs), replay.calls() as u64);
        let shown = bar.clone();
        let found: Result<Report, ReplayError> =
            replay.run(shutdown, move |progress| shown.set_position(progress.done as u64)).await;
        bar.finish_and_clear();
        Ok(found?)
    })
}

/// Which runtime it was learnt on, and when.
fn source(reports: &[Report], runs: u32) -> String {
    let side = reports.first().map(|report| report.live.clone()).unwrap_or_default();
    let day = Timestamp::now().to_zoned(TimeZone::UTC).date();
    format!("calibrated on {} {}, {day}, {runs} runs", side.runtime, side.version)
}
