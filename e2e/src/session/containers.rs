//! Containers: through their states, and at each of them what may not be done then.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use cri::v1;
use tonic::Status;

use super::{Place, container, image, need, pod, pods};
use crate::driver::Driver;

/// Stays until it is told to end, and then ends with 7.
pub(super) const STAYS: &str = "echo ready; trap 'exit 7' TERM; while :; do sleep 0.2; done";

/// The pod that all of it happens in.
pub(super) struct Pod<'a> {
    pub(super) id: &'a str,
    pub(super) config: &'a v1::PodSandboxConfig,
}

pub(super) async fn run(driver: &mut Driver, place: &Place) {
    let config = pod(place, "host", 0);
    let id = pods::start(driver, "host pod", config.clone()).await;
    let pod = Pod { id: &id, config: &config };
    not_created(driver, &pod).await;
    whole_life(driver, &pod, place).await;
    ends_by_itself(driver, &pod).await;
    cannot_start(driver, &pod).await;
    other_user(driver, &pod).await;
    many(driver, &pod).await;
    pods::stop(driver, "stop of the host pod", &id).await;
    let _ = create(driver, "container in a stopped pod", &pod, container("late", STAYS)).await;
    pods::remove(driver, "removal of the host pod", &id).await;
    let _ = create(driver, "container in a removed pod", &pod, container("later", STAYS)).await;
    list(driver, "containers at the end", v1::ContainerFilter::default()).await;
}

async fn not_created(driver: &mut Driver, pod: &Pod<'_>) {
    let missing = "0".repeat(64);
    let nowhere = Pod { id: &missing, config: pod.config };
    let _ = create(driver, "container in a pod of none", &nowhere, container("lost", STAYS)).await;
    let nowhere = Pod { id: "", config: pod.config };
    let _ = create(driver, "container in no pod", &nowhere, container("lost", STAYS)).await;
    let mut config = container("no-image", STAYS);
    config.image = Some(image("localhost:5000/never-pulled:1.0"));
    let _ = create(driver, "container of an image not pulled", pod, config).await;
    let mut config = container("no-image", STAYS);
    config.image = None;
    let _ = create(driver, "container without image", pod, config).await;
    let mut config = container("", STAYS);
    config.metadata = None;
    let _ = create(driver, "container without metadata", pod, config).await;
    let mut config = container("device", STAYS);
    config.devices.push(v1::Device {
        container_path: "/dev/no-such".to_owned(),
        host_path: "/dev/no-such".to_owned(),
        permissions: "rwm".to_owned(),
    });
    let _ = create(driver, "container with a device of none", pod, config).await;
    let request = v1::CreateContainerRequest { pod_sandbox_id: pod.id.to_owned(), ..Default::default() };
    let _ = driver
        .call::<_, v1::CreateContainerResponse>(
            "container without configuration",
            "CreateContainer",
            &request,
        )
        .await;
}

async fn whole_life(driver: &mut Driver, pod: &Pod<'_>, place: &Place) {
    let id = made(driver, "main container", pod, main(place)).await;
    let _ = create(driver, "the same container again", pod, container("main", STAYS)).await;
    status(driver, "status before the start", &id, true).await;
    exec(driver, "exec before the start", &id, &["true"], 0).await;
    reopen(driver, "log reopened before the start", &id).await;
    update(driver, "resources before the start", &id).await;
    stats(driver, "stats before the start", &id).await;
    need("start", start(driver, "start", &id).await);
    let _ = start(driver, "second start", &id).await;
    status(driver, "status while it runs", &id, true).await;
    status(driver, "status by a prefix", &id[..13], false).await;
    execs(driver, &id).await;
    urls(driver, pod, &id).await;
    update(driver, "resources while it runs", &id).await;
    reopen(driver, "log reopened while it runs", &id).await;
    stats(driver, "stats while it runs", &id).await;
    lists(driver, pod, &id).await;
    checkpoint(driver, "checkpoint", &id, place).await;
    stop(driver, "stop", &id, 10).await;
    stop(driver, "second stop", &id, 10).await;
    status(driver, "status after the stop", &id, true).await;
    exec(driver, "exec after the stop", &id, &["true"], 0).await;
    stats(driver, "stats after the stop", &id).await;
    update(driver, "resources after the stop", &id).await;
    reopen(driver, "log reopened after the stop", &id).await;
    let attach = v1::AttachRequest { container_id: id.clone(), stdout: true, ..Default::default() };
    let _ = driver.call::<_, v1::AttachResponse>("attach after the stop", "Attach", &attach).await;
    let _ = start(driver, "start after the stop", &id).await;
    remove(driver, "removal", &id).await;
    remove(driver, "second removal", &id).await;
    stop(driver, "stop after the removal", &id, 0).await;
    status(driver, "status after the removal", &id, false).await;
    let again = made(driver, "container of a name set free", pod, container("main", STAYS)).await;
    need("start", start(driver, "start of it", &again).await);
    remove(driver, "removal while it runs", &again).await;
}

/// A container with all that a kubelet would mount and set.
fn main(place: &Place) -> v1::ContainerConfig {
    let file = place.folder.join("hosts");
    let folder = place.folder.join("data");
    if let Err(error) = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, "127.0.0.1 localhost\n")) {
        panic!("{}: {error}", folder.display());
    }
    let mut config = container("main", STAYS);
    config.envs = vec![
        v1::KeyValue { key: "TOKEN".to_owned(), value: "correct horse".into() },
        v1::KeyValue { key: "EMPTY".to_owned(), value: bytes::Bytes::new() },
    ];
    config.labels = BTreeMap::from([("role".to_owned(), "main".to_owned())]);
    config.annotations = BTreeMap::from([("example.com/hash".to_owned(), "abcdef0123456789".to_owned())]);
    config.mounts = vec![
        v1::Mount {
            container_path: "/etc/hosts".to_owned(),
            host_path: file.display().to_string(),
            readonly: true,
            ..Default::default()
        },
        v1::Mount {
            container_path: "/data".to_owned(),
            host_path: folder.display().to_string(),
            ..Default::default()
        },
        v1::Mount {
            container_path: "/absent".to_owned(),
            host_path: place.folder.join("absent").display().to_string(),
            ..Default::default()
        },
    ];
    config
}

async fn execs(driver: &mut Driver, id: &str) {
    exec(driver, "exec with output", id, &["sh", "-c", "echo out; echo err >&2"], 0).await;
    exec(driver, "exec that fails", id, &["sh", "-c", "exit 3"], 0).await;
    exec(
        driver,
        "exec that looks at mounts",
        id,
        &["sh", "-c", "test -f /etc/hosts && test -d /data && test -d /absent"],
        5,
    )
    .await;
    exec(driver, "exec of a missing binary", id, &["no-such-binary"], 0).await;
    exec(driver, "exec of a folder", id, &["/etc"], 0).await;
    exec(driver, "exec that takes too long", id, &["sleep", "30"], 1).await;
    exec(driver, "exec of nothing", id, &[], 0).await;
    exec(driver, "exec by a prefix", &id[..12], &["true"], 0).await;
    let slow = v1::ExecSyncRequest {
        container_id: id.to_owned(),
        cmd: ["sleep", "2"].map(str::to_owned).to_vec(),
        timeout: 0,
    };
    let _ = driver
        .call_within::<_, v1::ExecSyncResponse>(
            "exec that outlasts its caller",
            "ExecSync",
            &slow,
            Duration::from_millis(500),
        )
        .await;
}

async fn urls(driver: &mut Driver, pod: &Pod<'_>, id: &str) {
    let exec = |tty, stdout, stderr| v1::ExecRequest {
        container_id: id.to_owned(),
        cmd: vec!["sh".to_owned()],
        tty,
        stdout,
        stderr,
        ..Default::default()
    };
    for (what, request) in [
        ("exec to stream", exec(false, true, true)),
        ("exec on a terminal", exec(true, true, false)),
        ("exec with a terminal and an error stream", exec(true, true, true)),
        ("exec without streams", exec(false, false, false)),
    ] {
        let _ = driver.call::<_, v1::ExecResponse>(what, "Exec", &request).await;
    }
    for (what, stdout) in [("attach", true), ("attach without streams", false)] {
        let request = v1::AttachRequest { container_id: id.to_owned(), stdout, ..Default::default() };
        let _ = driver.call::<_, v1::AttachResponse>(what, "Attach", &request).await;
    }
    let request = v1::PortForwardRequest { pod_sandbox_id: pod.id.to_owned(), port: vec![80, 8080] };
    let _ = driver.call::<_, v1::PortForwardResponse>("port-forward", "PortForward", &request).await;
}

async fn lists(driver: &mut Driver, pod: &Pod<'_>, id: &str) {
    let all = v1::ContainerFilter::default;
    list(driver, "all containers", all()).await;
    list(driver, "containers by id", v1::ContainerFilter { id: id.to_owned(), ..all() }).await;
    list(driver, "containers by a prefix", v1::ContainerFilter { id: id[..13].to_owned(), ..all() }).await;
    list(driver, "containers of the pod", v1::ContainerFilter { pod_sandbox_id: pod.id.to_owned(), ..all() })
        .await;
    list(driver, "containers of no pod", v1::ContainerFilter { pod_sandbox_id: "0".repeat(64), ..all() })
        .await;
    for role in ["main", "other"] {
        let label_selector = BTreeMap::from([("role".to_owned(), role.to_owned())]);
        list(driver, "containers by label", v1::ContainerFilter { label_selector, ..all() }).await;
    }
    for state in [v1::ContainerState::ContainerRunning, v1::ContainerState::ContainerExited] {
        let state = Some(v1::ContainerStateValue { state: state.into() });
        list(driver, "containers by state", v1::ContainerFilter { state, ..all() }).await;
    }
    let stats = v1::ListContainerStatsRequest {
        filter: Some(v1::ContainerStatsFilter { pod_sandbox_id: pod.id.to_owned(), ..Default::default() }),
    };
    let _ = driver
        .call::<_, v1::ListContainerStatsResponse>(
            "stats of the pod's containers",
            "ListContainerStats",
            &stats,
        )
        .await;
}

async fn ends_by_itself(driver: &mut Driver, pod: &Pod<'_>) {
    let id = made(driver, "short container", pod, container("short", "echo bye >&2; exit 3")).await;
    need("start", start(driver, "start of a short container", &id).await);
    while state(driver, "status of a short container", &id).await != Some(v1::ContainerState::ContainerExited)
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    exec(driver, "exec in an ended container", &id, &["true"], 0).await;
    let _ = start(driver, "start of an ended container", &id).await;
    list(driver, "containers with an ended one", v1::ContainerFilter::default()).await;
    remove(driver, "removal of an ended container", &id).await;
}

async fn cannot_start(driver: &mut Driver, pod: &Pod<'_>) {
    let mut config = container("broken", "");
    config.command = vec!["/no/such/binary".to_owned()];
    let id = made(driver, "container of a missing binary", pod, config).await;
    let _ = start(driver, "start of a missing binary", &id).await;
    status(driver, "status of a missing binary", &id, false).await;
    let _ = start(driver, "second start of a missing binary", &id).await;
    stop(driver, "stop of a missing binary", &id, 0).await;
    remove(driver, "removal of a missing binary", &id).await;
    let mut config = container("nowhere", STAYS);
    "/etc/passwd".clone_into(&mut config.working_dir);
    let id = made(driver, "container in a folder that is a file", pod, config).await;
    let _ = start(driver, "start in a folder that is a file", &id).await;
    remove(driver, "removal of it", &id).await;
}

async fn other_user(driver: &mut Driver, pod: &Pod<'_>) {
    let mut config = container("user", STAYS);
    config.image = Some(image(super::USER));
    let id = made(driver, "container of another user", pod, config).await;
    need("start", start(driver, "start of another user", &id).await);
    exec(driver, "exec as another user", &id, &["id", "-u"], 0).await;
    status(driver, "status of another user", &id, false).await;
    let mut config = container("no-user", STAYS);
    config.linux.get_or_insert_default().security_context = Some(v1::LinuxContainerSecurityContext {
        run_as_username: "nobody-knows".to_owned(),
        ..Default::default()
    });
    let _ = create(driver, "container of an unknown user", pod, config).await;
    stop(driver, "stop at once", &id, 0).await;
    status(driver, "status after it", &id, false).await;
    remove(driver, "removal of another user's", &id).await;
}

/// So many that two ids begin with the same digit.
async fn many(driver: &mut Driver, pod: &Pod<'_>) {
    let mut ids: Vec<String> = Vec::new();
    let digit = loop {
        let number = ids.len();
        let config = container(&format!("many-{number}"), "true");
        let id = made(driver, "one of many", pod, config).await;
        let digit = id[..1].to_owned();
        let taken = ids.iter().any(|other| other.starts_with(&digit));
        ids.push(id);
        if taken {
            break digit;
        }
    };
    // As the error tells it, in either of two places.
    for told in [format!("\"{digit}\""), format!("prefix: {digit}")] {
        driver.learn(&told, "a prefix of two");
    }
    status(driver, "status by a prefix of two", &digit, false).await;
    list(driver, "containers by a prefix of two", v1::ContainerFilter { id: digit, ..Default::default() })
        .await;
    status(driver, "status with many containers and no id", "", false).await;
    for id in &ids {
        remove(driver, "removal of one of many", id).await;
    }
}

/// A container that has to come to be.
async fn made(driver: &mut Driver, what: &str, pod: &Pod<'_>, config: v1::ContainerConfig) -> String {
    let id = need(what, create(driver, what, pod, config).await).container_id;
    driver.learn(&id, what);
    id
}

pub(super) async fn create(
    driver: &mut Driver,
    what: &str,
    pod: &Pod<'_>,
    config: v1::ContainerConfig,
) -> Result<v1::CreateContainerResponse, Status> {
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: pod.id.to_owned(),
        config: Some(config),
        sandbox_config: Some(pod.config.clone()),
    };
    driver.call(what, "CreateContainer", &request).await
}

pub(super) async fn start(
    driver: &mut Driver,
    what: &str,
    id: &str,
) -> Result<v1::StartContainerResponse, Status> {
    driver.call(what, "StartContainer", &v1::StartContainerRequest { container_id: id.to_owned() }).await
}

pub(super) async fn stop(driver: &mut Driver, what: &str, id: &str, timeout: i64) {
    let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout };
    let _ = driver.call::<_, v1::StopContainerResponse>(what, "StopContainer", &request).await;
}

pub(super) async fn remove(driver: &mut Driver, what: &str, id: &str) {
    let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
    let _ = driver.call::<_, v1::RemoveContainerResponse>(what, "RemoveContainer", &request).await;
}

pub(super) async fn status(driver: &mut Driver, what: &str, id: &str, verbose: bool) {
    let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose };
    let _ = driver.call::<_, v1::ContainerStatusResponse>(what, "ContainerStatus", &request).await;
}

async fn state(driver: &mut Driver, what: &str, id: &str) -> Option<v1::ContainerState> {
    let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    let answer: v1::ContainerStatusResponse =
        need(what, driver.call(what, "ContainerStatus", &request).await);
    answer.status.map(|status| status.state())
}

pub(super) async fn exec(driver: &mut Driver, what: &str, id: &str, cmd: &[&str], timeout: i64) {
    let request = v1::ExecSyncRequest {
        container_id: id.to_owned(),
        cmd: cmd.iter().map(|word| (*word).to_owned()).collect(),
        timeout,
    };
    let _ = driver.call::<_, v1::ExecSyncResponse>(what, "ExecSync", &request).await;
}

pub(super) async fn reopen(driver: &mut Driver, what: &str, id: &str) {
    let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
    let _ = driver.call::<_, v1::ReopenContainerLogResponse>(what, "ReopenContainerLog", &request).await;
}

pub(super) async fn update(driver: &mut Driver, what: &str, id: &str) {
    let request = v1::UpdateContainerResourcesRequest {
        container_id: id.to_owned(),
        linux: Some(v1::LinuxContainerResources {
            cpu_shares: 512,
            memory_limit_in_bytes: 48 << 20,
            ..Default::default()
        }),
        ..Default::default()
    };
    let _ = driver
        .call::<_, v1::UpdateContainerResourcesResponse>(what, "UpdateContainerResources", &request)
        .await;
}

pub(super) async fn stats(driver: &mut Driver, what: &str, id: &str) {
    let request = v1::ContainerStatsRequest { container_id: id.to_owned() };
    let _ = driver.call::<_, v1::ContainerStatsResponse>(what, "ContainerStats", &request).await;
}

async fn list(driver: &mut Driver, what: &str, filter: v1::ContainerFilter) {
    let request = v1::ListContainersRequest { filter: Some(filter) };
    let _ = driver.call::<_, v1::ListContainersResponse>(what, "ListContainers", &request).await;
}

async fn checkpoint(driver: &mut Driver, what: &str, id: &str, place: &Place) {
    let request = v1::CheckpointContainerRequest {
        container_id: id.to_owned(),
        location: place.folder.join("checkpoint.tar").display().to_string(),
        timeout: 5,
    };
    let _ = driver.call::<_, v1::CheckpointContainerResponse>(what, "CheckpointContainer", &request).await;
}
