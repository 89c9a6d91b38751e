//! `critape diff`.

use anyhow::{Result, anyhow};
use critape_calls::{Live, Recorded};
use critape_replayer::{Recording, compare_tapes, look_back};
use critape_tape::{SealPolicy, Tape};

use super::report;
use crate::args::DiffArgs;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(args: &DiffArgs) -> Result<Exit> {
    report::check_files(&args.report)?;
    let rules = report::rules(&args.report.rules)?;
    let tape = Tape::open(&args.recorded)?;
    let other = Tape::open(&args.live)?;
    let (recorded, live) = std::thread::scope(|both| {
        let live = both.spawn(|| Recording::read(&other));
        (Recording::read(&tape), live.join())
    });
    let (recorded, live) =
        (recorded?, live.map_err(|_| anyhow!("reading {} broke off", args.live.display()))??);
    for (tape, recording) in [(&args.recorded, &recorded), (&args.live, &live)] {
        if recording.sealed != SealPolicy::None {
            output::say(format_args!(
                "note: {} is sealed and its key is not here: what is sealed in it counts as the same",
                tape.display()
            ));
        }
    }
    let mut found = compare_tapes(Recorded(&recorded), Live(&live), &rules, args.report.max_inconclusive);
    found.preflight = [&recorded, &live].into_iter().filter_map(Recording::sealed_limitation).collect();
    // The program is about to end: taking two long tapes apart in memory would be for nothing.
    std::mem::forget((recorded, live));
    look_back(&tape, &mut found)?;
    report::give(&found, &args.report)
}
