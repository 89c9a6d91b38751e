//! What an idle node of 110 pods takes on disk: kubelet lists everything every second, asks for usage every ten, and nothing
//! happens but that usage grows.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use cri::client::Client;
use cri::{Endpoint, Generation, methods, v1};
use prost::Message;

use crate::lanes;
use crate::load::on_one_thread;

const PODS: usize = 110;
const CONTAINERS: usize = 2;
/// Seconds of the node's life, gone through as fast as the simulator answers.
const SECONDS: usize = 600;
const IMAGE: &str = "registry.example/team/service:1.4.2";
/// What a tape of an idle node may take, in hundredths of the bytes on the wire.
const BUDGET_PERCENT: f64 = 1.0;

pub(crate) fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_simulator, upstream) = lanes::simulator(folder.path())?;
    let socket = folder.path().join("on.sock");
    let recorder = lanes::recorder(&upstream, &socket, folder.path(), &[])?;
    let made = on_one_thread(async {
        let node = Node { client: Client::connect(&Endpoint::at(&socket)?).await?, made: Cell::new(0) };
        live(&node).await?;
        Ok(node.made.get())
    })?;
    let recorded = lanes::stop_recorder(recorder, folder.path(), made)?;
    let (wire, stored) = (recorded.wire, recorded.stored);
    let percent = stored as f64 * 100.0 / wire as f64;
    println!("{} calls, {wire} bytes on the wire, {stored} stored: {percent:.2} %", recorded.calls);
    ensure!(percent <= BUDGET_PERCENT, "more than {BUDGET_PERCENT} %");
    Ok(())
}

struct Node {
    client: Client,
    /// Calls made.
    made: Cell<u64>,
}

impl Node {
    async fn call<M: Message + Default>(&self, rpc: &str, request: &impl Message) -> Result<M> {
        let method = methods().by_name(Generation::V1, rpc).ok_or_else(|| anyhow::anyhow!("{rpc}"))?;
        self.made.set(self.made.get() + 1);
        let reply = self.client.unary(&method.path, request.encode_to_vec().into(), None).await?;
        Ok(M::decode(reply.message)?)
    }
}

async fn live(node: &Node) -> Result<()> {
    let image = Some(v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() });
    let pull = v1::PullImageRequest { image: image.clone(), ..Default::default() };
    node.call::<v1::PullImageResponse>("PullImage", &pull).await?;
    for pod in 0..PODS {
        start(node, pod, image.clone()).await?;
    }
    for second in 0..SECONDS {
        node.call::<v1::ListPodSandboxResponse>("ListPodSandbox", &v1::ListPodSandboxRequest::default())
            .await?;
        node.call::<v1::ListContainersResponse>("ListContainers", &v1::ListContainersRequest::default())
            .await?;
        if second % 5 == 0 {
            node.call::<v1::StatusResponse>("Status", &v1::StatusRequest::default()).await?;
        }
        if second % 10 == 0 {
            node.call::<v1::VersionResponse>("Version", &v1::VersionRequest::default()).await?;
            let stats = v1::ListContainerStatsRequest::default();
            node.call::<v1::ListContainerStatsResponse>("ListContainerStats", &stats).await?;
            node.call::<v1::ImageFsInfoResponse>("ImageFsInfo", &v1::ImageFsInfoRequest {}).await?;
        }
    }
    Ok(())
}

async fn start(node: &Node, pod: usize, image: Option<v1::ImageSpec>) -> Result<()> {
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
    let config = v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata { name, uid, namespace: "team-one".to_owned(), attempt: 0 }),
        labels: labels.clone(),
        annotations: annotations.clone(),
        ..Default::default()
    };
    let run = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
    let sandbox: v1::RunPodSandboxResponse = node.call("RunPodSandbox", &run).await?;
    for container in 0..CONTAINERS {
        let metadata = v1::ContainerMetadata { name: format!("container-{container}"), attempt: 0 };
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.pod_sandbox_id.clone(),
            config: Some(v1::ContainerConfig {
                metadata: Some(metadata),
                image: image.clone(),
                labels: labels.clone(),
                annotations: annotations.clone(),
                ..Default::default()
            }),
            sandbox_config: Some(config.clone()),
        };
        let made: v1::CreateContainerResponse = node.call("CreateContainer", &request).await?;
        let start = v1::StartContainerRequest { container_id: made.container_id };
        node.call::<v1::StartContainerResponse>("StartContainer", &start).await?;
    }
    Ok(())
}
