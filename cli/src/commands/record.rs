//! `critape record`.

use std::sync::Arc;

use anyhow::{Result, bail};
use critape_recorder::{Config, Counters, Metrics, Passed, Recorder};
use critape_tape::{Retention, Seal, SealPolicy, Tape};
use serde_json::json;

use super::{one_thread, tape};
use crate::args::{RecordArgs, SealArg};
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::signals;

pub(crate) fn run(args: &RecordArgs) -> Result<Exit> {
    if args.seal == SealArg::None && args.seal_key.is_some() {
        bail!("--seal none has no use for --seal-key: leave one of the two out");
    }
    let endpoints = args.endpoints.asked().resolve()?;
    if endpoints.image != endpoints.runtime {
        bail!(
            "one recorder stands in front of one socket: start another, with -r {}, for the images",
            endpoints.image
        );
    }
    let upstream = endpoints.runtime;
    let config = Config {
        memory: args.memory,
        ask_opening: !args.passive,
        retention: Retention { max_bytes: args.max_size, max_age: args.max_age },
        seal: Seal { policy: policy(args.seal), key_file: args.seal_key.clone() },
        ..Config::new(upstream.clone(), args.listen.clone(), args.tape.clone())
    };
    let metrics = args.metrics.map(Metrics::bind).transpose()?;
    let passed = one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let recorder = Recorder::bind(config).await?;
        let counters = recorder.counters();
        if let Some(metrics) = metrics {
            offer(metrics, counters.clone())?;
        }
        if !upstream.path().exists() {
            output::say(format_args!(
                "warning: no runtime at {upstream} yet; clients are turned away until there is one"
            ));
        }
        output::say(format_args!("listening on {}", args.listen));
        recorder.run(shutdown).await?;
        anyhow::Ok(counters.passed())
    })?;
    summarise(args, passed)?;
    Ok(Exit::Done)
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
fn summarise(args: &RecordArgs, passed: Passed) -> Result<()> {
    let info = Tape::open(&args.tape)?.info()?;
    let summary = &info.summary;
    match args.output {
        Format::Json => {
            let mut document = tape::info_json(&args.tape, &info);
            if passed != Passed::default() {
                document["passed"] = json!({"calls": passed.calls, "connections": passed.connections});
            }
            output::print_json(&document)?;
        }
        Format::Table => {
            output::say(format_args!(
                "recorded {} calls on {} connections onto {}; `critape tape show {}` lists them",
                summary.calls,
                summary.connections,
                args.tape.display(),
                args.tape.display()
            ));
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

fn policy(arg: SealArg) -> SealPolicy {
    match arg {
        SealArg::Default => SealPolicy::Default,
        SealArg::Strict => SealPolicy::Strict,
        SealArg::None => SealPolicy::None,
    }
}
