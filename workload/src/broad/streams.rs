//! Clients that listen to events, and one that comes back.

use bytes::Bytes;
use cri::{Endpoint, v1};
use prost::Message;
use tonic::Streaming;

use super::pods::Pod;
use super::{Node, Result};
use crate::kubelet::{DEADLINE, Kubelet, WorkloadError};

/// Two that listen from the beginning to the end, each on a connection of its own.
pub(super) struct Watchers {
    streams: Vec<(Kubelet, Streaming<Bytes>)>,
}

impl Watchers {
    pub(super) async fn subscribe(endpoint: &Endpoint) -> Result<Self> {
        let mut streams = Vec::new();
        for _ in 0..2 {
            let client = Kubelet::connect(endpoint).await?;
            let stream = listen(&client).await?;
            streams.push((client, stream));
        }
        Ok(Self { streams })
    }

    /// Listens until each has heard that this sandbox is gone, and leaves.
    pub(super) async fn until_deleted(self, sandbox: &str) -> Result<()> {
        for (client, mut stream) in self.streams {
            let heard = tokio::time::timeout(DEADLINE, deletion(&mut stream, sandbox)).await;
            if !matches!(heard, Ok(true)) {
                return Err(WorkloadError::TimedOut("events tell of the last pod's end".to_owned()));
            }
            leave(&client, stream).await?;
        }
        Ok(())
    }
}

/// Subscribes, and waits until the runtime knows: what comes later on the connection is answered later.
async fn listen(client: &Kubelet) -> Result<Streaming<Bytes>> {
    let stream = client.events().await?;
    client.call("Version", &v1::VersionRequest::default()).await?;
    Ok(stream)
}

/// False where the stream ends before.
async fn deletion(stream: &mut Streaming<Bytes>, sandbox: &str) -> bool {
    while let Ok(Some(message)) = stream.message().await {
        let Ok(event) = v1::ContainerEventResponse::decode(message) else { return false };
        let deleted = event.container_event_type() == v1::ContainerEventType::ContainerDeletedEvent;
        if deleted && event.container_id == sandbox {
            return true;
        }
    }
    false
}

/// Drops a stream, and waits until the runtime knows.
async fn leave(client: &Kubelet, stream: Streaming<Bytes>) -> Result<()> {
    drop(stream);
    client.call("Version", &v1::VersionRequest::default()).await.map(drop)
}

/// A client listens, goes, and comes back, and then a pod is started.
pub(super) async fn come_back(endpoint: &Endpoint, node: &Node, pods: &mut Vec<Pod>) -> Result<()> {
    let client = Kubelet::connect(endpoint).await?;
    let first = listen(&client).await?;
    leave(&client, first).await?;
    let second = listen(&client).await?;
    let mut pod = Pod::run(node, node.pod("after-return")).await?;
    pod.start(node, "main", "sleep 600", |_| {}).await?;
    node.pod_status(&pod.sandbox, false).await?;
    pods.push(pod);
    leave(&client, second).await
}
