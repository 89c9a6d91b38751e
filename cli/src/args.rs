//! The command line: what can be asked for, apart from what is done.

mod judging;
mod serving;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cri::Endpoint;
use cri::endpoint::Asked;
use critape_calls::CallId;

use crate::filter::FilterArgs;
use crate::output::Format;
use crate::reporting::{ExplainArgs, ReportArgs};
use crate::values;

pub(crate) use judging::{CalibrateArgs, CheckArgs, DiffArgs, PaceArg, ReplayArgs, RulesCommand, WayArgs};
pub(crate) use serving::{GatewayArgs, SimulatorArgs};

/// Records the calls between kubelet and a container runtime, replays them against another runtime, and says what differs.
#[derive(Debug, Parser)]
#[command(name = "critape", version, about, arg_required_else_help = true, max_term_width = 110)]
#[command(
    after_help = "Example:\n  critape demo\n  critape record node.tape -r unix:///run/containerd/containerd.sock --listen unix:///run/critape.sock\n  critape replay node.tape -r unix:///run/other/containerd.sock"
)]
pub(crate) struct Cli {
    /// Say more; twice or three times for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log in JSON
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole way on the embedded simulator: no root, no runtime, no network
    #[command(after_help = "Example:\n  critape demo")]
    Demo(DemoArgs),
    /// Relay between clients and a runtime, and record what they say, until SIGINT or SIGTERM
    #[command(
        after_help = "Example:\n  critape record node.tape -r unix:///run/containerd/containerd.sock --listen unix:///run/critape.sock\n  crictl -r unix:///run/critape.sock pods\n\nSIGHUP begins a new segment; a second SIGINT or SIGTERM, half a second after the first or later, ends at once."
    )]
    Record(RecordArgs),
    /// Look at recordings
    #[command(
        subcommand,
        after_help = "Example:\n  critape tape show node.tape --method 'Run*' --status NOT_FOUND"
    )]
    Tape(TapeCommand),
    /// Re-issue a tape against a runtime and report what differs
    #[command(
        after_help = "Example:\n  critape replay node.tape -r unix:///run/containerd/containerd.sock --report report.json\n  critape replay node.tape -r unix:///run/containerd/containerd.sock --preflight\n  critape replay --clean -r unix:///run/containerd/containerd.sock"
    )]
    Replay(Box<ReplayArgs>),
    /// Compare two recordings of the same workload
    #[command(after_help = "Example:\n  critape diff before.tape after.tape")]
    Diff(DiffArgs),
    /// Show one finding of a report in full: both calls, the rule, what a kubelet would do, how to see it again
    #[command(after_help = "Example:\n  critape explain report.json 3b9d")]
    Explain(ExplainArgs),
    /// Replay a tape several times on one runtime, and write rules for what differs between the runs
    #[command(
        after_help = "Example:\n  critape calibrate node.tape -r unix:///run/containerd/containerd.sock -n 5 --output noise.toml\n  critape replay node.tape -r unix:///run/containerd/containerd.sock --rules noise.toml"
    )]
    Calibrate(CalibrateArgs),
    /// Hold a runtime against the rules of CRI that need no recording
    #[command(
        after_help = "Example:\n  critape check -r unix:///run/containerd/containerd.sock\n  critape check -r unix:///run/containerd/containerd.sock --active --image registry.example/busybox:1.36"
    )]
    Check(CheckArgs),
    /// Look at the rules by which answers are compared
    #[command(subcommand, after_help = "Example:\n  critape rules list")]
    Rules(RulesCommand),
    /// Offer a runtime as JSON over HTTP, until SIGINT or SIGTERM
    #[command(
        after_help = "Example:\n  critape gateway -r unix:///run/containerd/containerd.sock --listen 127.0.0.1:8080\n  curl -H \"Authorization: Bearer TOKEN\" http://127.0.0.1:8080/cri/v1/pods"
    )]
    Gateway(GatewayArgs),
    /// Run an in-memory runtime, until SIGINT or SIGTERM
    #[command(
        after_help = "Example:\n  critape simulator --listen unix:///tmp/sim.sock --regression containerd-10527\n  crictl -r unix:///tmp/sim.sock version"
    )]
    Simulator(SimulatorArgs),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  critape completions bash > /etc/bash_completion.d/critape")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  critape man | man -l -")]
    Man,
}

/// Where the runtime is, as crictl is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct EndpointArgs {
    /// Socket of the runtime
    #[arg(short, long, env = "CONTAINER_RUNTIME_ENDPOINT", value_name = "ENDPOINT")]
    runtime_endpoint: Option<String>,
    /// Socket of the image service, where it is another
    #[arg(short, long, env = "IMAGE_SERVICE_ENDPOINT", value_name = "ENDPOINT")]
    image_endpoint: Option<String>,
    /// crictl's configuration file [default: /etc/crictl.yaml]
    #[arg(long, env = "CRI_CONFIG_FILE", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl EndpointArgs {
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            runtime: self.runtime_endpoint.clone(),
            image: self.image_endpoint.clone(),
            config: self.config.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Form of the report
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// Keep the demo's tape in this folder
    #[arg(long, value_name = "TAPE")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// Folder of the tape: made where it is not there, appended to where it is
    #[arg(required_unless_present = "give_back")]
    pub(crate) tape: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) endpoints: EndpointArgs,
    /// Socket on which clients connect; not needed where a service manager passes one
    #[arg(long, value_parser = values::endpoint, value_name = "ENDPOINT")]
    pub(crate) listen: Option<Endpoint>,
    /// Stand on the runtime's own path until the end, and put its socket beside it
    #[arg(long, conflicts_with = "listen")]
    pub(crate) take_over: bool,
    /// Give a path back to its runtime that a recorder left taken over, and do nothing else
    #[arg(long, conflicts_with_all = ["tape", "listen", "take_over", "metrics"])]
    pub(crate) give_back: bool,
    /// Memory for messages that wait to be written; beyond it they are left out of the tape
    #[arg(long, value_parser = values::memory, default_value = "20MiB", value_name = "SIZE")]
    pub(crate) memory: u64,
    /// What happens when the tape can't be written as fast as calls come
    #[arg(long, value_enum, default_value_t)]
    pub(crate) on_overload: OverloadArg,
    /// Delete the oldest segments when the tape grows beyond this
    #[arg(long, value_parser = values::size, value_name = "SIZE")]
    pub(crate) max_size: Option<u64>,
    /// Delete segments that ended longer ago than this
    #[arg(long, value_parser = values::duration, value_name = "D", allow_hyphen_values = true)]
    pub(crate) max_age: Option<Duration>,
    /// Ask the runtime nothing, only relay
    #[arg(long)]
    pub(crate) passive: bool,
    /// Offer metrics for Prometheus on this address, as 127.0.0.1:9464; port 0 takes any
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// What is sealed before it is stored
    #[arg(long, value_enum, default_value_t)]
    pub(crate) seal: SealArg,
    /// Take the key from this file of 64 bytes, and copy it to the tape; without it a new tape gets a key of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) seal_key: Option<PathBuf>,
    /// Form of the summary at the end
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// What happens when the tape can't be written as fast as calls come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverloadArg {
    /// Calls go on; the tape lacks what there was no memory for, and says so
    #[default]
    Pass,
    /// Calls wait
    Block,
}

/// What is sealed before it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SealArg {
    /// Environment, credentials, commands and their output, runtime info, stream tokens; known secrets in error texts
    #[default]
    Default,
    /// Labels and annotations as well
    Strict,
    /// Nothing: the tape is as confidential as the socket
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TapeCommand {
    /// List the tapes in a folder
    #[command(after_help = "Example:\n  critape tape list /var/lib/critape")]
    List {
        /// The folder
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Form of the list
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Tell what a tape is and holds
    #[command(after_help = "Example:\n  critape tape info node.tape -o json")]
    Info {
        /// Folder of the tape
        tape: PathBuf,
        /// Form of the result
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// List the calls of a tape, or print one in full
    #[command(
        after_help = "Example:\n  critape tape show node.tape --pod web --status NOT_FOUND\n  critape tape show node.tape 17"
    )]
    Show(ShowArgs),
    /// Write a tape, or some calls of it, to one file
    #[command(
        after_help = "Example:\n  critape tape export node.tape node.critape\n  critape tape export node.tape web.critape --pod web --since 10m\n  critape tape export node.tape - --ndjson | jq .method"
    )]
    Export(ExportArgs),
    /// Make a tape of a file that was exported
    #[command(after_help = "Example:\n  critape tape import node.critape node.tape")]
    Import(ImportArgs),
    /// Delete the oldest segments of a tape
    #[command(after_help = "Example:\n  critape tape prune node.tape --max-age 168h")]
    Prune {
        /// Folder of the tape
        tape: PathBuf,
        /// Keep at most this many bytes
        #[arg(long, value_parser = values::size, value_name = "SIZE", required_unless_present = "max_age")]
        max_size: Option<u64>,
        /// Keep segments that ended at most this long ago
        #[arg(long, value_parser = values::duration, value_name = "D", allow_hyphen_values = true)]
        max_age: Option<Duration>,
    },
    /// Pack a segment, for the recorder that starts this
    #[command(hide = true)]
    PackSegment {
        /// Folder of the tape
        tape: PathBuf,
        /// The segment
        number: u32,
    },
    /// Print the ids of a tape: who made each, and who named it where
    #[command(
        after_help = "Example:\n  critape tape graph node.tape\n  critape tape graph node.tape -o dot | dot -Tsvg > node.svg"
    )]
    Graph(GraphArgs),
    /// Mend a tape whose recorder was killed, or that is damaged; what is replaced is kept in TAPE/damaged
    #[command(after_help = "Example:\n  critape tape repair node.tape")]
    Repair {
        /// Folder of the tape
        tape: PathBuf,
        /// Form of the result
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Read everything and say whether it is whole
    #[command(after_help = "Example:\n  critape tape verify node.tape")]
    Verify {
        /// Folder of the tape
        tape: PathBuf,
        /// Form of the result
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Folder of the tape
    pub(crate) tape: PathBuf,
    /// Number of one call, to print it in full
    #[arg(
        value_parser = values::call,
        conflicts_with_all = ["method", "pod", "container", "status", "since", "until", "connection"]
    )]
    pub(crate) call: Option<CallId>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Go on with what its recorder writes, each call when it ends, until the recorder ends
    #[arg(short, long, conflicts_with = "call")]
    pub(crate) follow: bool,
    /// Show what is sealed as it came; needs the tape's key
    #[arg(long)]
    pub(crate) unseal: bool,
    /// Form of the list; JSON is one call a line
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder of the tape
    pub(crate) tape: PathBuf,
    /// File to be written, as node.critape; - is stdout
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Let the key go along, with which sealed values can be read
    #[arg(long)]
    pub(crate) with_key: bool,
    /// Write one call a line in JSON, in the order of their ends, as for a file that ends with .ndjson
    #[arg(long)]
    pub(crate) ndjson: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file; - is stdin
    pub(crate) file: PathBuf,
    /// Folder of the tape, where there is nothing yet
    pub(crate) tape: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Folder of the tape
    pub(crate) tape: PathBuf,
    /// Form of the graph
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: GraphForm,
}

/// Form of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphForm {
    /// A list to read
    #[default]
    Text,
    /// For Graphviz
    Dot,
    Json,
}
