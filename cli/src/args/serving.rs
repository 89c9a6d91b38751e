//! Arguments of the commands that serve clients.

use std::path::PathBuf;

use clap::Args;
use cri::Endpoint;
use critape_simulator::Variant;

use super::EndpointArgs;
use crate::output::Format;
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) endpoints: EndpointArgs,
    /// Where HTTP clients connect: 127.0.0.1:PORT (0 for any) or <unix:///path>
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: String,
    /// File with the token that clients must send; without it one is made and printed
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    pub(crate) token_file: Option<PathBuf>,
    /// Ask for no token; every user of this host can then drive the runtime
    #[arg(long)]
    pub(crate) no_auth: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SimulatorArgs {
    /// Socket on which clients connect
    #[arg(long, value_parser = values::endpoint, value_name = "ENDPOINT", required_unless_present = "list_regressions")]
    pub(crate) listen: Option<Endpoint>,
    /// Behave as a runtime did that had this regression. May be given again
    #[arg(long = "regression", value_name = "NAME")]
    pub(crate) regressions: Vec<String>,
    /// Serve more than containerd 2.1, or less: streamed-lists, v1alpha1, no-v1, no-v1alpha2, no-pod-events. May be given again
    #[arg(long = "variant", value_name = "NAME", value_parser = values::variant)]
    pub(crate) variants: Vec<Variant>,
    /// Have this runtime handler besides the usual ones. May be given again
    #[arg(long = "handler", value_name = "NAME")]
    pub(crate) handlers: Vec<String>,
    /// List the regressions there are
    #[arg(long)]
    pub(crate) list_regressions: bool,
    /// Where ids and orders come from; a number makes a run repeatable
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Form of the list
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}
