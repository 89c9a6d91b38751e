//! One file a command.

mod calibrate;
mod check;
mod clean;
mod diff;
mod explain;
mod export;
mod gateway;
mod graph;
mod preflight;
mod record;
mod repair;
mod replay;
mod report;
mod rules;
mod simulator;
mod tape;
mod told;

use std::io::Write;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::demo;
use crate::exit::Exit;

pub(crate) use report::print as print_report;

/// Runs a command.
pub(crate) fn run(command: Command) -> Result<Exit> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Tape(command) => tape::run(command),
        Command::Replay(args) => replay::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Rules(command) => rules::run(command),
        Command::Gateway(args) => gateway::run(&args),
        Command::Simulator(args) => simulator::run(args),
        Command::Completions { shell } => {
            // It takes no error from a writer.
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "critape", &mut text);
            std::io::stdout().lock().write_all(&text)?;
            Ok(Exit::Done)
        }
        Command::Man => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
            Ok(Exit::Done)
        }
    }
}

/// A runtime of one thread: for what must stay on it.
pub(crate) fn one_thread() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")
}

/// A runtime of several threads.
pub(crate) fn many_threads() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting")
}
