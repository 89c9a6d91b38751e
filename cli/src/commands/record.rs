//! `critape record`.

use anyhow::{Result, bail};
use critape_recorder::{Config, OnOverload, Recorder};
use critape_tape::{Retention, Seal, SealPolicy, Tape};

use super::{one_thread, tape};
use crate::args::{OverloadArg, RecordArgs, SealArg};
use crate::exit::Exit;
use crate::limits;
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
        on_overload: match args.on_overload {
            OverloadArg::Pass => OnOverload::Pass,
            OverloadArg::Block => OnOverload::Block,
        },
        ask_opening: !args.passive,
        retention: Retention { max_bytes: args.max_size, max_age: args.max_age },
        seal: Seal { policy: policy(args.seal), key_file: args.seal_key.clone() },
        ..Config::new(upstream.clone(), args.listen.clone(), args.tape.clone())
    };
    limits::raise_open_files();
    let runtime = one_thread()?;
    let ended = runtime.block_on(async {
        let shutdown = signals::shutdown()?;
        limits::survive_file_size()?;
        let recorder = Recorder::bind(config).await?;
        if !upstream.path().exists() {
            output::say(format_args!(
                "warning: no runtime at {upstream} yet; clients are turned away until there is one"
            ));
        }
        output::say(format_args!("listening on {}", args.listen));
        recorder.run(shutdown).await?;
        anyhow::Ok(())
    });
    // A file system that does not answer must not keep the program from ending.
    runtime.shutdown_background();
    ended?;
    let recorded = Tape::open(&args.tape)?;
    match args.output {
        Format::Json => tape::print_info(&recorded, Format::Json)?,
        Format::Table => {
            let info = recorded.info()?;
            let summary = &info.summary;
            output::say(format_args!(
                "recorded {} calls on {} connections onto {}; `critape tape show {}` lists them",
                summary.calls,
                summary.connections,
                args.tape.display(),
                args.tape.display()
            ));
        }
    }
    Ok(Exit::Done)
}

fn policy(arg: SealArg) -> SealPolicy {
    match arg {
        SealArg::Default => SealPolicy::Default,
        SealArg::Strict => SealPolicy::Strict,
        SealArg::None => SealPolicy::None,
    }
}
