//! What critape costs: `cargo run --release -p critape-bench`, or one of the subcommands that `--help` names.
//!
//! All lanes are processes of their own that lead to one server in one run, in turn and in changing order, so that the ratios
//! hold whatever else the machine does. A run in which a call failed, or the tape holds another number of calls than were
//! made, is rejected.

mod args;
mod containerd;
mod cost;
mod events;
mod lanes;
mod load;
mod long;
mod machine;
mod memory;
mod mutation;
mod node;
mod pacing;
mod process;
mod recall;
mod replay;
mod soak;
mod space;
mod stats;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use args::{
    Arguments, CostArgs, EventsArgs, MutationArgs, PacingArgs, RecallArgs, ReplayArgs, SoakArgs, What,
};
use clap::Parser;

fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: Option<What>) -> Result<()> {
    match what {
        None => cost::measure(&CostArgs::default()),
        Some(What::Cost(args)) => cost::measure(&args),
        Some(What::Events(args)) => events::measure(&args),
        Some(What::Memory) => memory::measure(),
        Some(What::Containerd) => containerd::measure(),
        Some(What::All) => all(),
        Some(What::Soak(args)) => soak::measure(&args),
        Some(What::Replay(args)) => replay::measure(&args),
        Some(What::Long(args)) => long::measure(&args),
        Some(What::Space) => space::measure(),
        Some(What::Pacing(args)) => pacing::measure(&args),
        Some(What::Recall(args)) => recall::measure(&args),
        Some(What::Mutation(args)) => mutation::measure(&args),
        Some(What::Lane(lane)) => lanes::run(lane),
    }
}

/// Everything, one after the other; what is missed does not keep the rest from being measured.
fn all() -> Result<()> {
    let soak = SoakArgs { minutes: 1.0, rate: 200, csv: None };
    let parts: [(&str, &dyn Fn() -> Result<()>); 10] = [
        ("cost", &|| cost::measure(&CostArgs::default())),
        ("events", &|| events::measure(&EventsArgs { quick: false })),
        ("memory", &memory::measure),
        ("soak", &|| soak::measure(&soak)),
        ("containerd", &containerd::measure),
        ("space", &space::measure),
        ("replay", &|| replay::measure(&ReplayArgs { calls: 100_000 })),
        ("pacing", &|| pacing::measure(&PacingArgs::default())),
        ("recall", &|| recall::measure(&RecallArgs::default())),
        ("mutation", &|| mutation::measure(&MutationArgs::default())),
    ];
    let mut failed = Vec::new();
    for (name, measure) in parts {
        println!("== {name}");
        if let Err(error) = measure() {
            println!("{error:#}");
            failed.push(name);
        }
        println!();
    }
    ensure!(failed.is_empty(), "missed or rejected: {}", failed.join(", "));
    Ok(())
}
