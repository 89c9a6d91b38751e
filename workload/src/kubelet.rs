//! One connection to a runtime, and calls on it.

use std::time::Duration;

use bytes::Bytes;
use cri::client::{Client, ConnectError};
use cri::{Endpoint, Generation, methods, v1};
use prost::Message;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tonic::{Status, Streaming};

/// Nothing here takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// How often a state is looked at that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(60);

/// Why a workload could not be done to its end.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// There is no connection.
    #[error("connect to the runtime")]
    Connect(#[from] ConnectError),
    /// A call failed that goes well on a runtime that keeps to the contract.
    #[error("call {rpc}")]
    Call {
        /// The RPC.
        rpc: String,
        /// How it ended.
        #[source]
        status: Box<Status>,
    },
    /// An answer is no message of its type.
    #[error("read the answer of {rpc}")]
    Decode {
        /// The RPC.
        rpc: String,
        /// What is wrong with it.
        #[source]
        source: prost::DecodeError,
    },
    /// Something did not come about in time.
    #[error("wait until {0}")]
    TimedOut(String),
}

/// A connection, as kubelet has one for each service.
#[derive(Clone, Debug)]
pub(crate) struct Kubelet {
    client: Client,
}

impl Kubelet {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, WorkloadError> {
        Ok(Self { client: Client::connect(endpoint).await? })
    }

    /// A call that is to go well.
    pub(crate) async fn call(&self, rpc: &str, request: &impl Message) -> Result<Bytes, WorkloadError> {
        let called = self.attempt(rpc, request, DEADLINE).await;
        called.map_err(|status| WorkloadError::Call { rpc: rpc.to_owned(), status: Box::new(status) })
    }

    /// The same, with its answer read.
    pub(crate) async fn ask<M: Message + Default>(
        &self,
        rpc: &str,
        request: &impl Message,
    ) -> Result<M, WorkloadError> {
        let answer = self.call(rpc, request).await?;
        M::decode(answer).map_err(|source| WorkloadError::Decode { rpc: rpc.to_owned(), source })
    }

    /// A call that may fail.
    pub(crate) async fn attempt(
        &self,
        rpc: &str,
        request: &impl Message,
        deadline: Duration,
    ) -> Result<Bytes, Status> {
        self.attempt_in(Generation::V1, rpc, request, deadline).await
    }

    /// The same, in another generation.
    pub(crate) async fn attempt_in(
        &self,
        generation: Generation,
        rpc: &str,
        request: &impl Message,
        deadline: Duration,
    ) -> Result<Bytes, Status> {
        let path = path(generation, rpc)?;
        let reply = self.client.unary(path, request.encode_to_vec().into(), Some(deadline)).await?;
        Ok(reply.message)
    }

    /// Subscribes to the events of containers.
    pub(crate) async fn events(&self) -> Result<Streaming<Bytes>, WorkloadError> {
        let rpc = "GetContainerEvents";
        let opened = async { self.client.stream(path(Generation::V1, rpc)?, Bytes::new(), None).await };
        opened.await.map_err(|status| WorkloadError::Call { rpc: rpc.to_owned(), status: Box::new(status) })
    }

    /// Asks for a container's status until it has exited.
    pub(crate) async fn exited(&self, container: &str) -> Result<(), WorkloadError> {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            let request = v1::ContainerStatusRequest { container_id: container.to_owned(), verbose: false };
            let answer: v1::ContainerStatusResponse = self.ask("ContainerStatus", &request).await?;
            if answer.status.is_some_and(|status| status.state() == v1::ContainerState::ContainerExited) {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        Err(WorkloadError::TimedOut("a container exits".to_owned()))
    }
}

fn path(generation: Generation, rpc: &str) -> Result<&'static str, Status> {
    let method = methods().by_name(generation, rpc);
    method
        .map(|method| method.path.as_str())
        .ok_or_else(|| Status::unimplemented(format!("{rpc} is no RPC of {generation}")))
}
