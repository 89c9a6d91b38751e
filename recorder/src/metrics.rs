//! Counters over HTTP, as Prometheus asks for them, on a thread of their own: whoever asks never waits for the relay, nor the
//! relay for whoever asks.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::Counters;

/// What the text is, as Prometheus is told.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections answered at a time. More wait, so that nobody uses up the recorder's file descriptors.
const CONNECTIONS: usize = 16;
/// How long a client has to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there are no metrics.
#[derive(Debug, Error)]
#[error("offering metrics on {address}: {source}; choose another port, or 0 for any")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// A port on which metrics will be offered.
#[derive(Debug)]
pub struct Metrics {
    socket: StdListener,
    address: SocketAddr,
}

impl Metrics {
    /// Takes the port; 0 takes any.
    pub fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError { address, source };
        let socket = StdListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { address: socket.local_addr().map_err(failed)?, socket })
    }

    /// Where that is, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers `/metrics` and `/healthz` for as long as the process lives.
    ///
    /// # Errors
    /// Where the thread can't be started.
    pub fn serve(self, counters: Arc<Counters>) -> Result<(), MetricsError> {
        let Self { socket, address } = self;
        let failed = |source| MetricsError { address, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let serve = async move {
            match TcpListener::from_std(socket) {
                Ok(listener) => accept(&listener, &counters).await,
                Err(error) => tracing::warn!(%error, "there are no metrics"),
            }
        };
        let thread = thread::Builder::new().name("metrics".to_owned());
        thread.spawn(move || runtime.block_on(serve)).map_err(failed)?;
        Ok(())
    }
}

async fn accept(listener: &TcpListener, counters: &Arc<Counters>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let counters = counters.clone();
                tokio::spawn(async move {
                    connection(stream, counters).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, counters: Arc<Counters>) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &counters);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

fn answer<B>(request: &Request<B>, counters: &Counters) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let mut written = String::new();
            match text::encode(&mut written, &counters.registry) {
                Ok(()) => response(StatusCode::OK, OPEN_METRICS, written.into()),
                Err(fmt::Error) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written\n"),
            }
        }
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// What a tape takes on its disk, looked at when somebody asks.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) tape: PathBuf,
}

impl Collector for Disk {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, value: u64| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let unit = Unit::Bytes;
            gauge.encode(encoder.encode_descriptor(name, help, Some(&unit), gauge.metric_type())?)
        };
        gauge("tape", "Space that the tape takes on its disk.", taken(&self.tape))?;
        match rustix::fs::statvfs(&self.tape) {
            Ok(disk) => gauge("disk_free", "Free space on the tape's disk.", disk.f_bavail * disk.f_frsize),
            Err(_) => Ok(()),
        }
    }
}

/// Bytes of blocks below a folder. What can't be read, or goes away meanwhile, counts nothing.
fn taken(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    /// The unit of `st_blocks`, whatever the file system's blocks are.
    const BLOCK: u64 = 512;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => taken(&entry.path()),
            Ok(metadata) => metadata.blocks() * BLOCK,
            Err(_) => 0,
        })
        .sum()
}
