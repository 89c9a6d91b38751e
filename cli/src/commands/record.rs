//! `critape record`.

use anyhow::Result;
use critape_recorder::{Config, Recorder};
use critape_tape::{Retention, Tape};

use super::{one_thread, tape};
use crate::args::RecordArgs;
use crate::exit::Exit;
use crate::output::Format;
use crate::signals;

pub(crate) fn run(args: &RecordArgs) -> Result<Exit> {
    let upstream = args.endpoints.asked().resolve()?.runtime;
    let config = Config {
        memory: args.memory,
        ask_opening: !args.passive,
        retention: Retention { max_bytes: args.max_size, max_age: args.max_age },
        ..Config::new(upstream.clone(), args.listen.clone(), args.tape.clone())
    };
    one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let recorder = Recorder::bind(config).await?;
        if !upstream.path().exists() {
            eprintln!("warning: no runtime at {upstream} yet; clients are turned away until there is one");
        }
        eprintln!("listening on {}", args.listen);
        recorder.run(shutdown).await?;
        anyhow::Ok(())
    })?;
    let recorded = Tape::open(&args.tape)?;
    match args.output {
        Format::Json => tape::print_info(&recorded, Format::Json)?,
        Format::Table => {
            let info = recorded.info()?;
            let summary = &info.summary;
            eprintln!(
                "recorded {} calls on {} connections onto {}; `critape tape show {}` lists them",
                summary.calls,
                summary.connections,
                args.tape.display(),
                args.tape.display()
            );
        }
    }
    Ok(Exit::Done)
}
