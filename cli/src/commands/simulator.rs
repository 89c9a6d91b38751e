//! `critape simulator`.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use cri::listen::{Door, bind};
use critape_simulator::{Config, Regression, Simulator, regressions, serve};
use serde_json::json;

use super::many_threads;
use crate::args::SimulatorArgs;
use crate::exit::Exit;
use crate::output::{self, Format, print_json};
use crate::signals;

pub(crate) fn run(args: SimulatorArgs) -> Result<Exit> {
    if args.list_regressions {
        return list(args.output);
    }
    let listen = args.listen.context("give the socket with --listen unix:///path")?;
    let regressions = named(&args.regressions)?;
    let mut config =
        Config { regressions, variants: args.variants, handlers: args.handlers, ..Config::default() };
    if let Some(seed) = args.seed {
        config.seed = seed;
    }
    let simulator = Simulator::new(config);
    let served = simulator.clone();
    many_threads()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let (listener, _file) = bind(&listen, Door::Owner).await?;
        output::say(format_args!("listening on {listen}"));
        serve(served, listener, shutdown).await?;
        anyhow::Ok(())
    })?;
    output::say(format_args!("served {} calls", simulator.calls()));
    Ok(Exit::Done)
}

fn named(names: &[String]) -> Result<Vec<Regression>> {
    names
        .iter()
        .map(|name| match Regression::by_name(name) {
            Some(regression) => Ok(regression),
            None => {
                bail!("no regression is called {name:?}: `critape simulator --list-regressions` lists them")
            }
        })
        .collect()
}

fn list(output: Format) -> Result<Exit> {
    match output {
        Format::Json => {
            let all: Vec<_> = regressions()
                .iter()
                .map(|it| json!({"name": it.name(), "summary": it.summary(), "source": it.source()}))
                .collect();
            print_json(&all.into())?;
        }
        Format::Table => {
            let mut out = io::stdout().lock();
            for regression in regressions() {
                writeln!(out, "{:<18}  {}", regression.name(), regression.summary())?;
            }
        }
    }
    Ok(Exit::Done)
}
