//! Where clients are to connect, and what its name means to them.

use std::os::unix::net::UnixListener;

use anyhow::{Context, Result, bail};
use cri::Endpoint;
use critape_recorder::Entrance;

use crate::args::RecordArgs;
use crate::output;

/// Kubelet takes the statistics of containers from cAdvisor where its endpoint ends with this, and asks the runtime for them
/// elsewhere (`CrioSocketSuffix` in its `pkg/kubelet/cadvisor`).
const CRIO_SUFFIX: &str = "run/crio/crio.sock";

/// What was asked for, with the socket that was passed, if one was.
pub(super) fn choose(args: &RecordArgs, passed: Option<UnixListener>) -> Result<Entrance> {
    Ok(match (&args.listen, args.take_over, passed) {
        (Some(listen), _, None) => Entrance::Listen(listen.clone()),
        (Some(_), _, Some(_)) => bail!("the service manager passed a socket: leave --listen out"),
        (None, true, passed) => Entrance::TakeOver(passed),
        (None, false, Some(passed)) => Entrance::Passed(passed),
        (None, false, None) => bail!(
            "where clients connect is missing: give --listen unix:///run/critape.sock, or --take-over for the runtime's own \
             path"
        ),
    })
}

/// The endpoint that clients are to use.
pub(super) fn endpoint(entrance: &Entrance, runtime: &Endpoint) -> Result<Endpoint> {
    Ok(match entrance {
        Entrance::Listen(endpoint) => endpoint.clone(),
        Entrance::TakeOver(_) => runtime.clone(),
        Entrance::Passed(socket) => {
            let address = socket.local_addr().context("the socket that the service manager passed")?;
            let path = address.as_pathname().context(
                "the socket that the service manager passed has no path: let it listen on one, as \
                 /run/critape/containerd.sock",
            )?;
            Endpoint::at(path)?
        }
    })
}

/// Warns where kubelet would behave differently because the socket is called differently.
pub(super) fn warn_of_suffix(runtime: &Endpoint, clients_at: &Endpoint) {
    let ends = |endpoint: &Endpoint| endpoint.to_string().ends_with(CRIO_SUFFIX);
    match (ends(runtime), ends(clients_at)) {
        (true, false) => output::say(format_args!(
            "warning: kubelet takes statistics from cAdvisor only where its endpoint ends with {CRIO_SUFFIX}, so it makes other \
             calls on {clients_at}: listen on a path that ends so, as /run/critape/{CRIO_SUFFIX}, or use --take-over"
        )),
        (false, true) => output::say(format_args!(
            "warning: kubelet takes statistics from cAdvisor where its endpoint ends with {CRIO_SUFFIX}, so it makes other calls \
             on {clients_at} than on {runtime}: listen on a path that ends otherwise"
        )),
        _ => {}
    }
}
