//! The runtime: two sockets, often the same, connected to when they are first needed.
//!
//! A connection that was there once is made again by the channel itself after the runtime was restarted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cri::client::{Client, ConnectError, OWN_DEADLINE};
use cri::endpoint::Endpoints;
use cri::{Endpoint, Method, Service};
use tokio::sync::OnceCell;
use tonic::Status;

/// The longest time that a request itself can add to a call.
const LONGEST_EXTRA: Duration = Duration::from_secs(24 * 60 * 60);

/// The runtime behind a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    runtime: Arc<Socket>,
    image: Arc<Socket>,
    timeout: Duration,
}

#[derive(Debug)]
struct Socket {
    endpoint: Endpoint,
    client: OnceCell<Client>,
}

impl Socket {
    fn at(endpoint: &Endpoint) -> Arc<Self> {
        Arc::new(Self { endpoint: endpoint.clone(), client: OnceCell::new() })
    }

    async fn client(&self) -> Result<&Client, ConnectError> {
        self.client.get_or_try_init(|| Client::connect(&self.endpoint)).await
    }
}

impl Upstream {
    pub fn new(endpoints: &Endpoints, timeout: Duration) -> Self {
        let runtime = Socket::at(&endpoints.runtime);
        let image =
            if endpoints.image == endpoints.runtime { runtime.clone() } else { Socket::at(&endpoints.image) };
        Self { runtime, image, timeout }
    }

    /// One call. `extra` seconds, which the request itself gives the runtime, come on top of the deadline.
    pub async fn call(&self, method: &Method, message: Bytes, extra: i64) -> Result<Bytes, Status> {
        let socket = match method.service {
            Service::Runtime => &self.runtime,
            Service::Image => &self.image,
        };
        let extra = Duration::from_secs(u64::try_from(extra).unwrap_or(0)).min(LONGEST_EXTRA);
        let deadline = self.timeout + extra;
        let call = async {
            let client = socket.client().await.map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(&method.path, message, Some(deadline)).await
        };
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(reply)) => Ok(reply.message),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Status::deadline_exceeded(OWN_DEADLINE)),
        }
    }
}
