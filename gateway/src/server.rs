//! The gateway on a socket: connections are accepted, served, and given a last chance when it stops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use cri::listen::{Door, ListenError, SocketFile, bind};

use crate::{Auth, Config, Listen, router};

/// How long a client has to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after the system had no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket on which a gateway listens. A unix socket is removed with it.
#[derive(Debug)]
pub struct Listener {
    at: Listen,
    socket: Socket,
    /// Removes the file of a unix socket when it is dropped.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Why nothing can listen there.
#[derive(Debug, Error)]
pub enum BindError {
    /// The port can't be had.
    #[error("listening on {address}: {source}; choose another port, or 0 for any")]
    Port {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket can't be made.
    #[error(transparent)]
    Socket(#[from] ListenError),
}

/// Why a gateway does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A port has no mode that could decide who may ask.
    #[error("{0} is open to every local user and needs a token: give one, or listen on a unix socket")]
    NeedsToken(Listen),
}

impl Listener {
    /// Takes the port, or makes the socket with mode 0600. A socket that is there already is replaced if nothing answers
    /// on it.
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        Ok(match listen {
            Listen::Tcp(address) => {
                let failed = |source| BindError::Port { address: *address, source };
                let socket = TcpListener::bind(address).await.map_err(failed)?;
                let bound = socket.local_addr().map_err(failed)?;
                Self { at: Listen::Tcp(bound), socket: Socket::Tcp(socket), _file: None }
            }
            Listen::Unix(endpoint) => {
                let (socket, file) = bind(endpoint, Door::Owner).await?;
                Self { at: listen.clone(), socket: Socket::Unix(socket), _file: Some(file) }
            }
        })
    }

    /// Where it listens, with the port that it got. Shown as `http://127.0.0.1:PORT` or `unix:///path`.
    pub fn at(&self) -> &Listen {
        &self.at
    }

    async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Socket::Unix(socket) => Ok(Stream::Unix(socket.accept().await?.0)),
        }
    }
}

/// A client's end.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    async fn serve(self, router: Router, stopped: watch::Receiver<()>) {
        match self {
            Self::Tcp(stream) => connection(stream, router, stopped).await,
            Self::Unix(stream) => connection(stream, router, stopped).await,
        }
    }
}

/// Answers until `shutdown` comes true; then requests that are under way have [`Config::grace`] to end, and are cut off.
pub async fn serve(
    listener: Listener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    if matches!((&listener.socket, &config.auth), (Socket::Tcp(_), Auth::UnixSocket)) {
        return Err(ServeError::NeedsToken(listener.at));
    }
    let router = router(&config);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(stream) => drop(connections.spawn(stream.serve(router.clone(), stopped.clone()))),
                Err(error) => refused(&error).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    // New clients are turned away while the last requests end.
    drop((listener, stop, stopped));
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(config.grace, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests did not end in time and are cut off");
        connections.shutdown().await;
    }
    Ok(())
}

async fn refused(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    // A client that went away before it was accepted.
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput) {
        return;
    }
    tracing::warn!(%error, "no connection can be accepted: raise the limit of open files if this stays");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn connection<S>(stream: S, router: Router, mut stopped: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        // The sender is dropped when the gateway stops.
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
