//! Each regression shows, in its situation and in no other.

use cri::v1;
use critape_simulator::regressions;
use tonic::Code;

use crate::events::{next, subscribe};
use crate::harness::{IMAGE, Runtime, container, image_spec, labels};

#[tokio::test]
async fn all_of_them_can_be_switched_on() {
    assert!(regressions().len() >= 14);
    for regression in regressions() {
        let runtime = Runtime::with_regression(regression.name()).await;
        let version: v1::VersionResponse =
            runtime.runtime("Version", v1::VersionRequest::default()).await.unwrap();
        assert_eq!(version.runtime_name, "critape-simulator");
    }
}

#[tokio::test]
async fn containerd_10527() {
    let runtime = Runtime::with_regression("containerd-10527").await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    for _ in 0..2 {
        runtime.stop_container(&id, 0).await.unwrap();
    }
    runtime.remove_container(&id).await.unwrap();
    assert_eq!(runtime.stop_container(&id, 0).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(runtime.stop_pod("gone").await.unwrap_err().code(), Code::NotFound);
    runtime.remove_pod("gone").await.unwrap();
}

async fn status(runtime: &Runtime) -> v1::StatusResponse {
    runtime.runtime("Status", v1::StatusRequest { verbose: false }).await.unwrap()
}

#[tokio::test]
async fn containerd_12036() {
    let runtime = Runtime::with_regression("containerd-12036").await;
    let mut last: Vec<String> = vec![String::new(), "runc".to_owned()];
    for _ in 0..5 {
        let handlers = status(&runtime).await.runtime_handlers;
        let mut names: Vec<_> = handlers.into_iter().map(|handler| handler.name).collect();
        assert_ne!(names, last);
        last.clone_from(&names);
        names.sort();
        assert_eq!(names, ["", "runc"]);
    }
}

#[tokio::test]
async fn containerd_9819() {
    let runtime = Runtime::with_regression("containerd-9819").await;
    let conditions = status(&runtime).await.status.unwrap().conditions;
    assert_eq!(conditions.len(), 3);
    assert_eq!(conditions[2].r#type, "ContainerdHasNoDeprecationWarnings");
}

#[tokio::test]
async fn containerd_10122() {
    let runtime = Runtime::with_regression("containerd-10122").await;
    let id = runtime.run_pod("web").await;
    assert!(runtime.pod_status(&id).await.unwrap().created_at > 0);
    runtime.stop_pod(&id).await.unwrap();
    assert!(runtime.pod_status(&id).await.unwrap().created_at < 0);
}

async fn container_stats(runtime: &Runtime, filter: v1::ContainerStatsFilter) -> Vec<v1::ContainerStats> {
    let request = v1::ListContainerStatsRequest { filter: Some(filter) };
    let response: v1::ListContainerStatsResponse =
        runtime.runtime("ListContainerStats", request).await.unwrap();
    response.stats
}

#[tokio::test]
async fn containerd_10670() {
    let runtime = Runtime::with_regression("containerd-10670").await;
    let running = runtime.running("one", &["sleep", "infinity"]).await;
    let exited = runtime.running("two", &["true"]).await;
    runtime.exited(&exited).await;
    for stats in container_stats(&runtime, v1::ContainerStatsFilter::default()).await {
        let nano_cores = stats.cpu.unwrap().usage_nano_cores.unwrap().value;
        assert_eq!(nano_cores > u64::MAX / 2, stats.attributes.unwrap().id != running);
    }
}

#[tokio::test]
async fn containerd_7318() {
    let runtime = Runtime::with_regression("containerd-7318").await;
    let (mut one, mut other) = (subscribe(&runtime).await, subscribe(&runtime).await);
    let id = runtime.run_pod("web").await;
    let (first, second) = (next(&mut one).await, next(&mut other).await);
    assert_eq!((&first.container_id, &second.container_id), (&id, &id));
    assert_ne!(first.container_event_type, second.container_event_type);
}

#[tokio::test]
async fn containerd_13455() {
    let runtime = Runtime::with_regression("containerd-13455").await;
    let pod_id = runtime.run_pod("web").await;
    let with = |name: &str, value: &'static [u8]| {
        let mut config = container(name, &[]);
        config.envs = vec![v1::KeyValue { key: "SECRET".to_owned(), value: value.into() }];
        config
    };
    runtime.create(&pod_id, "web", with("text", b"text")).await.unwrap();
    let status = runtime.create(&pod_id, "web", with("binary", &[0xff, 0xfe])).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let right = Runtime::start().await;
    let pod_id = right.run_pod("web").await;
    right.create(&pod_id, "web", with("binary", &[0xff, 0xfe])).await.unwrap();
}

#[tokio::test]
async fn containerd_13668() {
    let runtime = Runtime::with_regression("containerd-13668").await;
    let pod_id = runtime.run_pod("web").await;
    runtime.stop_pod(&pod_id).await.unwrap();
    let id = runtime.create(&pod_id, "web", container("app", &[])).await.unwrap();
    assert!(runtime.start_container(&id).await.is_err());
}

#[tokio::test]
async fn containerd_10013() {
    let runtime = Runtime::with_regression("containerd-10013").await;
    let stats = async || {
        let request = v1::ListPodSandboxStatsRequest::default();
        runtime.runtime::<v1::ListPodSandboxStatsResponse>("ListPodSandboxStats", request).await
    };
    let id = runtime.run_pod("web").await;
    assert_eq!(stats().await.unwrap().stats.len(), 1);
    runtime.stop_pod(&id).await.unwrap();
    assert_eq!(stats().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn containerd_12787() {
    let runtime = Runtime::with_regression("containerd-12787").await;
    let id = runtime.running("web", &[]).await;
    let status = runtime.container_status(&id).await.unwrap();
    assert!(status.image_id.is_empty() && !status.image_ref.is_empty());
}

#[tokio::test]
async fn containerd_8276() {
    let runtime = Runtime::with_regression("containerd-8276").await;
    let path = "/runtime.v1alpha2.RuntimeService/Version";
    let status = runtime.call::<v1::VersionResponse>(path, v1::VersionRequest::default()).await.unwrap_err();
    assert_eq!(status.message(), "unknown service runtime.v1alpha2.RuntimeService");
}

#[tokio::test]
async fn cri_o_9728() {
    let runtime = Runtime::with_regression("cri-o-9728").await;
    assert!(runtime.pull("busybox").await.unwrap().starts_with("docker.io/library/busybox@sha256:"));
}

#[tokio::test]
async fn cri_o_8582() {
    let runtime = Runtime::with_regression("cri-o-8582").await;
    let id = runtime.run_pod("web").await;
    let seconds = runtime.pod_status(&id).await.unwrap().created_at;
    assert!((1_600_000_000..10_000_000_000).contains(&seconds));
}

#[tokio::test]
async fn cri_o_9846() {
    let runtime = Runtime::with_regression("cri-o-9846").await;
    let fast = runtime.running("fast", &["true"]).await;
    assert_eq!(runtime.exited(&fast).await.exit_code, 255);
    let slow = runtime.running("slow", &["sh", "-c", "sleep 0.15; exit 3"]).await;
    assert_eq!(runtime.exited(&slow).await.exit_code, 3);
}

#[tokio::test]
async fn cri_o_9663() {
    let runtime = Runtime::with_regression("cri-o-9663").await;
    let mut events = subscribe(&runtime).await;
    let id = runtime.running("web", &[]).await;
    loop {
        let event = next(&mut events).await;
        if event.container_id == id {
            assert!(event.containers_statuses[0].image.is_none());
            break;
        }
    }
    assert!(runtime.container_status(&id).await.unwrap().image.is_some());
}

#[tokio::test]
async fn cri_o_8240() {
    let runtime = Runtime::with_regression("cri-o-8240").await;
    let id = runtime.running("one", &[]).await;
    runtime.running("two", &[]).await;
    let label_selector = labels(&[("app", "one")]);
    let filter = v1::ContainerStatsFilter { label_selector, ..Default::default() };
    assert_eq!(container_stats(&runtime, filter).await.len(), 2);
    let filter = v1::ContainerStatsFilter { id, ..Default::default() };
    assert_eq!(container_stats(&runtime, filter).await.len(), 1);
}

#[tokio::test]
async fn cri_o_6563() {
    let runtime = Runtime::with_regression("cri-o-6563").await;
    runtime.running("web", &[]).await;
    let request = v1::ListPodSandboxStatsRequest::default();
    let response: v1::ListPodSandboxStatsResponse =
        runtime.runtime("ListPodSandboxStats", request).await.unwrap();
    assert!(response.stats[0].linux.as_ref().unwrap().containers.is_empty());
}

#[tokio::test]
async fn cri_dockerd_293() {
    let runtime = Runtime::with_regression("cri-dockerd-293").await;
    let request = v1::ListPodSandboxStatsRequest::default();
    let status = runtime.runtime::<v1::ListPodSandboxStatsResponse>("ListPodSandboxStats", request).await;
    assert_eq!(status.unwrap_err().code(), Code::Unknown);
}

#[tokio::test]
async fn cri_dockerd_299() {
    let runtime = Runtime::with_regression("cri-dockerd-299").await;
    runtime.pull(IMAGE).await.unwrap();
    let request = v1::ImageStatusRequest { image: Some(image_spec(IMAGE)), verbose: false };
    let status: v1::ImageStatusResponse = runtime.image("ImageStatus", request).await.unwrap();
    assert_eq!(status.image.unwrap().size, 0);
}

#[tokio::test]
async fn cri_dockerd_218() {
    let runtime = Runtime::with_regression("cri-dockerd-218").await;
    let info: v1::ImageFsInfoResponse =
        runtime.image("ImageFsInfo", v1::ImageFsInfoRequest {}).await.unwrap();
    assert!(info.image_filesystems[0].timestamp < 10_000_000_000);
}
