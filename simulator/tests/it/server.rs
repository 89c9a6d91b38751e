//! The server: limits, deadlines, many connections, shutdown.

use bytes::Bytes;
use cri::client::Client;
use cri::{MAX_MESSAGE_BYTES, v1};
use critape_simulator::{Config, ServeError, Simulator, serve};
use prost::Message;
use tonic::Code;

use crate::harness::{Runtime, pod};

#[tokio::test]
async fn the_runtime_is_ready() {
    let runtime = Runtime::start().await;
    let status: v1::StatusResponse =
        runtime.runtime("Status", v1::StatusRequest { verbose: false }).await.unwrap();
    let conditions: Vec<_> = status.status.unwrap().conditions;
    let kinds: Vec<_> = conditions.iter().map(|condition| condition.r#type.as_str()).collect();
    assert_eq!(kinds, ["RuntimeReady", "NetworkReady"]);
    assert!(conditions.iter().all(|condition| condition.status));
    let handlers: Vec<_> = status.runtime_handlers.iter().map(|handler| handler.name.as_str()).collect();
    assert_eq!(handlers, ["", "runc"]);
    assert!(status.info.is_empty());
    let verbose: v1::StatusResponse =
        runtime.runtime("Status", v1::StatusRequest { verbose: true }).await.unwrap();
    serde_json::from_str::<serde_json::Value>(&verbose.info["config"]).unwrap();

    let config: v1::RuntimeConfigResponse =
        runtime.runtime("RuntimeConfig", v1::RuntimeConfigRequest {}).await.unwrap();
    assert_eq!(config.linux.unwrap().cgroup_driver(), v1::CgroupDriver::Cgroupfs);
    let update = v1::UpdateRuntimeConfigRequest::default();
    runtime.runtime::<v1::UpdateRuntimeConfigResponse>("UpdateRuntimeConfig", update).await.unwrap();
}

#[tokio::test]
async fn every_call_is_counted() {
    let runtime = Runtime::start().await;
    let before = runtime.simulator.calls();
    runtime.run_pod("web").await;
    let unknown = runtime.client.unary("/runtime.v1.RuntimeService/Nope", Bytes::new(), None).await;
    assert!(unknown.is_err());
    assert_eq!(runtime.simulator.calls() - before, 2);
}

#[tokio::test]
async fn messages_up_to_the_limit_pass() {
    let runtime = Runtime::start().await;
    let with_note = |name: &str, length: usize| {
        let mut config = pod(name);
        config.annotations.insert("note".to_owned(), "x".repeat(length));
        config
    };
    let id = runtime.try_run_pod(with_note("large", MAX_MESSAGE_BYTES - 1024)).await.unwrap();
    assert_eq!(runtime.pod_status(&id).await.unwrap().annotations["note"].len(), MAX_MESSAGE_BYTES - 1024);
    let request = v1::RunPodSandboxRequest {
        config: Some(with_note("larger", MAX_MESSAGE_BYTES)),
        runtime_handler: String::new(),
    };
    // The client of the tests has the same limit, so this one is sent by hand.
    let outcome = runtime.client.unary(
        "/runtime.v1.RuntimeService/RunPodSandbox",
        request.encode_to_vec().into(),
        None,
    );
    assert!(outcome.await.is_err());
    // Two pods of which each would pass make a list that doesn't.
    runtime.try_run_pod(with_note("second", MAX_MESSAGE_BYTES - 1024)).await.unwrap();
    let list =
        runtime.runtime::<v1::ListPodSandboxResponse>("ListPodSandbox", v1::ListPodSandboxRequest::default());
    let status = list.await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("trying to send message larger than max"));
}

#[tokio::test]
async fn many_clients_share_the_state() {
    let runtime = Runtime::start().await;
    let endpoint = runtime.socket().to_str().unwrap().parse().unwrap();
    let mut clients = Vec::new();
    for number in 0..20 {
        let client = Client::connect(&endpoint).await.unwrap();
        clients.push(tokio::spawn(async move {
            let request = v1::RunPodSandboxRequest {
                config: Some(pod(&format!("pod-{number}"))),
                runtime_handler: String::new(),
            };
            client
                .unary("/runtime.v1.RuntimeService/RunPodSandbox", request.encode_to_vec().into(), None)
                .await
        }));
    }
    for client in clients {
        client.await.unwrap().unwrap();
    }
    let list: v1::ListPodSandboxResponse =
        runtime.runtime("ListPodSandbox", v1::ListPodSandboxRequest::default()).await.unwrap();
    assert_eq!(list.items.len(), 20);
}

#[tokio::test]
async fn the_shutdown_ends_calls_and_keeps_the_state() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &["sleep", "infinity"]).await;
    let simulator = runtime.simulator.clone();
    let waiting = {
        let client = runtime.client.clone();
        let cmd = vec!["sleep".to_owned(), "1000".to_owned()];
        let request = v1::ExecSyncRequest { container_id: id.clone(), cmd, timeout: 0 };
        let before = simulator.calls();
        let task = tokio::spawn(async move {
            client.unary("/runtime.v1.RuntimeService/ExecSync", request.encode_to_vec().into(), None).await
        });
        runtime.until(async || (simulator.calls() > before).then_some(())).await;
        task
    };
    runtime.stop().await;
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::Unavailable);

    let again = Runtime::serve(simulator).await;
    assert_eq!(again.container_status(&id).await.unwrap().state(), v1::ContainerState::ContainerRunning);
}

#[tokio::test]
async fn a_socket_that_does_not_listen_is_not_served() {
    // Readable at once, as the other end is gone.
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let listener = tokio::net::UnixListener::from_std(socket).unwrap();
    let served = serve(Simulator::new(Config::default()), listener, std::future::pending());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), served).await;
    assert!(matches!(ended, Ok(Err(ServeError::Accept(_)))), "{ended:?}");
}
