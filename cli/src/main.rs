//! `critape`: arguments, configuration, output, exit codes. What it does is done by the other crates.

mod args;
mod commands;
mod demo;
mod exit;
mod filter;
mod limits;
mod output;
mod reporting;
mod service;
mod signals;
mod values;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error).into(),
    };
    output::start_log(cli.verbose, cli.log_json);
    match commands::run(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) if output::is_broken_pipe(&error) => Exit::Done.into(),
        Err(error) => exit::failed(&error).into(),
    }
}
