//! Calls about containers that never were, and RPCs that runtimes of this age don't have.

use cri::v1;

use super::containers::{exec, remove, reopen, start, stats, status, stop, update};
use crate::driver::Driver;

pub(super) async fn run(driver: &mut Driver) {
    let missing = "0".repeat(64);
    for (name, id) in
        [("an id of none", missing.as_str()), ("a prefix of none", "0000"), ("no id", ""), ("a word", "zzz")]
    {
        status(driver, &format!("status of {name}"), id, false).await;
        let _ = start(driver, &format!("start of {name}"), id).await;
        stop(driver, &format!("stop of {name}"), id, 0).await;
        remove(driver, &format!("removal of {name}"), id).await;
        exec(driver, &format!("exec in {name}"), id, &["true"], 0).await;
        reopen(driver, &format!("log of {name}"), id).await;
        update(driver, &format!("resources of {name}"), id).await;
        stats(driver, &format!("stats of {name}"), id).await;
        let attach = v1::AttachRequest { container_id: id.to_owned(), stdout: true, ..Default::default() };
        let _ = driver.call::<_, v1::AttachResponse>(&format!("attach to {name}"), "Attach", &attach).await;
        let url = v1::ExecRequest {
            container_id: id.to_owned(),
            cmd: vec!["sh".to_owned()],
            stdout: true,
            ..Default::default()
        };
        let _ = driver.call::<_, v1::ExecResponse>(&format!("exec to stream in {name}"), "Exec", &url).await;
    }
    streams(driver).await;
    checkpoints(driver, &missing).await;
}

async fn streams(driver: &mut Driver) {
    let what = "a list as a stream";
    let _ = driver.drain(what, "StreamPodSandboxes", &v1::StreamPodSandboxesRequest::default()).await;
    let _ = driver.drain(what, "StreamContainers", &v1::StreamContainersRequest::default()).await;
    let _ = driver.drain(what, "StreamContainerStats", &v1::StreamContainerStatsRequest::default()).await;
    let _ = driver.drain(what, "StreamPodSandboxStats", &v1::StreamPodSandboxStatsRequest::default()).await;
    let _ =
        driver.drain(what, "StreamPodSandboxMetrics", &v1::StreamPodSandboxMetricsRequest::default()).await;
    let _ = driver.drain(what, "StreamImages", &v1::StreamImagesRequest::default()).await;
}

async fn checkpoints(driver: &mut Driver, missing: &str) {
    let container = v1::CheckpointContainerRequest {
        container_id: missing.to_owned(),
        location: "/no-such/checkpoint.tar".to_owned(),
        timeout: 5,
    };
    let _ = driver
        .call::<_, v1::CheckpointContainerResponse>("checkpoint of none", "CheckpointContainer", &container)
        .await;
    let pod = v1::CheckpointPodRequest { pod_sandbox_id: missing.to_owned(), ..Default::default() };
    let _ = driver.call::<_, v1::CheckpointPodResponse>("checkpoint of a pod", "CheckpointPod", &pod).await;
    let restore = v1::RestorePodRequest { checkpoint_path: "/no-such".to_owned(), ..Default::default() };
    let _ = driver.call::<_, v1::RestorePodResponse>("a pod restored", "RestorePod", &restore).await;
}
