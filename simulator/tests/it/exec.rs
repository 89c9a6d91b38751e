//! Commands in containers, and addresses for streams.

use std::time::Instant;

use cri::v1;
use tonic::{Code, Status};

use crate::harness::{Runtime, assert_fails, container};

async fn exec(
    runtime: &Runtime,
    id: &str,
    command: &[&str],
    timeout: i64,
) -> Result<v1::ExecSyncResponse, Status> {
    let cmd = command.iter().map(ToString::to_string).collect();
    let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
    runtime.runtime("ExecSync", request).await
}

#[tokio::test]
async fn a_command_gives_its_output_and_exit_code() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let response = exec(&runtime, &id, &["sh", "-c", "echo out; echo err >&2; exit 4"], 5).await.unwrap();
    assert_eq!((&response.stdout[..], &response.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(response.exit_code, 4);
    let response = exec(&runtime, &id, &["/bin/echo", "hello", "world"], 0).await.unwrap();
    assert_eq!((&response.stdout[..], response.exit_code), (&b"hello world\n"[..], 0));
    assert_eq!(exec(&runtime, &id[..12], &["false"], 0).await.unwrap().exit_code, 1);
}

#[tokio::test]
async fn commands_see_the_containers_environment() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let mut config = container("app", &["sleep", "infinity"]);
    config.envs = vec![v1::KeyValue { key: "COLOUR".to_owned(), value: "blue".into() }];
    let id = runtime.create(&pod_id, "web", config).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    let response = exec(&runtime, &id, &["sh", "-c", "echo ${COLOUR}"], 5).await.unwrap();
    assert_eq!(&response.stdout[..], b"blue\n");
}

#[tokio::test]
async fn a_missing_binary_is_an_error() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let status = exec(&runtime, &id, &["curl", "-f", "localhost"], 5).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().starts_with("failed to exec in container: failed to start exec \""));
    assert!(status.message().ends_with(
        "OCI runtime exec failed: exec failed: unable to start container process: \
         exec: \"curl\": executable file not found in $PATH"
    ));
    let status = exec(&runtime, &id, &[], 5).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let started = Instant::now();
    assert_fails(
        exec(&runtime, &id, &["sleep", "1000"], 1).await,
        Code::DeadlineExceeded,
        "failed to exec in container: timeout 1s exceeded: context deadline exceeded",
    );
    assert!(started.elapsed().as_millis() >= 1000);
}

#[tokio::test]
async fn a_command_ends_with_its_container() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sh", "-c", "sleep 0.1"]).await;
    let response = exec(&runtime, &id, &["sleep", "1000"], 0).await.unwrap();
    assert_eq!(response.exit_code, 137);
}

#[tokio::test]
async fn only_running_containers_run_commands() {
    let runtime = Runtime::start().await;
    assert_fails(
        exec(&runtime, "none", &["true"], 0).await,
        Code::NotFound,
        "failed to exec in container: failed to find container \"none\" in store: not found",
    );
    let pod_id = runtime.run_pod("web").await;
    let id = runtime.create(&pod_id, "web", container("app", &["true"])).await.unwrap();
    assert_fails(
        exec(&runtime, &id, &["true"], 0).await,
        Code::Unknown,
        "failed to exec in container: container is in CONTAINER_CREATED state",
    );
    runtime.start_container(&id).await.unwrap();
    runtime.exited(&id).await;
    assert_fails(
        exec(&runtime, &id, &["true"], 0).await,
        Code::Unknown,
        "failed to exec in container: container is in CONTAINER_EXITED state",
    );
}

#[tokio::test]
async fn streams_have_an_address_each() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let pod_id = runtime.run_pod("other").await;
    let request = v1::ExecRequest { container_id: id.clone(), stdout: true, ..Default::default() };
    let one: v1::ExecResponse = runtime.runtime("Exec", request.clone()).await.unwrap();
    let two: v1::ExecResponse = runtime.runtime("Exec", request).await.unwrap();
    let token = one.url.strip_prefix("http://127.0.0.1:36921/exec/").unwrap();
    assert_eq!(token.len(), 8);
    assert_ne!(one.url, two.url);

    let silent = v1::ExecRequest { container_id: id.clone(), ..Default::default() };
    let refused = runtime.runtime::<v1::ExecResponse>("Exec", silent).await;
    assert_fails(refused, Code::InvalidArgument, "one of stdin, stdout, or stderr must be set");

    let request = v1::AttachRequest { container_id: id.clone(), stdout: true, ..Default::default() };
    let attach: v1::AttachResponse = runtime.runtime("Attach", request.clone()).await.unwrap();
    assert!(attach.url.contains("/attach/"));
    let forward = v1::PortForwardRequest { pod_sandbox_id: pod_id.clone(), port: vec![80] };
    let url: v1::PortForwardResponse = runtime.runtime("PortForward", forward.clone()).await.unwrap();
    assert!(url.url.contains("/portforward/"));

    runtime.stop_container(&id, 0).await.unwrap();
    let refused = runtime.runtime::<v1::AttachResponse>("Attach", request).await;
    assert_fails(refused, Code::Unknown, "container is in CONTAINER_EXITED state");
    let missing = v1::ExecRequest { container_id: "none".to_owned(), ..Default::default() };
    let refused = runtime.runtime::<v1::ExecResponse>("Exec", missing).await;
    assert_fails(refused, Code::NotFound, "failed to find container \"none\" in store: not found");
    runtime.stop_pod(&pod_id).await.unwrap();
    let refused = runtime.runtime::<v1::PortForwardResponse>("PortForward", forward).await;
    assert_fails(refused, Code::Unknown, "sandbox container is not running");
}

#[tokio::test]
async fn a_checkpoint_needs_what_is_not_installed() {
    let runtime = Runtime::start().await;
    let request = v1::CheckpointContainerRequest { container_id: "x".to_owned(), ..Default::default() };
    let status = runtime.runtime::<v1::CheckpointContainerResponse>("CheckpointContainer", request).await;
    assert!(status.unwrap_err().message().starts_with("CRIU binary not found or too old"));
}
