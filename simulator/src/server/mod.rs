//! The runtime on a socket.

mod alpha;
mod caller;
mod connection;
mod incoming;
mod router;

use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::transport::Server;

pub(crate) use caller::Caller;
use incoming::Incoming;
use router::Router;

use crate::Simulator;

/// Calls under way on one connection. hyper's 200 is below what a replay at full speed has under way.
const CONCURRENT_CALLS: u32 = 1024;

/// How long clients get to take their last answers after the shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Why serving ended before its shutdown.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The HTTP/2 server gave up.
    #[error("serve the runtime on its socket")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves until `shutdown` completes. The listener is already bound by the caller, and the socket stays theirs to remove.
///
/// At the shutdown calls under way end with `UNAVAILABLE`, as do streams; pods and containers go on, so that the simulator
/// can be served again.
pub async fn serve(
    simulator: Simulator,
    listener: UnixListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (close, closing) = watch::channel(false);
    let deaths = simulator.state().events.deaths();
    let router = Router::new(simulator, closing.clone());
    let signal = async {
        shutdown.await;
        close.send_replace(true);
    };
    let server = Server::builder().max_concurrent_streams(CONCURRENT_CALLS).serve_with_incoming_shutdown(
        router,
        Incoming::new(listener, deaths),
        signal,
    );
    tokio::select! {
        ended = server => ended.map_err(ServeError::Transport),
        () = drained(closing) => Ok(()),
    }
}

async fn drained(mut closing: watch::Receiver<bool>) {
    // An error means that the sender is gone, which comes later still.
    let _ = closing.wait_for(|closing| *closing).await;
    tokio::time::sleep(DRAIN).await;
}
