//! A CRI client that sends and returns the bytes of messages.
//!
//! Bytes, because generated types lose fields that a newer peer knows: whoever needs the fields decodes them with
//! [`crate::pool`]. One [`Client`] is one HTTP/2 connection; clones share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::endpoint::Endpoints;
use crate::{Endpoint, Generation, MAX_MESSAGE_BYTES, Service, generations, methods};

/// What the status of a call says that ended because its deadline had come on this side.
pub const OWN_DEADLINE: &str = "the runtime did not answer before the deadline";

/// Why there is no connection.
#[derive(Debug, Error)]
#[error("no runtime answers at {endpoint}: {reason}")]
pub struct ConnectError {
    /// Where it was tried.
    pub endpoint: Endpoint,
    /// What the system said.
    pub reason: String,
}

/// Room that is made for an answer nobody has an idea of.
const USUAL_ROOM: usize = 8 << 10;
/// Headers of messages, and what an answer may have grown by.
const SPARE_ROOM: usize = 512;
/// What a frame of HTTP/2 holds at most, unless the two ends agree on more.
const FRAME: usize = 16 << 10;
/// No more room is made before an answer comes.
const MOST_ROOM: usize = 1 << 20;

/// One connection to a CRI server.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    room: usize,
    /// How often it has connected.
    connected: Arc<AtomicU64>,
}

/// Connections to the two services, which are one where they share a socket.
#[derive(Clone, Debug)]
pub struct Clients {
    runtime: Client,
    image: Client,
}

impl Clients {
    /// Connects now.
    pub async fn connect(endpoints: &Endpoints) -> Result<Self, ConnectError> {
        let runtime = Client::connect(&endpoints.runtime).await?;
        let image = if endpoints.image == endpoints.runtime {
            runtime.clone()
        } else {
            Client::connect(&endpoints.image).await?
        };
        Ok(Self { runtime, image })
    }

    /// How often either was connected: more often than at first where the runtime was restarted.
    pub fn times_connected(&self) -> u64 {
        let of = |client: &Client| client.connected.load(Ordering::Relaxed);
        let is_one = Arc::ptr_eq(&self.runtime.connected, &self.image.connected);
        of(&self.runtime) + if is_one { 0 } else { of(&self.image) }
    }

    /// The connection to this service.
    pub fn of(&self, service: Service) -> &Client {
        match service {
            Service::Runtime => &self.runtime,
            Service::Image => &self.image,
        }
    }

    /// The connection for this request path.
    pub fn for_path(&self, path: &str) -> &Client {
        if path.contains("ImageService/") { &self.image } else { &self.runtime }
    }
}

/// How a unary call ended well.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response message.
    pub message: Bytes,
    /// Headers and trailers.
    pub metadata: tonic::metadata::MetadataMap,
}

impl Client {
    /// Connects now.
    ///
    /// The channel connects again by itself when the runtime restarts.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        let path = endpoint.path().to_owned();
        let connected = Arc::new(AtomicU64::new(0));
        let count = connected.clone();
        // The authority of a unix socket means nothing; kubelet sends this one.
        let channel = tonic::transport::Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(move |_| {
                let (path, count) = (path.clone(), count.clone());
                async move {
                    let stream = UnixStream::connect(path).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                    std::io::Result::Ok(TokioIo::new(stream))
                }
            }))
            .await
            .map_err(|error| ConnectError { endpoint: endpoint.clone(), reason: innermost(&error) })?;
        Ok(Self { channel, room: USUAL_ROOM, connected })
    }

    /// The same connection, for a call whose answer will take about so many bytes. It may take more.
    #[must_use]
    pub fn expecting(&self, bytes: usize) -> Self {
        // Once the first frame tells how long the answer is, tonic makes room for all of it behind that.
        let room = bytes.saturating_add(bytes.min(FRAME)).saturating_add(SPARE_ROOM);
        Self { room: room.min(MOST_ROOM), ..self.clone() }
    }

    /// One unary call. `metadata` is sent as it is; a `deadline` is sent as `grpc-timeout` and held.
    ///
    /// # Errors
    /// The status with which the runtime ended the call, or the one that stands for what broke it.
    pub async fn unary(
        &self,
        path: &str,
        message: Bytes,
        deadline: Option<Duration>,
    ) -> Result<Reply, Status> {
        let path = request_path(path)?;
        let mut grpc = self.ready().await?;
        let due = Due::of(deadline);
        let response = grpc.unary(request(message, deadline), path, self.codec()).await;
        let response = response.map_err(|status| named(status, due.has_come()))?;
        let (metadata, message, _) = response.into_parts();
        Ok(Reply { message, metadata })
    }

    /// The newest generation that the runtime speaks, as kubelet finds it out: by asking for the version.
    ///
    /// # Errors
    /// What the runtime said to the last try.
    pub async fn generation(&self, deadline: Duration) -> Result<Generation, Status> {
        let mut last = Status::unimplemented("no generation of CRI is served");
        for generation in generations().into_iter().rev() {
            let Some(version) = methods().by_name(generation, "Version") else { continue };
            match self.unary(&version.path, Bytes::new(), Some(deadline)).await {
                Ok(_) => return Ok(generation),
                Err(status) if status.code() == tonic::Code::Unimplemented => last = status,
                Err(status) => return Err(status),
            }
        }
        Err(last)
    }

    /// One call whose response is a stream. Also fit for unary calls whose trailers matter.
    ///
    /// # Errors
    /// As [`Self::unary`]; the stream's own end is in the stream.
    pub async fn stream(
        &self,
        path: &str,
        message: Bytes,
        deadline: Option<Duration>,
    ) -> Result<Streaming<Bytes>, Status> {
        let path = request_path(path)?;
        let mut grpc = self.ready().await?;
        let due = Due::of(deadline);
        let response = grpc.server_streaming(request(message, deadline), path, self.codec()).await;
        Ok(response.map_err(|status| named(status, due.has_come()))?.into_inner())
    }

    fn codec(&self) -> RawCodec {
        RawCodec { room: self.room }
    }

    async fn ready(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready().await.map_err(|error| broken(innermost(&error), error))?;
        Ok(grpc)
    }
}

/// When a call's deadline comes.
struct Due(Option<Instant>);

impl Due {
    /// Of a call that is sent now.
    fn of(deadline: Option<Duration>) -> Self {
        Self(deadline.and_then(|deadline| Instant::now().checked_add(deadline)))
    }

    fn has_come(&self) -> bool {
        self.0.is_some_and(|due| due <= Instant::now())
    }
}

/// tonic has names of its own for a deadline that came and a connection that broke; other gRPC clients call them what they are.
///
/// A runtime looks at the deadline too, and may cancel the call before our own timer goes off: that is the deadline, not a cancellation.
fn named(status: Status, is_due: bool) -> Status {
    let is_our_timer = status.message() == "Timeout expired";
    if status.code() == tonic::Code::Cancelled && (is_our_timer || is_due) {
        return Status::deadline_exceeded(OWN_DEADLINE);
    }
    // A connection that broke is not an answer nobody understands.
    if status.code() == tonic::Code::Unknown && status.message() == "transport error" {
        return broken(innermost(&status), status);
    }
    status
}

/// The status that stands for a connection which broke or could not be made; its source tells it from what a runtime says.
fn broken(message: String, source: impl std::error::Error + Send + Sync + 'static) -> Status {
    let mut status = Status::unavailable(message);
    status.set_source(Arc::new(source));
    status
}

/// Whether this status stands for something that went wrong on the way, and the runtime did not say it.
pub fn is_from_the_way(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn request(message: Bytes, deadline: Option<Duration>) -> Request<Bytes> {
    let mut request = Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    request
}

fn request_path(path: &str) -> Result<PathAndQuery, Status> {
    path.parse().map_err(|_| Status::internal(format!("{path} is no request path")))
}

/// The last of the errors that caused this one: what the system said, without the layers that carried it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Takes messages for bytes.
#[derive(Clone, Copy, Debug)]
struct RawCodec {
    room: usize,
}

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(self.room, USUAL_ROOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_cancelled_when_its_deadline_has_come_has_met_it() {
        let reset = || Status::cancelled("h2 protocol error: http2 error");
        let due = Due::of(Some(Duration::ZERO)).has_come();
        assert_eq!(named(reset(), due).code(), tonic::Code::DeadlineExceeded);
        for early in [Due::of(Some(Duration::MAX)), Due::of(Some(Duration::from_secs(60))), Due::of(None)] {
            assert_eq!(named(reset(), early.has_come()).code(), tonic::Code::Cancelled);
        }
        assert_eq!(named(Status::cancelled("Timeout expired"), false).message(), OWN_DEADLINE);
        assert_eq!(named(Status::not_found("no such pod"), true).code(), tonic::Code::NotFound);
    }
}
