//! `critape diff`.

use anyhow::Result;
use critape_calls::{Live, Recorded};
use critape_replayer::{Recording, compare_tapes};
use critape_tape::Tape;

use super::report;
use crate::args::DiffArgs;
use crate::exit::Exit;

pub(crate) fn run(args: &DiffArgs) -> Result<Exit> {
    report::check_files(&args.report)?;
    let rules = report::rules(&args.report)?;
    let recorded = Recording::read(&Tape::open(&args.recorded)?)?;
    let live = Recording::read(&Tape::open(&args.live)?)?;
    let found = compare_tapes(Recorded(&recorded), Live(&live), &rules, args.report.max_inconclusive);
    report::give(&found, &args.report)
}
