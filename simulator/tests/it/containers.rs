//! Containers.

use cri::v1;
use cri::v1::ContainerState as State;
use tonic::Code;

use crate::harness::{IMAGE, Runtime, assert_fails, container, labels, pod};

#[tokio::test]
async fn a_container_lives_and_dies() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let config = container("app", &["sh", "-c", "sleep 0.02; exit 3"]);
    let id = runtime.create(&pod_id, "web", config.clone()).await.unwrap();
    let created = runtime.container_status(&id).await.unwrap();
    assert_eq!(created.state(), State::ContainerCreated);
    assert!(created.created_at > 0 && created.started_at == 0 && created.finished_at == 0);
    assert_eq!(created.metadata, config.metadata);
    assert_eq!((created.labels.clone(), created.annotations.clone()), (config.labels, config.annotations));
    assert_eq!(created.image.as_ref().unwrap().image, "docker.io/library/busybox:1.36");
    assert!(created.image_ref.starts_with("docker.io/library/busybox@sha256:"));
    assert!(created.image_id.starts_with("sha256:"));
    assert_eq!(created.stop_signal(), v1::Signal::Sigterm);

    runtime.start_container(&id).await.unwrap();
    let exited = runtime.exited(&id).await;
    assert_eq!((exited.exit_code, exited.reason.as_str()), (3, "Error"));
    assert!(exited.created_at <= exited.started_at && exited.started_at < exited.finished_at);
    assert!(exited.finished_at - exited.started_at >= 20_000_000);

    runtime.remove_container(&id).await.unwrap();
    assert_fails(
        runtime.container_status(&id).await,
        Code::NotFound,
        &format!("an error occurred when try to find container \"{id}\": not found"),
    );
}

#[tokio::test]
async fn an_exit_code_of_zero_is_completion() {
    let runtime = Runtime::start().await;
    let id = runtime.running("job", &["true"]).await;
    let exited = runtime.exited(&id).await;
    assert_eq!((exited.exit_code, exited.reason.as_str()), (0, "Completed"));
}

#[tokio::test]
async fn a_container_starts_once() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let text = |state: &str| {
        format!("failed to set starting state for container \"{id}\": container is in {state} state")
    };
    assert_fails(runtime.start_container(&id).await, Code::Unknown, &text("CONTAINER_RUNNING"));
    runtime.stop_container(&id, 0).await.unwrap();
    assert_fails(runtime.start_container(&id).await, Code::Unknown, &text("CONTAINER_EXITED"));
    assert_fails(
        runtime.start_container("none").await,
        Code::NotFound,
        "an error occurred when try to find container \"none\": not found",
    );
}

#[tokio::test]
async fn a_missing_binary_fails_the_start() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let id = runtime.create(&pod_id, "web", container("app", &["nginx"])).await.unwrap();
    let text = "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
                runc create failed: unable to start container process: \
                exec: \"nginx\": executable file not found in $PATH";
    assert_fails(runtime.start_container(&id).await, Code::Unknown, text);
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.state(), State::ContainerExited);
    assert_eq!(
        (status.exit_code, status.reason.as_str(), status.message.as_str()),
        (128, "StartError", text)
    );
    assert!(status.started_at == 0 && status.finished_at >= status.created_at);
}

#[tokio::test]
async fn what_a_stop_signal_does() {
    let runtime = Runtime::start().await;
    let service = runtime.running("service", &[]).await;
    runtime.stop_container(&service, 30).await.unwrap();
    assert_eq!(runtime.exited(&service).await.exit_code, 143);

    let sleeper = runtime.running("sleeper", &["sleep", "1000"]).await;
    runtime.stop_container(&sleeper, 30).await.unwrap();
    assert_eq!(runtime.container_status(&sleeper).await.unwrap().exit_code, 143);

    let command = ["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.01; done"];
    let trapping = runtime.running("trapping", &command).await;
    runtime.until(async || (trap_is_set(&runtime, &trapping).await).then_some(())).await;
    runtime.stop_container(&trapping, 30).await.unwrap();
    assert_eq!(runtime.exited(&trapping).await.exit_code, 5);
}

#[tokio::test]
async fn a_first_process_that_handles_no_signal_is_killed_after_the_grace_period() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let mut config = container("app", &["sleep", "1000"]);
    config.linux = Some(v1::LinuxContainerConfig {
        security_context: Some(v1::LinuxContainerSecurityContext {
            namespace_options: Some(v1::NamespaceOption {
                pid: v1::NamespaceMode::Container.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    });
    let id = runtime.create(&pod_id, "web", config).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    runtime.stop_container(&id, 1).await.unwrap();
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!((status.state(), status.exit_code), (State::ContainerExited, 137));
    assert!(status.finished_at - status.started_at >= 1_000_000_000, "the grace period was granted");
}

/// A shell that has just started has not set its trap yet.
async fn trap_is_set(runtime: &Runtime, id: &str) -> bool {
    let started_at = runtime.container_status(id).await.unwrap().started_at;
    let request = v1::ContainerStatsRequest { container_id: id.to_owned() };
    let usage: v1::ContainerStatsResponse = runtime.runtime("ContainerStats", request).await.unwrap();
    usage.stats.unwrap().cpu.unwrap().timestamp - started_at > 20_000_000
}

#[tokio::test]
async fn a_stop_signal_of_its_own_is_sent_and_shown() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let config = v1::ContainerConfig { stop_signal: v1::Signal::Sigint.into(), ..container("app", &[]) };
    let id = runtime.create(&pod_id, "web", config).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    runtime.stop_container(&id, 10).await.unwrap();
    let status = runtime.exited(&id).await;
    assert_eq!((status.stop_signal(), status.exit_code), (v1::Signal::Sigint, 130));
}

#[tokio::test]
async fn stopping_and_removing_may_be_repeated() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    for _ in 0..2 {
        runtime.stop_container(&id, 0).await.unwrap();
    }
    assert_eq!(runtime.container_status(&id).await.unwrap().exit_code, 137);
    for _ in 0..2 {
        runtime.remove_container(&id).await.unwrap();
        runtime.stop_container(&id, 0).await.unwrap();
    }
}

#[tokio::test]
async fn removing_a_running_container_kills_it() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    runtime.remove_container(&id).await.unwrap();
    assert_eq!(runtime.container_status(&id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_pod_takes_its_containers_along() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let running = runtime.create(&pod_id, "web", container("a", &["sleep", "infinity"])).await.unwrap();
    runtime.start_container(&running).await.unwrap();
    let created = runtime.create(&pod_id, "web", container("b", &["true"])).await.unwrap();
    runtime.stop_pod(&pod_id).await.unwrap();
    assert_eq!(runtime.container_status(&running).await.unwrap().exit_code, 137);
    assert_eq!(runtime.container_status(&created).await.unwrap().state(), State::ContainerCreated);

    let not_running = format!("sandbox container \"{pod_id}\" is not running");
    assert_fails(
        runtime.create(&pod_id, "web", container("c", &["true"])).await,
        Code::Unknown,
        &not_running,
    );
    assert_fails(runtime.start_container(&created).await, Code::Unknown, &not_running);
    assert_eq!(runtime.container_status(&created).await.unwrap().reason, "StartError");

    runtime.remove_pod(&pod_id).await.unwrap();
    for id in [running, created] {
        assert_eq!(runtime.container_status(&id).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_name_belongs_to_one_container_of_a_pod() {
    let runtime = Runtime::start().await;
    let (one, two) = (runtime.run_pod("one").await, runtime.run_pod("two").await);
    let id = runtime.create(&one, "one", container("app", &[])).await.unwrap();
    let name = "app_one_default_uid-of-one_0";
    assert_fails(
        runtime.create(&one, "one", container("app", &[])).await,
        Code::FailedPrecondition,
        &format!(
            "failed to reserve container name \"{name}\"; check if another CreateContainer request is in progress: \
             name \"{name}\" is reserved for \"{id}\""
        ),
    );
    runtime.create(&two, "two", container("app", &[])).await.unwrap();
    let mut next = container("app", &[]);
    next.metadata.as_mut().unwrap().attempt = 1;
    runtime.create(&one, "one", next).await.unwrap();
    runtime.remove_container(&id).await.unwrap();
    runtime.create(&one, "one", container("app", &[])).await.unwrap();
}

#[tokio::test]
async fn what_a_container_lacks_is_said() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let create =
        async |request| runtime.runtime::<v1::CreateContainerResponse>("CreateContainer", request).await;
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: pod_id.clone(),
        config: Some(container("app", &[])),
        sandbox_config: Some(pod("web")),
    };
    assert_fails(
        create(request.clone()).await,
        Code::NotFound,
        &format!(
            "failed to check if this is a checkpoint image: failed to resolve image \"{IMAGE}\": not found"
        ),
    );
    let elsewhere = v1::CreateContainerRequest { pod_sandbox_id: "none".to_owned(), ..request.clone() };
    assert_fails(create(elsewhere).await, Code::NotFound, "failed to find sandbox id \"none\": not found");
    let nameless = v1::CreateContainerRequest { config: None, ..request.clone() };
    assert_fails(create(nameless).await, Code::Unknown, "container config must include metadata");
    let podless = v1::CreateContainerRequest { sandbox_config: None, ..request.clone() };
    assert_fails(create(podless).await, Code::Unknown, "pod sandbox config must include metadata");

    runtime.pull(IMAGE).await.unwrap();
    let mut privileged = request;
    privileged.config.as_mut().unwrap().linux = Some(v1::LinuxContainerConfig {
        security_context: Some(v1::LinuxContainerSecurityContext { privileged: true, ..Default::default() }),
        ..Default::default()
    });
    let status = create(privileged).await.unwrap_err();
    assert!(status.message().ends_with("no privileged container allowed in sandbox"));
}

#[tokio::test]
async fn lists_are_filtered() {
    let runtime = Runtime::start().await;
    let running = runtime.running("one", &["sleep", "infinity"]).await;
    let exited = runtime.running("two", &["true"]).await;
    runtime.exited(&exited).await;
    let list = async |filter| {
        let request = v1::ListContainersRequest { filter: Some(filter) };
        let response: v1::ListContainersResponse = runtime.runtime("ListContainers", request).await.unwrap();
        response.containers
    };
    let all = list(v1::ContainerFilter::default()).await;
    assert_eq!(all.len(), 2);
    let pod_id = all.iter().find(|container| container.id == running).unwrap().pod_sandbox_id.clone();
    assert!(all.iter().all(|container| container.image_ref == container.image_id));
    let ids = async |filter| list(filter).await.into_iter().map(|found| found.id).collect::<Vec<_>>();
    let filter = v1::ContainerFilter::default;
    let state = Some(v1::ContainerStateValue { state: State::ContainerExited.into() });
    assert_eq!(ids(v1::ContainerFilter { state, ..filter() }).await, [exited.as_str()]);
    assert_eq!(
        ids(v1::ContainerFilter { pod_sandbox_id: pod_id[..13].to_owned(), ..filter() }).await,
        [running.as_str()]
    );
    assert_eq!(ids(v1::ContainerFilter { id: exited[..20].to_owned(), ..filter() }).await, [exited.as_str()]);
    let label_selector = labels(&[("app", "one")]);
    assert_eq!(ids(v1::ContainerFilter { label_selector, ..filter() }).await, [running.as_str()]);
    assert!(ids(v1::ContainerFilter { id: "none".to_owned(), ..filter() }).await.is_empty());
}

#[tokio::test]
async fn resources_are_stored_and_shown() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let limit = |bytes| v1::LinuxContainerResources {
        memory_limit_in_bytes: bytes,
        cpu_shares: 512,
        ..Default::default()
    };
    let mut config = container("app", &[]);
    config.mounts = vec![v1::Mount { container_path: "/data".to_owned(), ..Default::default() }];
    config.linux = Some(v1::LinuxContainerConfig {
        resources: Some(limit(1 << 20)),
        security_context: Some(v1::LinuxContainerSecurityContext {
            run_as_user: Some(v1::Int64Value { value: 1000 }),
            supplemental_groups: vec![5],
            ..Default::default()
        }),
    });
    let id = runtime.create(&pod_id, "web", config.clone()).await.unwrap();
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.resources.unwrap().linux, Some(limit(1 << 20)));
    assert_eq!(status.mounts, config.mounts);
    let user = status.user.unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid, user.supplemental_groups), (1000, 0, vec![0, 5]));

    let update = |id: &str| v1::UpdateContainerResourcesRequest {
        container_id: id.to_owned(),
        linux: Some(v1::LinuxContainerResources { memory_limit_in_bytes: 1 << 21, ..Default::default() }),
        ..Default::default()
    };
    let response =
        runtime.runtime::<v1::UpdateContainerResourcesResponse>("UpdateContainerResources", update(&id));
    response.await.unwrap();
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.resources.unwrap().linux, Some(limit(1 << 21)));
    let response =
        runtime.runtime::<v1::UpdateContainerResourcesResponse>("UpdateContainerResources", update("x"));
    assert_fails(response.await, Code::NotFound, "failed to find container: not found");
}

#[tokio::test]
async fn output_goes_to_the_log_where_there_is_a_directory() {
    let runtime = Runtime::start().await;
    let logs = runtime.directory.path().join("pod-logs");
    let mut config = pod("web");
    config.log_directory = logs.to_str().unwrap().to_owned();
    runtime.pull(IMAGE).await.unwrap();
    let pod_id = runtime.try_run_pod(config.clone()).await.unwrap();
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: pod_id,
        config: Some(v1::ContainerConfig {
            log_path: "app/0.log".to_owned(),
            envs: vec![v1::KeyValue { key: "WHO".to_owned(), value: "world".into() }],
            ..container("app", &["sh", "-c", "echo hello $WHO; echo oops >&2; sleep 0.05; echo bye"])
        }),
        sandbox_config: Some(config),
    };
    let created: v1::CreateContainerResponse = runtime.runtime("CreateContainer", request).await.unwrap();
    let id = created.container_id;
    runtime.start_container(&id).await.unwrap();
    let moved = logs.join("app/0.log.1");
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.log_path, logs.join("app/0.log").to_str().unwrap());
    runtime
        .until(async || std::fs::read_to_string(&status.log_path).ok().filter(|text| text.contains("oops")))
        .await;
    std::fs::rename(&status.log_path, &moved).unwrap();
    let reopen = v1::ReopenContainerLogRequest { container_id: id.clone() };
    runtime.runtime::<v1::ReopenContainerLogResponse>("ReopenContainerLog", reopen.clone()).await.unwrap();
    runtime.exited(&id).await;
    let lines = |text: String| -> Vec<String> {
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    };
    assert_eq!(lines(std::fs::read_to_string(moved).unwrap()), ["stdout F hello world", "stderr F oops"]);
    assert_eq!(lines(std::fs::read_to_string(status.log_path).unwrap()), ["stdout F bye"]);
    let refused = runtime.runtime::<v1::ReopenContainerLogResponse>("ReopenContainerLog", reopen).await;
    assert_fails(refused, Code::Unknown, "container is not running");
}

#[tokio::test]
async fn a_container_outlives_its_image() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let before = runtime.container_status(&id).await.unwrap();
    let request = v1::RemoveImageRequest { image: before.image };
    runtime.image::<v1::RemoveImageResponse>("RemoveImage", request).await.unwrap();
    let after = runtime.container_status(&id).await.unwrap();
    assert_eq!(after.image.unwrap().image, IMAGE);
    assert_eq!(after.image_ref, before.image_id);
}

#[tokio::test]
async fn info_holds_the_configuration_only_when_asked_for() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let mut config = container("app", &["sleep", "infinity"]);
    config.envs = vec![v1::KeyValue { key: "TOKEN".to_owned(), value: "s3cret".into() }];
    let id = runtime.create(&pod_id, "web", config).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    let status = |verbose| v1::ContainerStatusRequest { container_id: id.clone(), verbose };
    let short: v1::ContainerStatusResponse = runtime.runtime("ContainerStatus", status(false)).await.unwrap();
    assert!(short.info.is_empty());
    let long: v1::ContainerStatusResponse = runtime.runtime("ContainerStatus", status(true)).await.unwrap();
    let info: serde_json::Value = serde_json::from_str(&long.info["info"]).unwrap();
    assert_eq!(info["sandboxID"], pod_id);
    assert!(info["pid"].as_u64().unwrap() > 0);
    assert_eq!(info["config"]["envs"][0]["value"], "s3cret");
    let environment = info["runtimeSpec"]["process"]["env"].as_array().unwrap();
    assert!(environment.iter().any(|variable| variable == "TOKEN=s3cret"));
}
