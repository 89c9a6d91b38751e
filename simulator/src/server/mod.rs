//! The runtime on a socket.

mod alpha;
mod caller;
mod connection;
mod incoming;
mod outbox;
mod router;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codegen::Service;
use tonic::codegen::http::Request;

pub(crate) use caller::Caller;
use connection::Connection;
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
    /// The socket is none on which connections come.
    #[error("accept connections on a socket that does not listen")]
    Accept(#[source] io::Error),
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
    let mut incoming = Incoming::new(listener, simulator.state().events.deaths());
    let router = Router::new(simulator, closing.clone());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = poll_fn(|context| incoming.poll_accept(context)) => {
                let connection = accepted.map_err(ServeError::Accept)?;
                connections.spawn(served(connection, router.clone(), closing.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(incoming);
    close.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    // Those that are left end with the set.
    let _ = tokio::time::timeout(DRAIN, drained).await;
    Ok(())
}

/// Serves one connection to its end; once `closing` has come true, until the calls under way have ended.
///
/// Each time the HTTP/2 library has written all it has to write, that is sent at once.
async fn served(connection: Connection, router: Router, mut closing: watch::Receiver<bool>) {
    let outbox = connection.outbox();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        router.clone().call(request.map(tonic::body::Body::new))
    });
    let mut http = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(CONCURRENT_CALLS)
            .serve_connection(TokioIo::new(connection), service)
    );
    let mut closed = pin!(async move {
        // An error means that the server is gone.
        let _ = closing.wait_for(|closing| *closing).await;
    });
    let mut is_closing = false;
    poll_fn(|context| {
        loop {
            if !is_closing && closed.as_mut().poll(context).is_ready() {
                is_closing = true;
                http.as_mut().graceful_shutdown();
            }
            let ended = http.as_mut().poll(context);
            let mut sending = outbox.lock();
            let was_full = sending.is_full();
            match sending.poll_send(context) {
                Poll::Ready(Ok(())) if was_full && ended.is_pending() => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                _ => return ended.map(drop),
            }
        }
    })
    .await;
}
