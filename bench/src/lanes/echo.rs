//! The server that all lanes lead to: CRI's paths, and answers that cost next to nothing.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use cri::v1;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::MissedTickBehavior;

use crate::load::framed;

use crate::load::{CONNECTION_WINDOW, IMAGE_STATUS, STREAM_WINDOW};

/// How often a stream has an event.
const EVENT_EVERY: Duration = Duration::from_millis(2);
pub(crate) const EVENTS: &str = "/runtime.v1.RuntimeService/GetContainerEvents";

pub(super) async fn serve(listen: &Path, port: u16) -> Result<()> {
    let unix = UnixListener::bind(listen)?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        tokio::select! {
            accepted = unix.accept() => {
                tokio::task::spawn_local(connection(accepted?.0));
            }
            accepted = tcp.accept() => {
                let stream = accepted?.0;
                stream.set_nodelay(true)?;
                tokio::task::spawn_local(connection(stream));
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let server = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(1024)
        .handshake::<_, Bytes>(stream)
        .await;
    let Ok(mut server) = server else { return };
    while let Some(Ok((request, respond))) = server.accept().await {
        tokio::task::spawn_local(async move {
            // The caller sees that its call broke, and rejects the run.
            let _ = answer(request, respond).await;
        });
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<()> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    match head.uri.path() {
        IMAGE_STATUS => echo(body, respond.send_response(response, false)?).await,
        EVENTS => events(respond.send_response(response, false)?).await,
        _ => {
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
            respond.send_response(response, true)?;
            Ok(())
        }
    }
}

/// Sends the request back, once it is complete: as a runtime does.
async fn echo(mut body: RecvStream, mut reply: SendStream<Bytes>) -> Result<()> {
    let mut parts = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        parts.push(data);
    }
    for part in parts {
        reply.send_data(part, false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    reply.send_trailers(trailers)?;
    Ok(())
}

/// Sends events, each with the time at which it was made, until the caller is gone.
async fn events(mut reply: SendStream<Bytes>) -> Result<()> {
    let mut ticks = tokio::time::interval(EVENT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let event = v1::ContainerEventResponse {
            container_id: "0123456789abcdef".repeat(4),
            created_at: now(),
            ..Default::default()
        };
        reply.send_data(framed(&event), false)?;
    }
}

/// Nanoseconds of the clock that all processes share.
pub(crate) fn now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
