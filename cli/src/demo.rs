//! `critape demo`: the whole way on the embedded simulator.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use cri::Endpoint;
use cri::endpoint::Endpoints;
use cri::listen::{Door, bind};
use critape_differ::{Report, Verdict};
use critape_recorder::{Config as RecorderConfig, Recorder};
use critape_replayer::{Config as ReplayConfig, Replay, look_back};
use critape_simulator::{Config as SimulatorConfig, Regression, Simulator, serve};
use critape_tape::Tape;
use tokio::sync::oneshot;

use crate::args::DemoArgs;
use crate::commands::{many_threads, one_thread, print_report};
use crate::exit::Exit;
use crate::output::{self, Format, progress, short};
use crate::signals;

/// A regression that the second replay meets, and where it must show: RPC and path.
struct Expected {
    regression: &'static str,
    rpc: &'static str,
    path: &'static str,
}

const EXPECTED: [Expected; 6] = [
    Expected { regression: "containerd-10527", rpc: "StopContainer", path: "outcome.code" },
    Expected { regression: "containerd-12036", rpc: "Status", path: "runtime_handlers[]" },
    Expected { regression: "cri-o-9728", rpc: "PullImage", path: "image_ref" },
    Expected { regression: "cri-o-9846", rpc: "ContainerStatus", path: "status.exit_code" },
    Expected { regression: "cri-o-8240", rpc: "ListContainerStats", path: "stats[]" },
    Expected { regression: "cri-dockerd-299", rpc: "ImageStatus", path: "image.size" },
];

/// The simulator is quick to reach a state.
const SETTLE: Duration = Duration::from_secs(1);

/// What to type next.
const NEXT: &str = "\
Next, on a machine with a runtime:
  critape record node.tape -r unix:///run/containerd/containerd.sock --listen unix:///run/critape.sock
  crictl -r unix:///run/critape.sock pods          (or point kubelet's containerRuntimeEndpoint there)
  critape tape show node.tape
  critape replay node.tape -r unix:///run/other/containerd.sock
";

/// The program was told to end.
static TOLD_TO_END: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(args: &DemoArgs) -> Result<Exit> {
    let ended = show(args);
    while TOLD_TO_END.load(Ordering::Relaxed) {
        // Whatever it ended with, the other thread ends the program.
        thread::park();
    }
    ended
}

fn show(args: &DemoArgs) -> Result<Exit> {
    if let Some(kept) = &args.keep
        && kept.symlink_metadata().is_ok()
    {
        bail!("{} exists: give --keep a path where there is nothing yet", kept.display());
    }
    let folder = tempfile::Builder::new().prefix("critape-demo-").tempdir().context("making a folder")?;
    let tape = args.keep.clone().unwrap_or_else(|| folder.path().join("demo.tape"));
    leave_nothing_when_interrupted(folder.path());
    let begun = std::time::Instant::now();
    let steps = progress("recording", 3);
    record(folder.path(), &tape)?;
    steps.inc(1);
    steps.set_message("replaying");
    let (same, changed) = replay_both(folder.path(), &tape)?;
    steps.finish_and_clear();
    let missed = missed(&changed);
    if args.output == Format::Json {
        print_report(&changed, Format::Json)?;
    } else {
        tell(&tape, &same, &changed)?;
        writeln!(
            io::stdout(),
            "Took {}. Each is a bug that a released runtime had; `critape simulator --list-regressions` names all.\n",
            short(begun.elapsed())
        )?;
        if let Some(kept) = &args.keep {
            writeln!(io::stdout(), "The tape is kept in {}.", kept.display())?;
        }
        write!(io::stdout(), "{NEXT}")?;
    }
    if same.verdict != Verdict::Same || !missed.is_empty() {
        output::say(format_args!("error: the demo did not come out as it should: {}", missed.join(", ")));
        return Ok(Exit::Different);
    }
    Ok(Exit::Done)
}

/// Removes the demo's folder when the program is told to end, and ends it. Whoever tells it is heard from when this returns.
fn leave_nothing_when_interrupted(folder: &Path) {
    let folder = folder.to_owned();
    let (listens, is_listening) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        let Ok(runtime) = one_thread() else { return };
        let told = runtime.block_on(async {
            if let Ok(shutdown) = signals::shutdown() {
                let _ = listens.send(());
                shutdown.await;
                true
            } else {
                false
            }
        });
        if told {
            TOLD_TO_END.store(true, Ordering::Relaxed);
            // Files that are made in between may keep it from going at once.
            while std::fs::remove_dir_all(&folder).is_err() && folder.exists() {}
            std::process::exit(130);
        }
    });
    // An error where the thread can't listen, and has ended.
    let _ = is_listening.recv();
}

/// Records a kubelet's day, made short.
fn record(folder: &Path, tape: &Path) -> Result<()> {
    let upstream = Endpoint::at(folder.join("recorded.sock"))?;
    let listen = Endpoint::at(folder.join("critape.sock"))?;
    let simulator = Running::start(&upstream, Vec::new())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel::<()>();
    let config = RecorderConfig::new(upstream, listen.clone(), tape.to_owned());
    let recorder = thread::spawn(move || -> Result<()> {
        one_thread()?.block_on(async {
            let recorder = Recorder::bind(config).await?;
            let _ = ready.send(());
            recorder
                .run(async {
                    let _ = stopped.await;
                })
                .await?;
            Ok(())
        })
    });
    let driven = match is_ready.recv() {
        Ok(()) => one_thread()?.block_on(critape_workload::demo(&listen)).map_err(Into::into),
        // The recorder has ended, and says why when it is joined.
        Err(_) => Ok(()),
    };
    drop(stop);
    recorder.join().map_err(|_| anyhow!("the recorder ended unexpectedly"))??;
    simulator.stop();
    driven
}

/// Replays on the simulator as it was and on one with regressions, at the same time.
fn replay_both(folder: &Path, tape: &Path) -> Result<(Report, Report)> {
    let regressions = EXPECTED
        .iter()
        .map(|it| Regression::by_name(it.regression).with_context(|| it.regression.to_owned()))
        .collect::<Result<Vec<_>>>()?;
    let tape = Tape::open(tape)?;
    let of = |socket: &str| -> Result<Replay> {
        let config = ReplayConfig::new(Endpoints::both_at(Endpoint::at(folder.join(socket))?));
        Ok(Replay::of(&tape, ReplayConfig { settle: SETTLE, ..config })?)
    };
    let (same, changed) = (of("same.sock")?, of("changed.sock")?);
    let first = Running::start(&Endpoint::at(folder.join("same.sock"))?, Vec::new())?;
    let second = Running::start(&Endpoint::at(folder.join("changed.sock"))?, regressions)?;
    let other = thread::spawn(move || replay(changed));
    let same = replay(same)?;
    let mut changed = other.join().map_err(|_| anyhow!("a replay ended unexpectedly"))??;
    look_back(&tape, &mut changed)?;
    first.stop();
    second.stop();
    Ok((same, changed))
}

fn replay(replay: Replay) -> Result<Report> {
    Ok(one_thread()?.block_on(replay.run(std::future::pending(), |_| {}, |_| {}))?)
}

/// A simulator on a thread of its own.
struct Running {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    fn start(endpoint: &Endpoint, regressions: Vec<Regression>) -> Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let endpoint = endpoint.clone();
        let thread = thread::spawn(move || {
            let Ok(runtime) = many_threads() else { return };
            runtime.block_on(async {
                let bound = bind(&endpoint, Door::Owner).await;
                let (listener, _file) = match bound {
                    Ok(bound) => bound,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                let simulator = Simulator::new(SimulatorConfig { regressions, ..SimulatorConfig::default() });
                let served = serve(simulator, listener, async {
                    let _ = stopped.await;
                });
                if let Err(error) = served.await {
                    tracing::warn!(%error, "the simulator ended");
                }
            });
        });
        is_ready.recv().context("starting the simulator")??;
        Ok(Self { stop, thread })
    }

    fn stop(self) {
        drop(self.stop);
        // It ends by itself; a panic in it was printed.
        let _ = self.thread.join();
    }
}

fn tell(tape: &Path, same: &Report, changed: &Report) -> Result<()> {
    let info = Tape::open(tape)?.info()?;
    let summary = &info.summary;
    writeln!(
        io::stdout(),
        "Recorded {} calls of a small kubelet on {} connections: pods, probes, a container that crashes, an image pull.\n",
        summary.calls,
        summary.connections
    )?;
    writeln!(io::stdout(), "1. Replayed on the same runtime\n")?;
    print_report(same, Format::Table)?;
    writeln!(io::stdout(), "\n2. Replayed on a runtime with {} regressions\n", EXPECTED.len())?;
    print_report(changed, Format::Table)?;
    writeln!(io::stdout())?;
    for expected in &EXPECTED {
        let found =
            shows(changed, expected).map_or("MISSED".to_owned(), |index| format!("finding {}", index + 1));
        writeln!(
            io::stdout(),
            "  {:<18} {found:<11} {}",
            expected.regression,
            summary_of(expected.regression)
        )?;
    }
    writeln!(io::stdout())?;
    Ok(())
}

fn summary_of(name: &str) -> &'static str {
    Regression::by_name(name).map_or("", |regression| regression.summary())
}

/// The finding that shows a regression.
fn shows(report: &Report, expected: &Expected) -> Option<usize> {
    report.findings.iter().position(|finding| {
        finding.method.ends_with(&format!("/{}", expected.rpc)) && finding.path == expected.path
    })
}

fn missed(report: &Report) -> Vec<&'static str> {
    EXPECTED.iter().filter(|expected| shows(report, expected).is_none()).map(|it| it.regression).collect()
}
