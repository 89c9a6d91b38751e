//! What a client asks of the runtime as such.

use std::time::Duration;

use bytes::Bytes;
use cri::v1;

use crate::driver::Driver;

const SOON: Duration = Duration::from_secs(10);

pub(super) async fn run(driver: &mut Driver) {
    let _ = driver.call::<_, v1::VersionResponse>("version", "Version", &v1::VersionRequest::default()).await;
    let asked = v1::VersionRequest { version: "0.1.0".to_owned() };
    let _ = driver.call::<_, v1::VersionResponse>("version of a kubelet", "Version", &asked).await;
    for verbose in [false, true] {
        let _ =
            driver.call::<_, v1::StatusResponse>("status", "Status", &v1::StatusRequest { verbose }).await;
    }
    let _ = driver
        .call::<_, v1::RuntimeConfigResponse>(
            "runtime configuration",
            "RuntimeConfig",
            &v1::RuntimeConfigRequest {},
        )
        .await;
    for cidr in ["", "10.99.0.0/24"] {
        let request = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig {
                network_config: Some(v1::NetworkConfig { pod_cidr: cidr.to_owned() }),
            }),
        };
        let _ = driver
            .call::<_, v1::UpdateRuntimeConfigResponse>(
                "a node's pod network",
                "UpdateRuntimeConfig",
                &request,
            )
            .await;
    }
    let _ = driver
        .call::<_, v1::ListMetricDescriptorsResponse>(
            "metric descriptors",
            "ListMetricDescriptors",
            &v1::ListMetricDescriptorsRequest {},
        )
        .await;
    let _ = driver
        .call::<_, v1::ListPodSandboxMetricsResponse>(
            "metrics without pods",
            "ListPodSandboxMetrics",
            &v1::ListPodSandboxMetricsRequest {},
        )
        .await;
    other_generations(driver).await;
    strangers(driver).await;
}

async fn other_generations(driver: &mut Driver) {
    for path in [
        "/runtime.v1alpha2.RuntimeService/Version",
        "/runtime.v1alpha2.RuntimeService/Status",
        "/runtime.v1alpha2.RuntimeService/ListPodSandbox",
        "/runtime.v1alpha2.RuntimeService/ListContainers",
        "/runtime.v1alpha2.ImageService/ListImages",
        "/runtime.v1alpha2.ImageService/ImageFsInfo",
        "/runtime.RuntimeService/Version",
    ] {
        let _ = driver.raw("an older generation", path, Bytes::new(), SOON).await;
    }
}

async fn strangers(driver: &mut Driver) {
    for path in ["/runtime.v1.RuntimeService/Nonsense", "/nonsense.v9.Service/Version"] {
        let _ = driver.raw("a method that nobody knows", path, Bytes::new(), SOON).await;
    }
    // Field 1, of a length that is not there.
    let broken = Bytes::from_static(&[0x0a, 0x7f, b'x']);
    let _ =
        driver.raw("a request that is no message", "/runtime.v1.RuntimeService/Version", broken, SOON).await;
    // A field of a later schema: to be passed over.
    let newer = Bytes::from_static(&[0xfa, 0x3f, 0x01, b'x']);
    let _ =
        driver.raw("a request with a field unknown", "/runtime.v1.RuntimeService/Version", newer, SOON).await;
}
