//! One client connection, on h2 alone, so that the client's own share of a call is small.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

pub(crate) const IMAGE_STATUS: &str = "/runtime.v1.ImageService/ImageStatus";
/// What may be under way to one side on one stream: more than gRPC's default, which would stop a 64 KiB message half-way.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all streams of a connection.
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;

/// Where a lane is entered.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A connection that makes calls. Ends when dropped. Lives on a `LocalSet`.
#[derive(Debug)]
pub(crate) struct Caller {
    send: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

impl Caller {
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        match target {
            Target::Unix(path) => Self::over(UnixStream::connect(path).await?).await,
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Self::over(stream).await
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Result<Self> {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await?;
        let connection = tokio::task::spawn_local(async move {
            // The calls on it say what went wrong.
            let _ = connection.await;
        });
        Ok(Self { send, connection })
    }

    /// Makes a unary call and says how many bytes came back.
    ///
    /// # Errors
    /// Whatever is not an answer with status OK.
    pub(crate) async fn call(&self, path: &str, framed: Bytes) -> Result<usize> {
        let mut body = self.start(path, framed).await?;
        let mut length = 0;
        while let Some(data) = body.data().await {
            let count = data?.len();
            length += count;
            body.flow_control().release_capacity(count)?;
        }
        let trailers = body.trailers().await?.ok_or_else(|| anyhow!("a call ended without trailers"))?;
        let status = trailers.get("grpc-status").ok_or_else(|| anyhow!("a call ended without a status"))?;
        ensure!(status == "0", "a call ended with status {status:?}: {:?}", trailers.get("grpc-message"));
        Ok(length)
    }

    /// Begins a call; what comes back is to be read by the caller.
    pub(crate) async fn start(&self, path: &str, framed: Bytes) -> Result<RecvStream> {
        let mut send = self.send.clone().ready().await?;
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "critape-bench")
            .body(())?;
        let (response, mut body) = send.send_request(request, false)?;
        body.send_data(framed, true)?;
        let response = response.await?;
        ensure!(
            response.status() == http::StatusCode::OK,
            "a call was answered with HTTP {}",
            response.status()
        );
        if let Some(status) = response.headers().get("grpc-status") {
            ensure!(
                status == "0",
                "a call ended with status {status:?}: {:?}",
                response.headers().get("grpc-message")
            );
        }
        Ok(response.into_body())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
