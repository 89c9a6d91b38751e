//! What a replay and a comparison of long tapes take: time, memory, and whether every call was sent.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::args::ReplayArgs;
use crate::lanes;
use crate::load::on_one_thread;
use crate::node::Node;
use crate::process::{built_beside, peak_of};

const PODS: usize = 40;
/// Budgets for 100 000 calls; shorter tapes have as much less.
const CALLS: f64 = 100_000.0;
const REPLAY_SECONDS: f64 = 20.0;
const DIFF_SECONDS: f64 = 5.0;
pub(crate) const PEAK_BYTES: u64 = 200 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) fn measure(args: &ReplayArgs) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (first, alone) = record(&folder.path().join("first"), args.calls)?;
    let (second, _) = record(&folder.path().join("second"), args.calls)?;
    let share = args.calls as f64 / CALLS;
    let live = folder.path().join("live");
    fs::create_dir(&live)?;
    let (simulator, upstream) = lanes::simulator(&live)?;
    let replay =
        ["replay".into(), first.clone(), "--pace".into(), "max".into(), "-r".into(), upstream.socket];
    let replayed = run(&replay)?;
    simulator.stop()?;
    let calls = &replayed.report["calls"];
    replayed.print();
    println!("that is × {:.2} of what their client took, recorded", replayed.took.div_duration_f64(alone));
    let served = served(&live)?;
    println!("the simulator received {served} calls");
    let compared = run(&["diff".into(), first, second])?;
    println!(
        "diff of two such tapes: {:.1} s, peak {:.0} MiB; findings {}",
        compared.took.as_secs_f64(),
        compared.peak as f64 / f64::from(1 << 20),
        findings(&compared.report),
    );
    ensure!(calls["sent"] == calls["recorded"], "rejected: not every call was sent");
    ensure!(
        served >= calls["sent"].as_u64().unwrap_or(u64::MAX),
        "rejected: the simulator did not get every call"
    );
    ensure!(
        findings(&replayed.report) == 0 && findings(&compared.report) == 0,
        "rejected: something differed"
    );
    ensure!(replayed.took.as_secs_f64() <= REPLAY_SECONDS * share.max(0.05), "the replay took too long");
    ensure!(replayed.peak <= PEAK_BYTES, "the replay took too much memory");
    ensure!(compared.took.as_secs_f64() <= DIFF_SECONDS * share.max(0.05), "the comparison took too long");
    Ok(())
}

/// Records so many calls of a node with forty pods; gives the tape, and how long the calls took.
fn record(folder: &Path, calls: u64) -> Result<(PathBuf, Duration)> {
    fs::create_dir(folder)?;
    let (simulator, upstream) = lanes::simulator(folder)?;
    let socket = folder.join("on.sock");
    // All of it is wanted, on a busy machine too.
    let recorder = lanes::recorder(&upstream, &socket, folder, &["--on-overload", "block"])?;
    let begun = Instant::now();
    let made = on_one_thread(async {
        let node = Node::connect(&socket).await?;
        node.boot(PODS).await?;
        for second in 0.. {
            node.idle(second).await?;
            node.busy(second).await?;
            if node.made() >= calls {
                break;
            }
        }
        Ok(node.made())
    })?;
    let took = begun.elapsed();
    let recorded = lanes::stop_recorder(recorder, folder, made)?;
    ensure!(recorded.gaps == 0, "rejected: the tape has a gap");
    simulator.stop()?;
    println!(
        "recorded {made} calls of {PODS} pods, {} MB on the wire, in {:.1} s",
        recorded.wire / 1_000_000,
        took.as_secs_f64()
    );
    Ok((lanes::tape(folder), took))
}

pub(crate) struct Run {
    pub(crate) report: Value,
    took: Duration,
    pub(crate) peak: u64,
}

impl Run {
    /// What a replay at full speed took and came to.
    pub(crate) fn print(&self) {
        let calls = &self.report["calls"];
        println!(
            "replay of {} calls at full speed: {:.1} s, peak {:.0} MiB; sent {}, compared {}, inconclusive {}, findings {}",
            calls["recorded"],
            self.took.as_secs_f64(),
            self.peak as f64 / f64::from(1 << 20),
            calls["sent"],
            calls["compared"],
            calls["inconclusive"],
            findings(&self.report),
        );
    }
}

/// Runs critape until it ends, and looks at its memory.
pub(crate) fn run(args: &[PathBuf]) -> Result<Run> {
    let begun = Instant::now();
    let report = tempfile::NamedTempFile::with_suffix(".json")?;
    let mut child = Command::new(built_beside("critape")?)
        .args(args)
        .arg("--report")
        .arg(report.path())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting critape")?;
    let mut peak = 0;
    let status = loop {
        if let Ok(now) = peak_of(child.id()) {
            peak = peak.max(now);
        }
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    let took = begun.elapsed();
    if !matches!(status.code(), Some(0..=2)) {
        bail!("critape ended with {status}");
    }
    Ok(Run { report: serde_json::from_slice(&fs::read(report.path())?)?, took, peak })
}

pub(crate) fn findings(report: &Value) -> usize {
    report["findings"].as_array().map_or(0, Vec::len)
}

/// What the simulator counted.
fn served(folder: &Path) -> Result<u64> {
    let log = fs::read_to_string(folder.join("simulator.log"))?;
    let count = log.lines().find_map(|line| line.strip_prefix("served ")?.split(' ').next());
    Ok(count.context("the simulator did not say how many calls it served")?.parse()?)
}
