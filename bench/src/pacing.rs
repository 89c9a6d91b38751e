//! How late the calls of a replay are at the recorded pace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::args::PacingArgs;
use crate::lanes;
use crate::load::{Random, Timer, on_one_thread};
use crate::node::Node;
use crate::replay::{findings, run};
use crate::stats::Spread;

const PODS: usize = 20;
/// How many calls a second of a node's life is, on average.
const CALLS_A_SECOND: f64 = 4.5;
/// What the 99th percentile may be, in µs.
const MOST: f64 = 2000.0;

/// What one replay told, in µs.
struct Lateness {
    p50: f64,
    p99: f64,
    max: f64,
}

pub(crate) fn measure(args: &PacingArgs) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tape = record(&folder.path().join("recorded"), args)?;
    println!(
        "  {:>5} {:>7} {:>8} {:>9} {:>9} {:>9}",
        "ROUND", "SENT", "HELD UP", "P50 µs", "P99 µs", "MAX µs"
    );
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        let live = folder.path().join(format!("live-{round}"));
        let lateness = replay(&tape, &live, round)?;
        rounds.push(lateness);
    }
    let spread = |of: fn(&Lateness) -> f64| Spread::of(rounds.iter().map(of));
    let p99 = spread(|round| round.p99);
    println!(
        "late by: p50 {}, p99 {p99}, at most {} µs; median [quartiles] of {} rounds",
        spread(|round| round.p50),
        spread(|round| round.max),
        rounds.len()
    );
    let verdict = if p99.median <= MOST { "met" } else { "MISSED" };
    println!("p99 at most {MOST:.0} µs: {verdict}");
    ensure!(p99.median <= MOST, "the pace was not kept");
    Ok(())
}

/// Replays once, every call, on a new simulator.
fn replay(tape: &Path, live: &Path, round: usize) -> Result<Lateness> {
    fs::create_dir(live)?;
    let (simulator, upstream) = lanes::simulator(live)?;
    let args = ["replay".into(), tape.to_owned(), "--every-poll".into(), "-r".into(), upstream.socket];
    let report = run(&args)?.report;
    simulator.stop()?;
    let (calls, timing) = (&report["calls"], &report["timing"]);
    ensure!(calls["sent"] == calls["recorded"], "rejected: not every call was sent");
    ensure!(findings(&report) == 0, "rejected: something differed");
    let micros = |name: &str| -> Result<f64> {
        let nanos = timing["lateness"][name].as_f64();
        Ok(nanos.context("rejected: the report does not tell how late calls were")? / 1e3)
    };
    let lateness = Lateness { p50: micros("p50")?, p99: micros("p99")?, max: micros("max")? };
    println!(
        "  {round:>5} {:>7} {:>8} {:>9.0} {:>9.0} {:>9.0}",
        number(&calls["sent"]),
        number(&timing["held_up"]["calls"]),
        lateness.p50,
        lateness.p99,
        lateness.max
    );
    Ok(lateness)
}

/// Records a node whose time goes so fast that it makes so many calls a second, on two connections at once.
fn record(folder: &Path, args: &PacingArgs) -> Result<PathBuf> {
    fs::create_dir(folder)?;
    let (simulator, upstream) = lanes::simulator(folder)?;
    let socket = folder.join("on.sock");
    let recorder = lanes::recorder(&upstream, &socket, folder, &[])?;
    let made = on_one_thread(async {
        let (node, other) = (Node::connect(&socket).await?, Node::connect(&socket).await?);
        node.boot(PODS).await?;
        let (end, second) =
            (Instant::now() + Duration::from_secs_f64(args.seconds), CALLS_A_SECOND * 2.0 / args.rate);
        tokio::try_join!(live(&node, true, second, end), live(&other, false, second, end))?;
        Ok(node.made() + other.made())
    })?;
    let recorded = lanes::stop_recorder(recorder, folder, made)?;
    ensure!(recorded.gaps == 0, "rejected: the tape has a gap");
    simulator.stop()?;
    println!(
        "recorded {made} calls of {PODS} pods in {:.0} s; replayed as recorded, each call at its time",
        args.seconds
    );
    Ok(lanes::tape(folder))
}

/// Lives until `end`, each second in `length`, give or take a half.
async fn live(node: &Node, is_busy: bool, length: f64, end: Instant) -> Result<()> {
    let (timer, mut random) = (Timer::new()?, Random(u64::from(is_busy)));
    let mut due = Instant::now();
    for second in 0.. {
        due += Duration::from_secs_f64(length * (0.5 + random.share()));
        if due >= end {
            break;
        }
        timer.until(due).await?;
        node.idle(second).await?;
        if is_busy {
            node.busy(second).await?;
        }
    }
    Ok(())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
