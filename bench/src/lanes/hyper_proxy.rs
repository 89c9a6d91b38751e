//! A gRPC proxy as one writes it on hyper: a server connection, a client connection, bodies handed through.

use std::path::Path;

use anyhow::Result;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, client, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};

use crate::load::{CONNECTION_WINDOW, STREAM_WINDOW};

pub(super) async fn serve(upstream: &Path, listen: &Path) -> Result<()> {
    let listener = UnixListener::bind(listen)?;
    loop {
        let (client, _) = listener.accept().await?;
        let server = UnixStream::connect(upstream).await?;
        tokio::task::spawn_local(async move {
            // Whoever called sees how it ended.
            let _ = connection(client, server).await;
        });
    }
}

async fn connection(client: UnixStream, server: UnixStream) -> Result<()> {
    let (send, to_server) = client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, Incoming>(TokioIo::new(server))
        .await?;
    tokio::task::spawn_local(to_server);
    let forward = service_fn(move |request: Request<Incoming>| {
        let mut send = send.clone();
        async move { send.send_request(request).await }
    });
    server::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(1024)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(client), forward)
        .await?;
    Ok(())
}
