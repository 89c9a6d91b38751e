//! A runtime that says it has done what it is yet to do, or shows what is not so: calls pass to a simulator behind it, some of them later
//! than they are answered, and some answers are changed on their way.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use cri::Endpoint;
use cri::client::Client;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Notify;
use tonic::Status;
use tonic::codegen::tokio_stream::StreamExt as _;

/// What is answered early.
#[derive(Clone, Copy, Debug)]
pub struct Early {
    /// The RPC; its answer has no fields.
    pub rpc: &'static str,
    /// When it is done.
    pub done: Done,
}

/// Changes answers: gets the RPC, how many of it were answered, and the answer.
pub type Alter = fn(&str, usize, Bytes) -> Bytes;

/// What stands between.
#[derive(Clone, Copy, Debug)]
pub enum Front {
    Early(Early),
    Alter(Alter),
    /// Answers the first of these RPCs once it has answered the second.
    Late(&'static str, &'static str),
}

/// When something is done that was said to be done.
#[derive(Clone, Copy, Debug)]
pub enum Done {
    /// When so many reads have been answered after it.
    AfterReads(usize),
    /// So much later.
    After(Duration),
}

/// A call that was answered, and the reads that come before it is done.
struct Waiting {
    path: String,
    message: Bytes,
    reads: usize,
}

struct Middle {
    client: Client,
    front: Front,
    waiting: Mutex<VecDeque<Waiting>>,
    answered: Mutex<HashMap<String, usize>>,
    /// What answers wait for has come.
    has_come: Notify,
}

/// Serves the socket; what stands behind it listens already.
pub async fn serve(listener: UnixListener, behind: Endpoint, front: Front) {
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    let client = Client::connect(&behind).await.unwrap();
    let middle = Arc::new(Middle {
        client,
        front,
        waiting: Mutex::default(),
        answered: Mutex::default(),
        has_come: Notify::new(),
    });
    while let Ok((stream, _)) = listener.accept().await {
        let middle = middle.clone();
        tokio::spawn(async move {
            let answer = hyper::service::service_fn(move |request| answer(middle.clone(), request));
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(middle: Arc<Middle>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut message = request.into_body().collect().await.unwrap().to_bytes();
    // One message behind five bytes of framing.
    message.advance(5);
    let response = Response::builder().header("content-type", "application/grpc");
    if path.ends_with("/GetContainerEvents") {
        let events = middle.client.stream(&path, message, None).await.unwrap();
        let frames = events.map_while(|event| Some(Ok(Frame::data(framed(&event.ok()?)))));
        return Ok(response.body(BodyExt::boxed(StreamBody::new(frames))).unwrap());
    }
    Ok(match middle.call(path, message).await {
        Ok(message) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let body = Full::new(framed(&message)).with_trailers(async move { Some(Ok(trailers)) });
            response.body(body.boxed()).unwrap()
        }
        Err(status) => {
            let mut response = response.body(Empty::new().boxed()).unwrap();
            status.add_header(response.headers_mut()).unwrap();
            response
        }
    })
}

/// A message as it goes over the wire.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

impl Middle {
    async fn call(self: Arc<Self>, path: String, message: Bytes) -> Result<Bytes, Status> {
        let rpc = path.rsplit('/').next().unwrap();
        let early = match self.front {
            Front::Early(early) => early,
            Front::Alter(alter) => {
                let answer = self.client.unary(&path, message, None).await?.message;
                let mut answered = self.answered.lock().unwrap();
                let count = answered.entry(rpc.to_owned()).or_default();
                *count += 1;
                return Ok(alter(rpc, *count, answer));
            }
            Front::Late(late, until) => {
                let answer = self.client.unary(&path, message, None).await.map(|reply| reply.message);
                if rpc == until {
                    self.has_come.notify_one();
                } else if rpc == late {
                    self.has_come.notified().await;
                }
                return answer;
            }
        };
        if rpc == early.rpc {
            match early.done {
                Done::AfterReads(reads) => {
                    self.waiting.lock().unwrap().push_back(Waiting { path, message, reads });
                }
                Done::After(time) => drop(tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    self.client.unary(&path, message, None).await
                })),
            }
            return Ok(Bytes::new());
        }
        let is_read = rpc.starts_with("List") || rpc.ends_with("Status");
        let answer = self.client.unary(&path, message, None).await.map(|reply| reply.message);
        if is_read {
            let due = {
                let mut waiting = self.waiting.lock().unwrap();
                waiting.iter_mut().for_each(|it| it.reads -= 1);
                let left = waiting.iter().position(|it| it.reads > 0).unwrap_or(waiting.len());
                waiting.drain(..left).collect::<Vec<_>>()
            };
            for done in due {
                self.client.unary(&done.path, done.message, None).await?;
            }
        }
        answer
    }
}
