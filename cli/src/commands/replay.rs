//! `critape replay`, and how it and `calibrate` replay.

use anyhow::{Result, bail};
use critape_calls::{Call, ObjectIndex};
use critape_differ::{Report, Rules};
use critape_replayer::{Config, Pace, Replay, look_back};
use critape_tape::{SealPolicy, Tape};

use super::{one_thread, report};
use crate::args::{PaceArg, ReplayArgs, WayArgs};
use crate::exit::Exit;
use crate::filter::Filter;
use crate::output::{self, progress};
use crate::signals;

pub(crate) fn run(args: &ReplayArgs) -> Result<Exit> {
    report::check_files(&args.report)?;
    let rules = report::rules(&args.report.rules)?;
    let config = Config { max_inconclusive: args.report.max_inconclusive, ..config(&args.way, rules)? };
    let filter = Filter::new(args.filter.clone())?;
    let tape = Tape::open(&args.way.tape)?;
    let is_meant = |call: &Call, objects: &ObjectIndex| filter.matches(call, objects) || filter.needs(call);
    let replay = Replay::of_selected(&tape, &is_meant, config)?;
    note_sealed(&args.way, &replay);
    let mut found = watched(replay, "replaying")?;
    look_back(&tape, &mut found)?;
    report::give(&found, &args.report)
}

/// How a tape is replayed, by these rules.
pub(super) fn config(args: &WayArgs, rules: Rules) -> Result<Config> {
    if args.speed.is_some() && args.pace != PaceArg::Recorded {
        bail!("--speed is for the recorded pace: leave it out, or --pace");
    }
    Ok(Config {
        pace: match args.pace {
            PaceArg::Recorded => Pace::Recorded(args.speed.unwrap_or(1.0)),
            PaceArg::Max => Pace::Max,
            PaceArg::Serial => Pace::Serial,
        },
        max_idle: args.max_idle,
        every_poll: args.every_poll,
        settle: args.settle,
        rules,
        share: args.share,
        allow_node_changes: args.allow_node_changes,
        ..Config::new(args.endpoints.asked().resolve()?)
    })
}

/// Says what goes out otherwise than it was recorded, because the tape's key is not here.
pub(super) fn note_sealed(args: &WayArgs, replay: &Replay) {
    if replay.sealed() != SealPolicy::None {
        output::say(format_args!(
            "note: {} is sealed and its key is not here: environment goes out sealed, and calls whose command or credentials are \
             sealed are inconclusive",
            args.tape.display()
        ));
    }
}

/// Replays, and shows how far it has come.
pub(super) fn watched(replay: Replay, title: &str) -> Result<Report> {
    one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let bar = progress(title, replay.calls() as u64);
        let shown = bar.clone();
        let found = replay.run(shutdown, move |progress| shown.set_position(progress.done as u64)).await;
        bar.finish_and_clear();
        Ok(found?)
    })
}
