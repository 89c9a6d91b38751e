//! What kubelet asks again and again: lists, states, statistics, probes.

use cri::v1;
use tokio::task::JoinSet;

use super::pods::Pod;
use super::{Node, Result};
use crate::kubelet::DEADLINE;

const ROUNDS: usize = 3;
/// How many pods have a probe.
const PROBED: usize = 4;

pub(super) async fn go(node: &Node, pods: &[Pod]) -> Result<()> {
    let server = &pods[0];
    for round in 0..ROUNDS {
        node.lists().await?;
        filtered(node, server).await?;
        statistics(node, server).await?;
        node.runtime.call("Status", &v1::StatusRequest { verbose: round == 1 }).await?;
        node.list_images().await?;
        node.images.call("ImageFsInfo", &v1::ImageFsInfoRequest {}).await?;
        for pod in pods.iter().skip(round).step_by(ROUNDS) {
            node.pod_status(&pod.sandbox, false).await?;
        }
        probes(node, pods).await?;
    }
    node.pod_status(&server.sandbox, true).await?;
    node.container_status(&server.containers[0], true).await?;
    rare(node, server).await;
    Ok(())
}

async fn filtered(node: &Node, server: &Pod) -> Result<()> {
    let label_selector = server.config.labels.clone();
    let ready = v1::PodSandboxStateValue { state: v1::PodSandboxState::SandboxReady.into() };
    let running = v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning.into() };
    let filter = v1::PodSandboxFilter { label_selector: label_selector.clone(), ..Default::default() };
    node.runtime.call("ListPodSandbox", &v1::ListPodSandboxRequest { filter: Some(filter) }).await?;
    let filter = v1::PodSandboxFilter { state: Some(ready), ..Default::default() };
    node.runtime.call("ListPodSandbox", &v1::ListPodSandboxRequest { filter: Some(filter) }).await?;
    let filter = v1::ContainerFilter { label_selector, ..Default::default() };
    node.runtime.call("ListContainers", &v1::ListContainersRequest { filter: Some(filter) }).await?;
    let filter = v1::ContainerFilter { state: Some(running), ..Default::default() };
    node.runtime.call("ListContainers", &v1::ListContainersRequest { filter: Some(filter) }).await?;
    Ok(())
}

async fn statistics(node: &Node, server: &Pod) -> Result<()> {
    node.runtime.call("ListContainerStats", &v1::ListContainerStatsRequest::default()).await?;
    let label_selector = server.config.labels.clone();
    let filter = v1::ContainerStatsFilter { label_selector, ..Default::default() };
    node.runtime.call("ListContainerStats", &v1::ListContainerStatsRequest { filter: Some(filter) }).await?;
    node.runtime.call("ListPodSandboxStats", &v1::ListPodSandboxStatsRequest::default()).await?;
    let pod = v1::PodSandboxStatsRequest { pod_sandbox_id: server.sandbox.clone() };
    node.runtime.call("PodSandboxStats", &pod).await?;
    let container = v1::ContainerStatsRequest { container_id: server.containers[0].clone() };
    node.runtime.call("ContainerStats", &container).await?;
    Ok(())
}

/// Liveness and readiness of some servers, which meet in one container.
async fn probes(node: &Node, pods: &[Pod]) -> Result<()> {
    let mut probes = JoinSet::new();
    for pod in pods.iter().filter(|pod| pod.config.hostname.starts_with("app-")).take(PROBED) {
        for what in ["alive", "ready"] {
            let request = v1::ExecSyncRequest {
                container_id: pod.containers[0].clone(),
                cmd: vec!["sh".to_owned(), "-c".to_owned(), format!("sleep 0.2; echo {what}")],
                timeout: 1,
            };
            let runtime = node.runtime.clone();
            probes.spawn(async move { runtime.attempt("ExecSync", &request, DEADLINE).await.map(drop) });
        }
    }
    // Of a job that is over there is nothing to probe: that fails.
    while probes.join_next().await.is_some() {}
    Ok(())
}

/// Calls that come now and then; what a runtime lacks it says.
async fn rare(node: &Node, server: &Pod) {
    let (sandbox, container) = (&server.sandbox, &server.containers[0]);
    let linux = v1::LinuxContainerResources { cpu_shares: 512, ..Default::default() };
    let update = v1::UpdateContainerResourcesRequest {
        container_id: container.clone(),
        linux: Some(linux),
        ..Default::default()
    };
    let _ = node.runtime.attempt("UpdateContainerResources", &update, DEADLINE).await;
    let _ = node.container_status(container, false).await;
    let reopen = v1::ReopenContainerLogRequest { container_id: container.clone() };
    let _ = node.runtime.attempt("ReopenContainerLog", &reopen, DEADLINE).await;
    let update =
        v1::UpdatePodSandboxResourcesRequest { pod_sandbox_id: sandbox.clone(), ..Default::default() };
    let _ = node.runtime.attempt("UpdatePodSandboxResources", &update, DEADLINE).await;
    let checkpoint = v1::CheckpointContainerRequest {
        container_id: container.clone(),
        location: "/var/lib/kubelet/checkpoints/checkpoint.tar".to_owned(),
        timeout: 5,
    };
    let _ = node.runtime.attempt("CheckpointContainer", &checkpoint, DEADLINE).await;
    let cmd = vec!["sh".to_owned()];
    let exec = v1::ExecRequest { container_id: container.clone(), cmd, stdout: true, ..Default::default() };
    let _ = node.runtime.attempt("Exec", &exec, DEADLINE).await;
    let attach = v1::AttachRequest { container_id: container.clone(), stdout: true, ..Default::default() };
    let _ = node.runtime.attempt("Attach", &attach, DEADLINE).await;
    let forward = v1::PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: vec![80] };
    let _ = node.runtime.attempt("PortForward", &forward, DEADLINE).await;
}
