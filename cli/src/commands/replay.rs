//! `critape replay`, and how it and `calibrate` replay.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use critape_calls::{Call, ObjectIndex};
use critape_differ::{Report, Rules};
use critape_replayer::{
    Config, Credentials, ImageMapping, MAX_CREDENTIALS_BYTES, Pace, RecordingError, Replay, Selection,
    look_back,
};
use critape_tape::{SealPolicy, Tape};

use super::{clean, one_thread, preflight, report, told};
use crate::args::{PaceArg, ReplayArgs, WayArgs};
use crate::exit::Exit;
use crate::filter::Filter;
use crate::output::{self, progress};
use crate::signals;

/// Whether what a preflight finds is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preamble {
    Said,
    Kept,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<Exit> {
    if args.clean {
        return clean::run(&args.way.endpoints, args.report.output);
    }
    let Some(tape) = &args.tape else { bail!("a tape is needed: name its folder") };
    report::check_files(&args.report)?;
    if args.preflight {
        preflight::check(&args.report)?;
    }
    let rules = report::rules(&args.report.rules)?;
    let config = Config { max_inconclusive: args.report.max_inconclusive, ..config(&args.way, rules)? };
    let options = told::of_replay(args, &config);
    let filter = Filter::new(args.filter.clone())?;
    let opened = Tape::open(tape)?;
    let any_matches = Cell::new(false);
    let is_meant = |call: &Call, objects: &ObjectIndex| {
        let matches = filter.matches(call, objects);
        any_matches.set(any_matches.get() || matches);
        matches
    };
    let replay = if args.filter.is_empty() {
        Replay::of(&opened, config)?
    } else {
        let part = Selection { calls: &is_meant, since: args.filter.since, until: args.filter.until };
        Replay::of_selected(&opened, &part, config)?
    };
    if !args.filter.is_empty() && !any_matches.get() {
        return Err(RecordingError::NoneSelected(tape.clone()).into());
    }
    note(tape, &args.way, &replay);
    if args.preflight {
        return preflight::run(&replay, &args.report);
    }
    let mut found = watched(replay, "replaying", Preamble::Said)?;
    found.options = options;
    look_back(&opened, &mut found)?;
    report::give(&found, &args.report)
}

/// How a tape is replayed, by these rules.
pub(super) fn config(args: &WayArgs, rules: Rules) -> Result<Config> {
    if let Some((one, other)) = ImageMapping::contradiction(&args.map_images) {
        bail!("--map-image {one} and --map-image {other} are about the same image: leave one of them out");
    }
    let usual = Config::new(args.endpoints.asked().resolve()?);
    Ok(Config {
        pace: match args.pace {
            PaceArg::Recorded => Pace::Recorded(args.speed.unwrap_or(1.0)),
            PaceArg::Max => Pace::Max,
            PaceArg::Serial => Pace::Serial,
        },
        max_idle: args.max_idle.unwrap_or(usual.max_idle),
        every_poll: args.every_poll,
        settle: args.settle,
        give_up: args.give_up,
        rules,
        map_images: args.map_images.clone(),
        credentials: args.registry_auth.as_deref().map(credentials).transpose()?,
        share: args.share,
        allow_node_changes: args.allow_node_changes,
        ..usual
    })
}

/// Reads credentials; no error shows any of them.
fn credentials(path: &Path) -> Result<Credentials> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    // One byte more tells that there is too much.
    file.take(MAX_CREDENTIALS_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {}", path.display()))?;
    Credentials::parse(&text).with_context(|| format!("reading credentials from {}", path.display()))
}

/// Says what goes out otherwise than it was recorded, because the tape's key is not here; and what was asked for and is of no use.
pub(super) fn note(tape: &Path, args: &WayArgs, replay: &Replay) {
    if replay.sealed() != SealPolicy::None {
        let others = if args.registry_auth.is_some() { " and not in --registry-auth" } else { "" };
        output::say(format_args!(
            "note: {} is sealed and its key is not here: environment goes out sealed, and calls whose command or credentials are \
             sealed{others} are inconclusive",
            tape.display()
        ));
    }
    let along = replay.going_along();
    if along > 0 {
        let (calls, go) = if along == 1 { ("call", "goes") } else { ("calls", "go") };
        output::say(format_args!(
            "note: {along} more {calls} {go} along, from which those that were chosen follow; idle stretches beside such calls are cut to 1 s"
        ));
    }
    if let Some(without_effect) = without_effect(args) {
        output::say(format_args!("note: {without_effect}"));
    }
    for mapping in replay.unused_mappings() {
        output::say(format_args!("note: --map-image {mapping}: no image on the tape is named so"));
    }
}

/// Which flags say something of the recorded pace, where another one was asked for.
fn without_effect(args: &WayArgs) -> Option<String> {
    let pace = match args.pace {
        PaceArg::Recorded => return None,
        PaceArg::Max => "max",
        PaceArg::Serial => "serial",
    };
    let given = [
        (args.speed.is_some(), "--speed"),
        (args.max_idle.is_some(), "--max-idle"),
        (args.every_poll, "--every-poll"),
    ];
    let given: Vec<_> = given.into_iter().filter_map(|(is_given, flag)| is_given.then_some(flag)).collect();
    let have = if given.len() == 1 { "has" } else { "have" };
    (!given.is_empty()).then(|| format!("{} {have} no effect with --pace {pace}", given.join(", ")))
}

/// Replays, and shows how far it has come.
pub(super) fn watched(replay: Replay, title: &str, preamble: Preamble) -> Result<Report> {
    one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let bar = progress(title, replay.calls() as u64);
        let shown = bar.clone();
        let begin = |found: &critape_replayer::Preflight| {
            if preamble == Preamble::Said {
                bar.suspend(|| preflight::say(found));
            }
        };
        let ran = replay.run(shutdown, begin, move |progress| shown.set_position(progress.done as u64));
        let found = Box::pin(ran).await;
        bar.finish_and_clear();
        Ok(found?)
    })
}
