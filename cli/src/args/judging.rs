//! Arguments of the commands that replay, compare and judge.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use critape_replayer::ImageMapping;

use super::{EndpointArgs, ReportArgs};
use crate::filter::FilterArgs;
use crate::output::Format;
use crate::values;

/// How fast calls follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PaceArg {
    /// As recorded
    #[default]
    Recorded,
    /// As soon as what they waited for has ended
    Max,
    /// One after the other
    Serial,
}

/// How a tape is replayed.
#[derive(Debug, Args)]
pub(crate) struct WayArgs {
    #[command(flatten)]
    pub(crate) endpoints: EndpointArgs,
    /// How fast calls follow each other
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pace: PaceArg,
    /// How many times as fast as recorded, where that is the pace
    #[arg(long, value_parser = values::speed, value_name = "N", allow_hyphen_values = true)]
    pub(crate) speed: Option<f64>,
    /// The longest time without a call that is waited out, at the recorded pace [default: 60s]
    #[arg(long, value_parser = values::duration, value_name = "D", allow_hyphen_values = true)]
    pub(crate) max_idle: Option<Duration>,
    /// At the recorded pace, send polls too that only repeat what those around them say
    #[arg(long)]
    pub(crate) every_poll: bool,
    /// How long a read may take to show the recorded state, beyond what the recording took
    #[arg(long, value_parser = values::duration, default_value = "5s", value_name = "D", allow_hyphen_values = true)]
    pub(crate) settle: Duration,
    /// How much longer than recorded a call may take that had no deadline, before it is given up
    #[arg(long, value_parser = values::patience, default_value = "5m", value_name = "D", allow_hyphen_values = true)]
    pub(crate) give_up: Duration,
    /// Take image B in place of A; with a slash at the end of both, for all images that begin so. May be given again: the nearest
    /// counts
    #[arg(long = "map-image", value_name = "A=B")]
    pub(crate) map_images: Vec<ImageMapping>,
    /// Pull with the credentials of this file, of the form of Docker's config.json, in place of recorded ones
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_auth: Option<PathBuf>,
    /// Replay beside sandboxes of others. A kubelet that uses the runtime removes pods that it does not know: stop it first
    #[arg(long)]
    pub(crate) share: bool,
    /// Send calls that change the node beyond the replay's own pods
    #[arg(long)]
    pub(crate) allow_node_changes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Folder of the tape
    #[arg(required_unless_present = "clean")]
    pub(crate) tape: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) way: WayArgs,
    /// Say what can't be as it was recorded, and send nothing; exit code 2 where there is something. Given as text or JSON, and with
    /// --report written to files that end with .txt or .json
    #[arg(long, conflicts_with_all = ["baseline", "write_baseline"])]
    pub(crate) preflight: bool,
    /// Remove the sandboxes, images and folders that replays left which have crashed, and do nothing else
    #[arg(long, conflicts_with_all = ["tape", "preflight", "files", "baseline", "write_baseline"])]
    pub(crate) clean: bool,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Folder of the first tape
    pub(crate) recorded: PathBuf,
    /// Folder of the second tape
    pub(crate) live: PathBuf,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules in force: how each field is compared, why, and where that is known from
    #[command(after_help = "Example:\n  critape rules list\n  critape rules list --rules noise.toml -o json")]
    List {
        /// Rules that come before the standard ones. May be given again: the first that fits a field counts
        #[arg(long, value_name = "FILE")]
        rules: Vec<PathBuf>,
        /// Form of the list
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Explain each rule of a file, and find those that can't take effect; exit code 1 where there are any
    #[command(after_help = "Example:\n  critape rules check noise.toml")]
    Check {
        /// The file; without one, the standard rules
        file: Option<PathBuf>,
        /// Form of the result
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) endpoints: EndpointArgs,
    /// Make a pod as well, look at it all the way, and remove it
    #[arg(long)]
    pub(crate) active: bool,
    /// The image of that pod's container, which must have `sleep`; pulled where it is not there [default: one that is there]
    #[arg(long, value_name = "IMAGE", requires = "active")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// Folder of the tape
    pub(crate) tape: PathBuf,
    #[command(flatten)]
    pub(crate) way: WayArgs,
    /// How often it is replayed
    #[arg(short = 'n', long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1000), value_name = "N")]
    pub(crate) runs: u32,
    /// File for the rules, as noise.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Rules that are known already. May be given again: the first that fits a field counts
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
}
