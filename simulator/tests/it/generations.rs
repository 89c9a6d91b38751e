//! The generations of the API, and what isn't there.

use bytes::Bytes;
use cri::{Generation, v1};
use tonic::Code;

use crate::harness::{Runtime, assert_fails, pod};

#[tokio::test]
async fn the_older_generation_is_served_from_the_same_state() {
    let runtime = Runtime::start().await;
    let version: v1::VersionResponse = runtime
        .call("/runtime.v1alpha2.RuntimeService/Version", v1::VersionRequest::default())
        .await
        .unwrap();
    assert_eq!((version.version.as_str(), version.runtime_api_version.as_str()), ("0.1.0", "v1alpha2"));
    assert_eq!(version.runtime_name, "critape-simulator");
    let version: v1::VersionResponse =
        runtime.runtime("Version", v1::VersionRequest::default()).await.unwrap();
    assert_eq!(version.runtime_api_version, "v1");

    let request = v1::RunPodSandboxRequest { config: Some(pod("web")), runtime_handler: String::new() };
    let run: v1::RunPodSandboxResponse =
        runtime.call("/runtime.v1alpha2.RuntimeService/RunPodSandbox", request).await.unwrap();
    assert_eq!(runtime.pod_status(&run.pod_sandbox_id).await.unwrap().id, run.pod_sandbox_id);
    let images: v1::ListImagesResponse = runtime
        .call("/runtime.v1alpha2.ImageService/ListImages", v1::ListImagesRequest::default())
        .await
        .unwrap();
    assert_eq!(images.images.len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented_in_the_words_of_grpc_go() {
    let runtime = Runtime::start().await;
    let refused = [
        ("/runtime.RuntimeService/Version", "unknown service runtime.RuntimeService"),
        (
            "/runtime.v1alpha2.RuntimeService/RuntimeConfig",
            "unknown method RuntimeConfig for service runtime.v1alpha2.RuntimeService",
        ),
        ("/runtime.v1.RuntimeService/ListMetricDescriptors", "method ListMetricDescriptors not implemented"),
        ("/grpc.health.v1.Health/Check", "unknown service grpc.health.v1.Health"),
    ];
    for (path, text) in refused {
        let outcome = runtime.client.unary(path, Bytes::new(), None).await;
        assert_fails(outcome.map(|_| ()), Code::Unimplemented, text);
    }
    let mut stream =
        runtime.client.stream("/runtime.v1.RuntimeService/StreamContainers", Bytes::new(), None).await;
    let status = match &mut stream {
        Ok(stream) => stream.message().await.unwrap_err(),
        Err(status) => status.clone(),
    };
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn every_rpc_of_containerd_2_1_is_answered() {
    let absent = [
        "StreamPodSandboxes",
        "StreamContainers",
        "StreamContainerStats",
        "StreamPodSandboxStats",
        "StreamPodSandboxMetrics",
        "StreamImages",
        "CheckpointPod",
        "RestorePod",
        "ListMetricDescriptors",
        "ListPodSandboxMetrics",
        "UpdatePodSandboxResources",
    ];
    let runtime = Runtime::start().await;
    for generation in [Generation::V1, Generation::V1Alpha2] {
        for method in cri::methods().of(generation).filter(|method| method.name != "GetContainerEvents") {
            let outcome = runtime.client.unary(&method.path, Bytes::new(), None).await;
            let is_unimplemented = outcome.is_err_and(|status| status.code() == Code::Unimplemented);
            assert_eq!(is_unimplemented, absent.contains(&method.name.as_str()), "{}", method.path);
        }
    }
}
