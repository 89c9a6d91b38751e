//! Pod sandboxes: made, refused, looked at, stopped and removed twice.

use std::collections::BTreeMap;

use cri::v1;

use super::{Place, need, pod};
use crate::driver::Driver;

pub(super) async fn run(driver: &mut Driver, place: &Place) {
    refused(driver, place).await;
    let first = start(driver, "pod", pod(place, "solo", 0)).await;
    let _ = create(driver, "the same pod again", Some(pod(place, "solo", 0)), "").await;
    let second = start(driver, "pod's next attempt", pod(place, "solo", 1)).await;
    looked_at(driver, &first, &second).await;
    stats(driver, &first).await;
    let _ = driver
        .call::<_, v1::PortForwardResponse>(
            "port-forward",
            "PortForward",
            &v1::PortForwardRequest { pod_sandbox_id: first.clone(), port: vec![80] },
        )
        .await;
    let resources = v1::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: first.clone(),
        resources: Some(v1::LinuxContainerResources { cpu_shares: 512, ..Default::default() }),
        ..Default::default()
    };
    let _ = driver
        .call::<_, v1::UpdatePodSandboxResourcesResponse>(
            "pod's resources",
            "UpdatePodSandboxResources",
            &resources,
        )
        .await;
    stop(driver, "stop", &first).await;
    stop(driver, "second stop", &first).await;
    status(driver, "status of a stopped pod", &first, true).await;
    let _ = driver
        .call::<_, v1::PodSandboxStatsResponse>(
            "stats of a stopped pod",
            "PodSandboxStats",
            &v1::PodSandboxStatsRequest { pod_sandbox_id: first.clone() },
        )
        .await;
    let _ = driver
        .call::<_, v1::PortForwardResponse>(
            "port-forward to a stopped pod",
            "PortForward",
            &v1::PortForwardRequest { pod_sandbox_id: first.clone(), port: vec![80] },
        )
        .await;
    remove(driver, "removal", &first).await;
    remove(driver, "second removal", &first).await;
    stop(driver, "stop of a removed pod", &first).await;
    remove(driver, "removal of a running pod", &second).await;
    status(driver, "status of a removed pod", &second, false).await;
    list(driver, "pods after all", v1::PodSandboxFilter::default()).await;
}

async fn refused(driver: &mut Driver, place: &Place) {
    let _ = create(driver, "pod of an unknown handler", Some(pod(place, "refused", 0)), "no-such").await;
    let _ = create(driver, "pod without configuration", None, "").await;
    let mut nameless = pod(place, "refused", 0);
    nameless.metadata = None;
    let _ = create(driver, "pod without a name", Some(nameless), "").await;
    let mut sysctl = pod(place, "refused", 0);
    sysctl.linux.get_or_insert_default().sysctls =
        BTreeMap::from([("kernel.no_such".to_owned(), "1".to_owned())]);
    let _ = create(driver, "pod with an unknown sysctl", Some(sysctl), "").await;
    let missing = "0".repeat(64);
    for (what, id) in
        [("an id of none", missing.as_str()), ("a prefix of none", "0000"), ("no id", ""), ("a word", "zzz")]
    {
        status(driver, &format!("status of {what}"), id, false).await;
        stop(driver, &format!("stop of {what}"), id).await;
        remove(driver, &format!("removal of {what}"), id).await;
        let stats = v1::PodSandboxStatsRequest { pod_sandbox_id: id.to_owned() };
        let _ = driver
            .call::<_, v1::PodSandboxStatsResponse>(&format!("stats of {what}"), "PodSandboxStats", &stats)
            .await;
        let forward = v1::PortForwardRequest { pod_sandbox_id: id.to_owned(), port: vec![80] };
        let _ = driver
            .call::<_, v1::PortForwardResponse>(&format!("port-forward to {what}"), "PortForward", &forward)
            .await;
        let filter = v1::PodSandboxFilter { id: id.to_owned(), ..Default::default() };
        list(driver, &format!("pods by {what}"), filter).await;
    }
}

async fn looked_at(driver: &mut Driver, first: &str, second: &str) {
    status(driver, "status", first, false).await;
    status(driver, "status in full", second, true).await;
    status(driver, "status by a prefix", &first[..20], false).await;
    status(driver, "status with two pods and no id", "", false).await;
    let all = v1::PodSandboxFilter::default;
    list(driver, "all pods", all()).await;
    list(driver, "pods by id", v1::PodSandboxFilter { id: first.to_owned(), ..all() }).await;
    list(driver, "pods by a prefix", v1::PodSandboxFilter { id: first[..13].to_owned(), ..all() }).await;
    for app in ["solo", "other"] {
        let label_selector = BTreeMap::from([("app".to_owned(), app.to_owned())]);
        list(driver, "pods by label", v1::PodSandboxFilter { label_selector, ..all() }).await;
    }
    for state in [v1::PodSandboxState::SandboxReady, v1::PodSandboxState::SandboxNotready] {
        let state = Some(v1::PodSandboxStateValue { state: state.into() });
        list(driver, "pods by state", v1::PodSandboxFilter { state, ..all() }).await;
    }
}

async fn stats(driver: &mut Driver, first: &str) {
    let request = v1::PodSandboxStatsRequest { pod_sandbox_id: first.to_owned() };
    let _ = driver.call::<_, v1::PodSandboxStatsResponse>("stats", "PodSandboxStats", &request).await;
    for filter in [
        v1::PodSandboxStatsFilter::default(),
        v1::PodSandboxStatsFilter { id: first.to_owned(), ..Default::default() },
        v1::PodSandboxStatsFilter {
            label_selector: BTreeMap::from([("app".to_owned(), "other".to_owned())]),
            ..Default::default()
        },
    ] {
        let request = v1::ListPodSandboxStatsRequest { filter: Some(filter) };
        let _ = driver
            .call::<_, v1::ListPodSandboxStatsResponse>("stats of pods", "ListPodSandboxStats", &request)
            .await;
    }
    let _ = driver
        .call::<_, v1::ListPodSandboxMetricsResponse>(
            "metrics of pods",
            "ListPodSandboxMetrics",
            &v1::ListPodSandboxMetricsRequest {},
        )
        .await;
}

pub(super) async fn start(driver: &mut Driver, what: &str, config: v1::PodSandboxConfig) -> String {
    let id = need(what, create(driver, what, Some(config), "").await).pod_sandbox_id;
    driver.learn(&id, what);
    id
}

pub(super) async fn create(
    driver: &mut Driver,
    what: &str,
    config: Option<v1::PodSandboxConfig>,
    handler: &str,
) -> Result<v1::RunPodSandboxResponse, tonic::Status> {
    let request = v1::RunPodSandboxRequest { config, runtime_handler: handler.to_owned() };
    driver.call(what, "RunPodSandbox", &request).await
}

pub(super) async fn status(driver: &mut Driver, what: &str, id: &str, verbose: bool) {
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose };
    let _ = driver.call::<_, v1::PodSandboxStatusResponse>(what, "PodSandboxStatus", &request).await;
}

async fn list(driver: &mut Driver, what: &str, filter: v1::PodSandboxFilter) {
    let request = v1::ListPodSandboxRequest { filter: Some(filter) };
    let _ = driver.call::<_, v1::ListPodSandboxResponse>(what, "ListPodSandbox", &request).await;
}

pub(super) async fn stop(driver: &mut Driver, what: &str, id: &str) {
    let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
    let _ = driver.call::<_, v1::StopPodSandboxResponse>(what, "StopPodSandbox", &request).await;
}

pub(super) async fn remove(driver: &mut Driver, what: &str, id: &str) {
    let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
    let _ = driver.call::<_, v1::RemovePodSandboxResponse>(what, "RemovePodSandbox", &request).await;
}
