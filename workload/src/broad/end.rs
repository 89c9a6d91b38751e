//! The end of the pods, in order and out of order.

use cri::v1;
use tokio::task::JoinSet;

use super::pods::{AT_ONCE, Pod};
use super::{Node, Result};
use crate::kubelet::DEADLINE;

/// Ends them all, and gives the id of the sandbox that went last.
pub(super) async fn all(node: &Node, pods: Vec<Pod>) -> Result<String> {
    let mut pods = pods.into_iter();
    let (first, last) = (pods.next(), pods.next_back());
    if let Some(first) = &first {
        with_every_mistake(node, first).await?;
    }
    let mut ending = JoinSet::new();
    for pod in pods {
        let node = node.clone();
        ending.spawn(async move { one(&node, &pod).await });
        if ending.len() == AT_ONCE
            && let Some(Ok(ended)) = ending.join_next().await
        {
            ended?;
        }
    }
    while let Some(Ok(ended)) = ending.join_next().await {
        ended?;
    }
    let Some(last) = last else { return Ok(String::new()) };
    one(node, &last).await?;
    node.lists().await?;
    Ok(last.sandbox)
}

async fn one(node: &Node, pod: &Pod) -> Result<()> {
    for container in &pod.containers {
        node.stop(container, 2).await?;
    }
    node.stop_pod(&pod.sandbox).await?;
    for container in &pod.containers {
        node.remove(container).await?;
    }
    node.remove_pod(&pod.sandbox).await
}

/// Twice, too late, and of what is gone, as a kubelet does that is not sure.
async fn with_every_mistake(node: &Node, pod: &Pod) -> Result<()> {
    let (sandbox, container) = (&pod.sandbox, &pod.containers[0]);
    for _ in 0..2 {
        node.stop(container, 2).await?;
    }
    node.container_status(container, false).await?;
    for _ in 0..2 {
        node.stop_pod(sandbox).await?;
    }
    node.pod_status(sandbox, false).await?;
    let _ = node
        .runtime
        .attempt("ListPodSandboxStats", &v1::ListPodSandboxStatsRequest::default(), DEADLINE)
        .await;
    let stats = v1::PodSandboxStatsRequest { pod_sandbox_id: sandbox.clone() };
    let _ = node.runtime.attempt("PodSandboxStats", &stats, DEADLINE).await;
    let late = pod.request(pod.container("late", "exit 0"));
    let _ = node.runtime.attempt("CreateContainer", &late, DEADLINE).await;
    node.runtime.call("ListContainerStats", &v1::ListContainerStatsRequest::default()).await?;
    node.remove(container).await?;
    let _ = node.try_stop(container, 2, DEADLINE).await;
    node.remove(container).await?;
    node.remove_pod(sandbox).await?;
    let stop = v1::StopPodSandboxRequest { pod_sandbox_id: sandbox.clone() };
    let _ = node.runtime.attempt("StopPodSandbox", &stop, DEADLINE).await;
    node.remove_pod(sandbox).await?;
    let status = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false };
    let _ = node.runtime.attempt("PodSandboxStatus", &status, DEADLINE).await;
    let status = v1::ContainerStatusRequest { container_id: container.clone(), verbose: false };
    let _ = node.runtime.attempt("ContainerStatus", &status, DEADLINE).await;
    Ok(())
}
