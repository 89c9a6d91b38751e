//! A runtime that answers what a test tells it to, over a real unix socket.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use cri::Endpoint;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// What the runtime does with a call.
#[derive(Clone)]
pub enum Reply {
    /// Answers with this message.
    Message(Vec<u8>),
    /// Ends the call with this status: code, message, details.
    Status(i32, &'static str, Vec<u8>),
    /// Lets the client wait.
    Never,
}

/// One call as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub message: Bytes,
    pub timeout: String,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    seen: Vec<Seen>,
}

/// The runtime. It stops when it is dropped.
pub struct Fake {
    folder: TempDir,
    state: Arc<Mutex<State>>,
    running: Option<JoinHandle<()>>,
}

impl Fake {
    /// A runtime that is not there yet.
    pub fn absent() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), state: Arc::default(), running: None }
    }

    pub fn started() -> Self {
        let mut fake = Self::absent();
        fake.start();
        fake
    }

    pub fn start(&mut self) {
        let _ = std::fs::remove_file(self.path());
        let listener = UnixListener::bind(self.path()).unwrap();
        let state = self.state.clone();
        self.running = Some(tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                connections.spawn(async move {
                    let answer = hyper::service::service_fn(move |request| answer(state.clone(), request));
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        }));
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::at(self.path()).unwrap()
    }

    /// From now on, the RPC of this name is answered so.
    pub fn reply(&self, rpc: &str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(rpc.to_owned(), reply);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("r.sock")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let timeout = request.headers().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
    let mut body = request.into_body().collect().await.unwrap().to_bytes();
    // One message behind five bytes of framing.
    body.advance(5);
    let rpc = path.rsplit('/').next().unwrap().to_owned();
    let reply = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen { path, message: body, timeout: timeout.unwrap_or_default() });
        state.replies.get(&rpc).cloned()
    };
    let response = Response::builder().header("content-type", "application/grpc");
    let unimplemented = Reply::Status(12, "not made for this", Vec::new());
    Ok(match reply.unwrap_or(unimplemented) {
        Reply::Message(message) => {
            let mut framed = vec![0];
            framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            framed.extend(message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let body = Full::new(Bytes::from(framed)).with_trailers(async move { Some(Ok(trailers)) });
            response.body(body.boxed()).unwrap()
        }
        Reply::Status(code, message, details) => {
            let mut response = response.header("grpc-status", code).header("grpc-message", message);
            if !details.is_empty() {
                use base64::Engine as _;
                let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details);
                response = response.header("grpc-status-details-bin", details);
            }
            response.body(Empty::new().boxed()).unwrap()
        }
        Reply::Never => std::future::pending().await,
    })
}
