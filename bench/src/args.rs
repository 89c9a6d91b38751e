//! What can be asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// What critape costs, side by side in one run.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) what: Option<What>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// What each lane costs a caller (what is measured where nothing is said)
    Cost(CostArgs),
    /// Whether the recorder's memory stays flat
    Soak(SoakArgs),
    /// How late the events of a stream come
    Events(EventsArgs),
    /// Whether the recorder's memory stays bounded under twenty messages of 20 MB at once
    Memory,
    /// What `ListContainers` of a real containerd costs
    Containerd,
    /// What the tape of an idle node takes on disk
    Space,
    /// What the replay of a long tape takes, and the comparison of two
    Replay(ReplayArgs),
    /// Whether a tape that is far larger than memory replays without being read into it
    Long(LongArgs),
    /// How late calls are at the recorded pace
    Pacing(PacingArgs),
    /// What replays find of the regressions that the simulator can have
    Recall(RecallArgs),
    /// What the differ says of every answer on real tapes with one thing changed
    Mutation(MutationArgs),
    /// All of these, the soak for one minute
    All,
    /// A process of a run
    #[command(subcommand, hide = true)]
    Lane(LaneArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CostArgs {
    /// A tenth of the time, for a look
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these lanes; direct and bare are always there
    #[arg(long, value_delimiter = ',', value_name = "LANE,…")]
    pub(crate) lanes: Vec<crate::lanes::Lane>,
    /// Only messages of these sizes, in bytes
    #[arg(long, value_delimiter = ',', default_value = "200,1024,65536", value_name = "BYTES,…")]
    pub(crate) sizes: Vec<usize>,
    /// Only so many calls at a time
    #[arg(long, value_delimiter = ',', default_value = "1,32", value_name = "N,…")]
    pub(crate) in_flight: Vec<usize>,
    /// Rounds, each with every lane once
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,
    /// How long to wait in all for other programs to be quiet
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) patience: u64,
}

impl Default for CostArgs {
    fn default() -> Self {
        Self {
            quick: false,
            lanes: Vec::new(),
            sizes: vec![200, 1024, 65536],
            in_flight: vec![1, 32],
            rounds: 7,
            patience: 120,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct EventsArgs {
    /// A fifth of the time, for a look
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SoakArgs {
    /// How long
    #[arg(long, default_value_t = 60.0)]
    pub(crate) minutes: f64,
    /// Calls a second, over all connections
    #[arg(long, default_value_t = 200)]
    pub(crate) rate: u32,
    /// Where the samples go as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Calls on the tape
    #[arg(long, default_value_t = 100_000)]
    pub(crate) calls: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LongArgs {
    /// What the tape takes on disk
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    pub(crate) gib: f64,
    /// Where there is room for it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PacingArgs {
    /// Calls a second
    #[arg(long, default_value_t = 150.0, value_name = "N")]
    pub(crate) rate: f64,
    /// How long
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How often the tape is replayed
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) rounds: usize,
}

impl Default for PacingArgs {
    fn default() -> Self {
        Self { rate: 150.0, seconds: 10.0, rounds: 3 }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RecallArgs {
    /// At the recorded pace, ten times as fast, where polls collapse; else as fast as it goes
    #[arg(long)]
    pub(crate) paced: bool,
    /// Only these regressions
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) only: Vec<String>,
    /// On how many unchanged simulators, each of another seed, the tapes are replayed
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) seeds: u64,
    /// What the workload follows from
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub(crate) seed: u64,
}

impl Default for RecallArgs {
    fn default() -> Self {
        Self { paced: false, only: Vec::new(), seeds: 20, seed: 7 }
    }
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MutationArgs {
    /// Tapes, or files that `critape tape export --with-key` wrote; those of `e2e/golden` where none is named
    #[arg(value_name = "TAPE")]
    pub(crate) tapes: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LaneArgs {
    /// The server that all lanes lead to
    Echo { listen: PathBuf, port: u16 },
    /// A relay that only copies
    Bare { upstream: PathBuf, listen: PathBuf },
    /// The recorder's relay, with nobody looking
    Off { upstream: PathBuf, listen: PathBuf },
    /// A gRPC proxy on hyper
    Hyper { upstream: PathBuf, listen: PathBuf },
    /// Another program
    Run {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}
