//! `critape calibrate`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use critape_differ::{Report, Rules, calibrate};
use critape_replayer::{Config, Replay};
use critape_tape::Tape;
use jiff::{Timestamp, tz::TimeZone};

use super::replay::{self, Preamble};
use super::report;
use crate::args::CalibrateArgs;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(args: &CalibrateArgs) -> Result<Exit> {
    let folder =
        args.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("{}: its folder is not there: make it first", args.output.display());
    }
    if args.output.is_dir() {
        bail!("{} is a folder: give the name of a file in it", args.output.display());
    }
    let rules = report::rules(&args.rules)?;
    let mut reports = Vec::new();
    for run in 1..=args.runs {
        // What comes and goes shows in one poll of many.
        let config = Config { every_poll: true, ..replay::config(&args.way, rules.clone())? };
        let replay = Replay::of(&Tape::open(&args.tape)?, config)?;
        if run == 1 {
            replay::note(&args.tape, &args.way, &replay);
        }
        let preamble = if run == 1 { Preamble::Said } else { Preamble::Kept };
        let title = format!("run {run} of {}", args.runs);
        reports.push(replay::watched(replay, &title, preamble)?);
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

/// Which runtime it was learnt on, and when.
fn source(reports: &[Report], runs: u32) -> String {
    let side = reports.first().map(|report| report.live.clone()).unwrap_or_default();
    let day = Timestamp::now().to_zoned(TimeZone::UTC).date();
    format!("calibrated on {} {}, {day}, {runs} runs", side.runtime, side.version)
}
