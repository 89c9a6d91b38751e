//! A small client of CRI: one connection, and calls one after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cri::client::{Client, Reply};
use cri::{Endpoint, Generation, methods, v1};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::{Status, Streaming};

use crate::process::PATIENCE;

/// The image of all containers.
pub const IMAGE: &str = "registry.example/busybox:1.36";

/// One connection. Its calls block; what comes in between is taken by a thread of its own.
#[derive(Debug)]
pub struct Kubelet {
    client: Client,
    runtime: Runtime,
}

impl Kubelet {
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let endpoint = Endpoint::at(socket).unwrap();
        let client = runtime.block_on(Client::connect(&endpoint)).unwrap();
        Self { client, runtime }
    }

    /// A call to this path with these bytes.
    pub fn send(&self, path: &str, request: Bytes, deadline: Duration) -> Result<Reply, Status> {
        self.runtime.block_on(self.client.unary(path, request, Some(deadline)))
    }

    pub fn call(&self, rpc: &str, request: &impl Message) -> Result<Reply, Status> {
        self.send(&path(rpc), request.encode_to_vec().into(), PATIENCE)
    }

    /// A call that is to go well.
    #[track_caller]
    pub fn ask<A: Message + Default>(&self, rpc: &str, request: &impl Message) -> A {
        A::decode(self.call(rpc, request).unwrap().message).unwrap()
    }

    /// All messages of a stream that has an end.
    pub fn stream(&self, rpc: &str, request: &impl Message) -> Result<Vec<Bytes>, Status> {
        self.runtime.block_on(async {
            let request = request.encode_to_vec().into();
            let mut stream = self.client.stream(&path(rpc), request, Some(PATIENCE)).await?;
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok(messages)
        })
    }

    /// Subscribes to the events of containers.
    #[track_caller]
    pub fn events(&self) -> Events<'_> {
        let path = path("GetContainerEvents");
        let request = v1::GetEventsRequest {}.encode_to_vec();
        let stream = self.runtime.block_on(self.client.stream(&path, request.into(), None)).unwrap();
        Events { stream, runtime: &self.runtime }
    }

    pub fn version(&self) -> v1::VersionResponse {
        self.ask("Version", &v1::VersionRequest::default())
    }

    pub fn pull(&self) -> v1::PullImageResponse {
        self.ask("PullImage", &v1::PullImageRequest { image: Some(image()), ..Default::default() })
    }

    /// Runs a pod; gives its id.
    #[track_caller]
    pub fn run_pod(&self, name: &str) -> String {
        let request = v1::RunPodSandboxRequest { config: Some(pod(name)), ..Default::default() };
        self.ask::<v1::RunPodSandboxResponse>("RunPodSandbox", &request).pod_sandbox_id
    }

    /// Creates and starts a container that runs this in a shell; gives its id.
    #[track_caller]
    pub fn run_container(&self, pod_id: &str, pod_name: &str, name: &str, script: &str) -> String {
        let request = create(pod_id, pod_name, container(name, script));
        let id = self.ask::<v1::CreateContainerResponse>("CreateContainer", &request).container_id;
        self.ask::<v1::StartContainerResponse>(
            "StartContainer",
            &v1::StartContainerRequest { container_id: id.clone() },
        );
        id
    }

    pub fn sandboxes(&self) -> Vec<v1::PodSandbox> {
        self.ask::<v1::ListPodSandboxResponse>("ListPodSandbox", &v1::ListPodSandboxRequest::default()).items
    }

    pub fn images(&self) -> Vec<v1::Image> {
        self.ask::<v1::ListImagesResponse>("ListImages", &v1::ListImagesRequest::default()).images
    }
}

/// Events as they come.
#[derive(Debug)]
pub struct Events<'a> {
    stream: Streaming<Bytes>,
    runtime: &'a Runtime,
}

impl Events<'_> {
    /// The next event; nothing where the stream has ended.
    #[track_caller]
    pub fn next(&mut self) -> Result<Option<v1::ContainerEventResponse>, Status> {
        let next = async { tokio::time::timeout(PATIENCE, self.stream.message()).await };
        let event = self.runtime.block_on(next).expect("an event comes, or the stream's end")?;
        Ok(event.map(|bytes| v1::ContainerEventResponse::decode(bytes).unwrap()))
    }

    /// Takes events until this sandbox or container has been deleted.
    #[track_caller]
    pub fn until_deleted(&mut self, id: &str) {
        loop {
            let event = self.next().unwrap().expect("the stream goes on");
            let deleted = event.container_event_type() == v1::ContainerEventType::ContainerDeletedEvent;
            if deleted && event.container_id == id {
                return;
            }
        }
    }

    /// Takes events until the stream is cut off; a stream of this kind has no end of its own.
    #[track_caller]
    pub fn until_cut_off(&mut self) -> Status {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream has ended well"),
                Err(status) => return status,
            }
        }
    }

    /// Whether it has not ended.
    pub fn stays_open(&mut self) -> bool {
        let next = async { tokio::time::timeout(Duration::from_millis(1), self.stream.message()).await };
        self.runtime.block_on(next).is_err()
    }
}

/// The request path of an RPC.
pub fn path(rpc: &str) -> String {
    methods().by_name(Generation::V1, rpc).unwrap().path.clone()
}

pub fn image() -> v1::ImageSpec {
    v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() }
}

/// A container's configuration: it runs this in a shell.
pub fn container(name: &str, script: &str) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(image()),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        labels: labels(name),
        annotations: annotations(),
        ..Default::default()
    }
}

pub fn create(pod_id: &str, pod_name: &str, config: v1::ContainerConfig) -> v1::CreateContainerRequest {
    v1::CreateContainerRequest {
        pod_sandbox_id: pod_id.to_owned(),
        config: Some(config),
        sandbox_config: Some(pod(pod_name)),
    }
}

/// A pod's configuration; its uid follows from its name.
pub fn pod(name: &str) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: uid(name),
            attempt: 0,
        }),
        labels: labels(name),
        annotations: annotations(),
        ..Default::default()
    }
}

fn uid(pod: &str) -> String {
    format!("uid-of-the-pod-{pod}")
}

/// More than one, so that their order could matter, and the uid among them, as kubelet has it.
fn labels(name: &str) -> BTreeMap<String, String> {
    [
        ("app", name.to_owned()),
        ("io.kubernetes.pod.name", name.to_owned()),
        ("io.kubernetes.pod.namespace", "default".to_owned()),
        ("io.kubernetes.pod.uid", uid(name)),
        ("tier", "test".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

fn annotations() -> BTreeMap<String, String> {
    ["config.hash", "config.seen", "config.source"]
        .map(|key| (key.to_owned(), "kept as it is".to_owned()))
        .into()
}
