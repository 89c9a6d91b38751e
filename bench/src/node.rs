//! What kubelet asks of a runtime on a node with pods.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use cri::client::Client;
use cri::{Endpoint, Generation, methods, v1};
use prost::Message;

const CONTAINERS: usize = 2;
const IMAGE: &str = "registry.example/team/service:1.4.2";

/// A node whose kubelet speaks to a runtime, one call after the other.
pub(crate) struct Node {
    client: Client,
    /// Calls made.
    made: Cell<u64>,
    /// Pods by number, each with its sandbox and its containers.
    pods: RefCell<Vec<(String, Vec<String>)>>,
}

impl Node {
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        let client = Client::connect(&Endpoint::at(socket)?).await?;
        Ok(Self { client, made: Cell::new(0), pods: RefCell::default() })
    }

    pub(crate) fn made(&self) -> u64 {
        self.made.get()
    }

    async fn call<M: Message + Default>(&self, rpc: &str, request: &impl Message) -> Result<M> {
        let method = methods().by_name(Generation::V1, rpc).ok_or_else(|| anyhow::anyhow!("{rpc}"))?;
        self.made.set(self.made.get() + 1);
        let reply = self.client.unary(&method.path, request.encode_to_vec().into(), None).await?;
        Ok(M::decode(reply.message)?)
    }

    /// Pulls the image and starts so many pods.
    pub(crate) async fn boot(&self, pods: usize) -> Result<()> {
        let pull = v1::PullImageRequest { image: image(), ..Default::default() };
        self.call::<v1::PullImageResponse>("PullImage", &pull).await?;
        for pod in 0..pods {
            self.start(pod).await?;
        }
        Ok(())
    }

    /// One second in which nothing happens: kubelet lists everything, and asks for more now and then.
    pub(crate) async fn idle(&self, second: usize) -> Result<()> {
        self.call::<v1::ListPodSandboxResponse>("ListPodSandbox", &v1::ListPodSandboxRequest::default())
            .await?;
        self.call::<v1::ListContainersResponse>("ListContainers", &v1::ListContainersRequest::default())
            .await?;
        if second % 5 == 0 {
            self.call::<v1::StatusResponse>("Status", &v1::StatusRequest::default()).await?;
        }
        if second % 10 == 0 {
            self.call::<v1::VersionResponse>("Version", &v1::VersionRequest::default()).await?;
            let stats = v1::ListContainerStatsRequest::default();
            self.call::<v1::ListContainerStatsResponse>("ListContainerStats", &stats).await?;
            self.call::<v1::ImageFsInfoResponse>("ImageFsInfo", &v1::ImageFsInfoRequest {}).await?;
        }
        Ok(())
    }

    /// What else kubelet does in a second: a probe in each second, and every seventh a container is made anew.
    pub(crate) async fn busy(&self, second: usize) -> Result<()> {
        let (sandbox, container, pod) = {
            let pods = self.pods.borrow();
            let pod = second % pods.len();
            let (sandbox, containers) = &pods[pod];
            (sandbox.clone(), containers.first().cloned().unwrap_or_default(), pod)
        };
        let cmd = vec!["true".to_owned()];
        let probe = v1::ExecSyncRequest { container_id: container.clone(), cmd, timeout: 1 };
        self.call::<v1::ExecSyncResponse>("ExecSync", &probe).await?;
        if second % 7 == 0 {
            let stop = v1::StopContainerRequest { container_id: container.clone(), timeout: 0 };
            self.call::<v1::StopContainerResponse>("StopContainer", &stop).await?;
            self.look(&sandbox, &container).await?;
            let remove = v1::RemoveContainerRequest { container_id: container };
            self.call::<v1::RemoveContainerResponse>("RemoveContainer", &remove).await?;
            let attempt = u32::try_from(second / 7 + 1)?;
            let made = self.run_container(pod, &sandbox, 0, attempt).await?;
            self.look(&sandbox, &made).await?;
            self.pods.borrow_mut()[pod].1[0] = made;
        }
        Ok(())
    }

    async fn look(&self, sandbox: &str, container: &str) -> Result<()> {
        let pod = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.to_owned(), verbose: false };
        self.call::<v1::PodSandboxStatusResponse>("PodSandboxStatus", &pod).await?;
        let status = v1::ContainerStatusRequest { container_id: container.to_owned(), verbose: false };
        self.call::<v1::ContainerStatusResponse>("ContainerStatus", &status).await?;
        Ok(())
    }

    async fn start(&self, pod: usize) -> Result<()> {
        let run = v1::RunPodSandboxRequest { config: Some(config(pod)), ..Default::default() };
        let sandbox: v1::RunPodSandboxResponse = self.call("RunPodSandbox", &run).await?;
        let mut containers = Vec::new();
        for container in 0..CONTAINERS {
            containers.push(self.run_container(pod, &sandbox.pod_sandbox_id, container, 0).await?);
        }
        self.pods.borrow_mut().push((sandbox.pod_sandbox_id, containers));
        Ok(())
    }

    async fn run_container(
        &self,
        pod: usize,
        sandbox: &str,
        container: usize,
        attempt: u32,
    ) -> Result<String> {
        let sandbox_config = config(pod);
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(v1::ContainerConfig {
                metadata: Some(v1::ContainerMetadata { name: format!("container-{container}"), attempt }),
                image: image(),
                labels: sandbox_config.labels.clone(),
                annotations: sandbox_config.annotations.clone(),
                ..Default::default()
            }),
            sandbox_config: Some(sandbox_config),
        };
        let made: v1::CreateContainerResponse = self.call("CreateContainer", &request).await?;
        let start = v1::StartContainerRequest { container_id: made.container_id.clone() };
        self.call::<v1::StartContainerResponse>("StartContainer", &start).await?;
        Ok(made.container_id)
    }
}

fn image() -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() })
}

fn config(pod: usize) -> v1::PodSandboxConfig {
    let uid = format!("{pod:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", pod * 7, pod * 3, pod * 5, pod * 1_234_567);
    let name = format!("service-{pod}-7d9c5b6f4d-x{pod:04}");
    let labels: BTreeMap<String, String> = [
        ("io.kubernetes.pod.name", name.clone()),
        ("io.kubernetes.pod.namespace", "team-one".to_owned()),
        ("io.kubernetes.pod.uid", uid.clone()),
        ("app.kubernetes.io/name", format!("service-{pod}")),
        ("pod-template-hash", "7d9c5b6f4d".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let annotations: BTreeMap<String, String> = [
        ("kubernetes.io/config.seen", "2026-01-31T12:00:00.000000000Z".to_owned()),
        ("kubernetes.io/config.source", "api".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata { name, uid, namespace: "team-one".to_owned(), attempt: 0 }),
        labels,
        annotations,
        ..Default::default()
    }
}
