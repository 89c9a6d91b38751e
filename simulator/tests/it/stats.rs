//! Statistics.

use cri::v1;
use tonic::Code;

use crate::harness::{Runtime, assert_fails, labels};

async fn container_stats(runtime: &Runtime, filter: v1::ContainerStatsFilter) -> Vec<v1::ContainerStats> {
    let request = v1::ListContainerStatsRequest { filter: Some(filter) };
    let response: v1::ListContainerStatsResponse =
        runtime.runtime("ListContainerStats", request).await.unwrap();
    response.stats
}

#[tokio::test]
async fn counters_grow_from_call_to_call() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let request = v1::ContainerStatsRequest { container_id: id.clone() };
    let mut last = 0;
    for _ in 0..5 {
        let response: v1::ContainerStatsResponse =
            runtime.runtime("ContainerStats", request.clone()).await.unwrap();
        let stats = response.stats.unwrap();
        assert_eq!(stats.attributes.unwrap().id, id);
        let used = stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value;
        assert!(used > last);
        last = used;
        assert!(stats.memory.unwrap().working_set_bytes.unwrap().value > 0);
        assert_eq!(stats.writable_layer.unwrap().fs_id.unwrap().mountpoint, "/");
    }
}

#[tokio::test]
async fn lists_are_filtered_and_exited_containers_have_only_their_layer() {
    let runtime = Runtime::start().await;
    let running = runtime.running("one", &["sleep", "infinity"]).await;
    let exited = runtime.running("two", &["true"]).await;
    runtime.exited(&exited).await;
    let filter = v1::ContainerStatsFilter::default;
    assert_eq!(container_stats(&runtime, filter()).await.len(), 2);
    let of_exited =
        container_stats(&runtime, v1::ContainerStatsFilter { id: exited[..14].to_owned(), ..filter() }).await;
    assert!(of_exited[0].cpu.is_none() && of_exited[0].writable_layer.is_some());
    let label_selector = labels(&[("app", "one")]);
    let selected = container_stats(&runtime, v1::ContainerStatsFilter { label_selector, ..filter() }).await;
    assert_eq!(selected.len(), 1);
    assert_eq!(selected[0].attributes.as_ref().unwrap().id, running);
    let request = v1::ContainerStatsRequest { container_id: "none".to_owned() };
    let missing = runtime.runtime::<v1::ContainerStatsResponse>("ContainerStats", request).await;
    assert_fails(missing, Code::NotFound, "failed to find container: not found");
}

#[tokio::test]
async fn pods_have_statistics_while_they_are_ready() {
    let runtime = Runtime::start().await;
    let container = runtime.running("web", &["sleep", "infinity"]).await;
    let stopped = runtime.run_pod("stopped").await;
    runtime.stop_pod(&stopped).await.unwrap();
    let list: v1::ListPodSandboxStatsResponse =
        runtime.runtime("ListPodSandboxStats", v1::ListPodSandboxStatsRequest::default()).await.unwrap();
    assert_eq!(list.stats.len(), 1);
    let linux = list.stats[0].linux.as_ref().unwrap();
    assert_eq!(linux.containers[0].attributes.as_ref().unwrap().id, container);
    assert_eq!(linux.network.as_ref().unwrap().default_interface.as_ref().unwrap().name, "eth0");
    assert_eq!(linux.process.as_ref().unwrap().process_count.unwrap().value, 1);

    let pod_id = list.stats[0].attributes.as_ref().unwrap().id.clone();
    let request = |id: &str| v1::PodSandboxStatsRequest { pod_sandbox_id: id.to_owned() };
    let one: v1::PodSandboxStatsResponse =
        runtime.runtime("PodSandboxStats", request(&pod_id)).await.unwrap();
    assert_eq!(one.stats.unwrap().attributes.unwrap().id, pod_id);
    let refused = runtime.runtime::<v1::PodSandboxStatsResponse>("PodSandboxStats", request(&stopped)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    let refused = runtime.runtime::<v1::PodSandboxStatsResponse>("PodSandboxStats", request("none")).await;
    assert_fails(refused, Code::NotFound, "an error occurred when trying to find sandbox none: not found");
}
