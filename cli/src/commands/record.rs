//! `critape record`.

use std::path::Path;

use anyhow::{Result, bail};
use critape_calls::Stamp;
use critape_recorder::{Config, OnOverload, Recorder};
use critape_tape::{Info, Retention, Seal, SealPolicy, Tape};

use super::{one_thread, tape};
use crate::args::{OverloadArg, RecordArgs, SealArg};
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
        on_overload: match args.on_overload {
            OverloadArg::Pass => OnOverload::Pass,
            OverloadArg::Block => OnOverload::Block,
        },
        ask_opening: !args.passive,
        retention: Retention { max_bytes: args.max_size, max_age: args.max_age },
        seal: Seal { policy: policy(args.seal), key_file: args.seal_key.clone() },
        ..Config::new(upstream.clone(), args.listen.clone(), args.tape.clone())
    };
    let begun = crate::values::now();
    one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let recorder = Recorder::bind(config).await?;
        if !upstream.path().exists() {
            output::say(format_args!(
                "warning: no runtime at {upstream} yet; clients are turned away until there is one"
            ));
        }
        output::say(format_args!("listening on {}", args.listen));
        recorder.run(shutdown).await?;
        anyhow::Ok(())
    })?;
    let recorded = Tape::open(&args.tape)?;
    match args.output {
        Format::Json => tape::print_info(&recorded, Format::Json)?,
        Format::Table => {
            output::say(format_args!("{}", last_words(&args.tape, &recorded.info()?, begun)));
        }
    }
    Ok(Exit::Done)
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
