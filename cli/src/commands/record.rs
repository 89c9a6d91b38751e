//! `critape record`.

mod entrance;

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cri::Endpoint;
use critape_calls::Stamp;
use critape_recorder::{
    Config, Counters, GivenBack, Handle, Metrics, OnOverload, Passed, Recorder, Watchdog,
};
use critape_tape::{Info, Retention, Seal, SealPolicy, Tape};
use serde_json::json;

use super::{one_thread, tape};
use crate::args::{OverloadArg, RecordArgs, SealArg};
use crate::exit::Exit;
use crate::limits;
use crate::output::{self, Format};
use crate::service;
use crate::signals::Signals;

/// How long the relay may hang, where no service manager says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// How the program ends that has noticed that it hangs: sysexits.h calls it a fault of the software.
const HUNG: i32 = 70;

pub(crate) fn run(args: &RecordArgs) -> Result<Exit> {
    // Before there are threads.
    let passed = service::passed_socket()?;
    if args.seal == SealArg::None && args.seal_key.is_some() {
        bail!("--seal none has no use for --seal-key: leave one of the two out");
    }
    let endpoints = args.endpoints.asked().resolve()?;
    if args.give_back {
        return give_back(&endpoints.runtime);
    }
    if endpoints.image != endpoints.runtime {
        bail!(
            "one recorder stands in front of one socket: start another, with -r {}, for the images",
            endpoints.image
        );
    }
    let Some(path) = &args.tape else { bail!("TAPE is missing: name the folder of the tape") };
    let runtime = endpoints.runtime;
    let entrance = entrance::choose(args, passed)?;
    let clients_at = entrance::endpoint(&entrance, &runtime)?;
    entrance::warn_of_suffix(&runtime, &clients_at);
    let config = Config {
        entrance,
        memory: args.memory,
        // This very program, even where another has taken its place on the disk.
        packer: Some(PathBuf::from("/proc/self/exe")),
        on_overload: match args.on_overload {
            OverloadArg::Pass => OnOverload::Pass,
            OverloadArg::Block => OnOverload::Block,
        },
        ask_opening: !args.passive,
        retention: Retention { max_bytes: args.max_size, max_age: args.max_age },
        seal: Seal { policy: policy(args.seal), key_file: args.seal_key.clone() },
        ..Config::new(runtime.clone(), clients_at.clone(), path.clone())
    };
    let begun = crate::values::now();
    let metrics = args.metrics.map(Metrics::bind).transpose()?;
    limits::raise_open_files();
    let tokio = one_thread()?;
    let ended = tokio.block_on(async {
        let mut signals = Signals::new()?;
        limits::survive_file_size()?;
        let recorder = Recorder::bind(config).await?;
        let handle = recorder.handle();
        if let Some(metrics) = metrics {
            offer(metrics, handle.counters())?;
        }
        say_where(&recorder, args, &runtime, &clients_at);
        service::ready(&format!("recording {runtime} onto {}", path.display()));
        until_the_end(recorder, &handle, &mut signals).await
    });
    // What hangs there, as a file system that does not answer, must not keep the program from ending.
    tokio.shutdown_background();
    match ended? {
        Some(passed) => summarise(args, path, passed, begun)?,
        None => {
            output::say(format_args!("ended at once; {} has what was committed", path.display()));
            return Ok(Exit::Interrupted);
        }
    }
    Ok(Exit::Done)
}

/// Runs the recorder until it is told to end. Gives nothing where it is told so twice, and had not ended by then.
async fn until_the_end(recorder: Recorder, handle: &Handle, signals: &mut Signals) -> Result<Option<Passed>> {
    let watchdog = watch(handle)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut run = std::pin::pin!(recorder.run(async { drop(stopped.await) }));
    let roll = || {
        handle.roll();
        service::reloaded();
    };
    tokio::select! {
        ended = &mut run => {
            ended?;
            return Ok(Some(handle.counters().passed()));
        }
        () = signals.end(roll) => {}
        () = hang_for_tests() => {}
    }
    service::stopping();
    drop((watchdog, stop));
    tokio::select! {
        ended = run => ended.map(|()| Some(handle.counters().passed())).map_err(Into::into),
        () = signals.end_again() => Ok(None),
    }
}

/// Ends the program when the relay hangs: then a service manager starts it again, and clients find the runtime meanwhile.
fn watch(handle: &Handle) -> Result<Watchdog> {
    // Sooner than the service manager, so that the path is given back first.
    let limit = service::patience().map_or(PATIENCE, |patience| patience / 2);
    let hung = {
        let handle = handle.clone();
        move || {
            tracing::error!(?limit, "the relay hangs; ending it, so that it can be started again");
            if let Err(error) = handle.give_back() {
                tracing::error!(%error, "the runtime's path was not given back: run `critape record --give-back`");
            }
            process::exit(HUNG);
        }
    };
    Watchdog::start(handle.heart(), limit, service::alive, hung).context("starting the watchdog")
}

/// In debug builds, hangs the thread when the file that `CRITAPE_TEST_HANG` names is there.
async fn hang_for_tests() {
    #[cfg(debug_assertions)]
    if let Some(file) = std::env::var_os("CRITAPE_TEST_HANG") {
        while !Path::new(&file).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        loop {
            std::thread::park();
        }
    }
    std::future::pending::<()>().await;
}

fn give_back(runtime: &Endpoint) -> Result<Exit> {
    match critape_recorder::give_back(runtime)? {
        GivenBack::Runtime => output::say(format_args!("{runtime} is the runtime's again")),
        GivenBack::NoRuntime => output::say(format_args!(
            "the recorder's socket is gone from {runtime}; no runtime answers, and one that starts makes its own"
        )),
        GivenBack::Nothing => output::say(format_args!("{runtime} was not taken over")),
    }
    Ok(Exit::Done)
}

/// Says where clients connect now, and what is not as one may think.
fn say_where(recorder: &Recorder, args: &RecordArgs, runtime: &Endpoint, clients_at: &Endpoint) {
    if recorder.has_taken_over() {
        output::say(format_args!(
            "took over {runtime}: the runtime is at {} until the end; connections that are open stay direct until \
             their clients connect again",
            recorder.upstream()
        ));
    } else if args.take_over {
        output::say(format_args!("warning: no runtime at {runtime} yet; it is taken over when there is one"));
    } else if !runtime.path().exists() {
        output::say(format_args!(
            "warning: no runtime at {runtime} yet; clients are turned away until there is one"
        ));
    }
    output::say(format_args!("listening on {clients_at}"));
}

fn offer(metrics: Metrics, counters: Arc<Counters>) -> Result<()> {
    let bound = metrics.address();
    metrics.serve(counters)?;
    if !bound.ip().is_loopback() {
        output::say(format_args!(
            "warning: anybody who reaches {bound} can read the metrics, which name methods and count calls; \
             127.0.0.1 is for this host alone"
        ));
    }
    output::say(format_args!("metrics on http://{bound}/metrics"));
    Ok(())
}

/// Says what was recorded, and what passed beside the tape.
fn summarise(args: &RecordArgs, path: &Path, passed: Passed, begun: Stamp) -> Result<()> {
    let info = Tape::open(path)?.info()?;
    match args.output {
        Format::Json => {
            let mut document = tape::info_json(path, &info);
            if passed != Passed::default() {
                document["passed"] = json!({"calls": passed.calls, "connections": passed.connections});
            }
            output::print_json(&document)?;
        }
        Format::Table => {
            output::say(format_args!("{}", last_words(path, &info, begun)));
            if passed != Passed::default() {
                output::say(format_args!(
                    "forwarded beside the tape, as it is not CRI: {} calls of other services, {} connections of \
                     other protocols",
                    passed.calls, passed.connections
                ));
            }
        }
    }
    Ok(())
}

/// What came of the recording that was begun at this time.
fn last_words(tape: &Path, info: &Info, begun: Stamp) -> String {
    let of_this = info.segments.iter().filter(|segment| segment.started >= begun);
    let (calls, connections) = of_this.fold((0, 0), |(calls, connections), segment| {
        (calls + segment.calls, connections + segment.connections)
    });
    let tape = tape.display();
    let in_all = match info.summary.calls {
        all if all == calls => String::new(),
        all => format!(", which has {all} calls in all"),
    };
    format!(
        "recorded {calls} calls on {connections} connections onto {tape}{in_all}; `critape tape show {tape}` lists them"
    )
}

fn policy(arg: SealArg) -> SealPolicy {
    match arg {
        SealArg::Default => SealPolicy::Default,
        SealArg::Strict => SealPolicy::Strict,
        SealArg::None => SealPolicy::None,
    }
}
