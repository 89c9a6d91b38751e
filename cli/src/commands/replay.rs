//! `critape replay`.

use anyhow::{Result, bail};
use critape_calls::{Call, ObjectIndex};
use critape_replayer::{Config, Pace, Replay, look_back};
use critape_tape::{SealPolicy, Tape};

use super::{one_thread, report};
use crate::args::{PaceArg, ReplayArgs};
use crate::exit::Exit;
use crate::filter::Filter;
use crate::output::{self, progress};
use crate::signals;

pub(crate) fn run(args: &ReplayArgs) -> Result<Exit> {
    report::check_files(&args.report)?;
    if args.speed.is_some() && args.pace != PaceArg::Recorded {
        bail!("--speed is for the recorded pace: leave it out, or --pace");
    }
    let endpoints = args.endpoints.asked().resolve()?;
    let config = Config {
        pace: match args.pace {
            PaceArg::Recorded => Pace::Recorded(args.speed.unwrap_or(1.0)),
            PaceArg::Max => Pace::Max,
            PaceArg::Serial => Pace::Serial,
        },
        max_idle: args.max_idle,
        settle: args.settle,
        rules: report::rules(&args.report.rules)?,
        share: args.share,
        allow_node_changes: args.allow_node_changes,
        max_inconclusive: args.report.max_inconclusive,
        ..Config::new(endpoints)
    };
    let filter = Filter::new(args.filter.clone())?;
    let tape = Tape::open(&args.tape)?;
    let is_meant = |call: &Call, objects: &ObjectIndex| filter.matches(call, objects) || filter.needs(call);
    let replay = Replay::of_selected(&tape, &is_meant, config)?;
    if replay.sealed() != SealPolicy::None {
        output::say(format_args!(
            "note: {} is sealed and its key is not here: environment goes out sealed, and calls whose command or credentials are \
             sealed are inconclusive",
            args.tape.display()
        ));
    }
    let mut found = one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let bar = progress("replaying", replay.calls() as u64);
        let shown = bar.clone();
        let found = replay.run(shutdown, move |progress| shown.set_position(progress.done as u64)).await;
        bar.finish_and_clear();
        anyhow::Ok(found?)
    })?;
    look_back(&tape, &mut found)?;
    report::give(&found, &args.report)
}
