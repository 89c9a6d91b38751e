//! The whole way, from a client on a port to the simulated runtime and back.

use std::os::unix::net::UnixListener as Binding;
use std::path::PathBuf;

use axum::Router;
use cri::Endpoint;
use cri::endpoint::Endpoints;
use critape_gateway::{Auth, Config, router};
use critape_simulator::Simulator;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::http::{get, post};

const RUNTIME: &str = "/runtime.v1.RuntimeService";
const IMAGES: &str = "/runtime.v1.ImageService";

/// A gateway to a simulator on a socket in this folder. Both live as long as the test.
fn gateway(folder: &tempfile::TempDir) -> Router {
    let path: PathBuf = folder.path().join("sim.sock");
    let listener = Binding::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let simulator = Simulator::new(critape_simulator::Config::default());
    tokio::spawn(critape_simulator::serve(simulator, listener, std::future::pending()));
    let endpoint = Endpoint::at(path).unwrap();
    let endpoints = Endpoints { runtime: endpoint.clone(), image: endpoint };
    router(&Config::new(endpoints, Auth::UnixSocket))
}

async fn call(gateway: &Router, rpc: &str, request: Value) -> Value {
    let answer = post(gateway, rpc, request.to_string()).await;
    assert_eq!(answer.status, 200, "{rpc}: {:?}", answer.body);
    answer.json()
}

async fn read(gateway: &Router, path: &str) -> Value {
    let answer = get(gateway, path).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    answer.json()
}

#[tokio::test]
async fn a_pod_from_its_creation_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&folder);
    assert_eq!(read(&gateway, "/cri/v1/version").await["runtimeApiVersion"], "v1");
    let conditions = &read(&gateway, "/cri/v1/status?verbose=true").await["status"]["conditions"];
    assert_eq!(conditions[0]["type"], "RuntimeReady");

    let image = json!({"image": "localhost:5000/busybox:1.0"});
    call(&gateway, &format!("{IMAGES}/PullImage"), json!({"image": image})).await;
    let status = read(&gateway, "/cri/v1/images/localhost:5000%2Fbusybox:1.0").await;
    assert_eq!(status["image"]["repoTags"], json!(["localhost:5000/busybox:1.0"]));
    assert_eq!(get(&gateway, "/cri/v1/images/localhost:5000%2Fnone:1").await.status, 404);

    let sandbox = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u-1"},
        "labels": {"app": "web"},
        "linux": {},
    });
    let made = call(&gateway, &format!("{RUNTIME}/RunPodSandbox"), json!({"config": sandbox})).await;
    let pod = made["podSandboxId"].as_str().unwrap();
    let config = json!({
        "metadata": {"name": "main"},
        "image": image,
        "command": ["sleep", "100"],
        "envs": [{"key": "A", "value": "b"}],
        "linux": {},
    });
    let request = json!({"podSandboxId": pod, "config": config, "sandboxConfig": sandbox});
    let made = call(&gateway, &format!("{RUNTIME}/CreateContainer"), request).await;
    let container = made["containerId"].as_str().unwrap();
    call(&gateway, &format!("{RUNTIME}/StartContainer"), json!({"containerId": container})).await;

    let pods = read(&gateway, "/cri/v1/pods?labelSelector=app%3Dweb&state=ready").await;
    assert_eq!(pods["items"][0]["id"], pod);
    assert_eq!(read(&gateway, "/cri/v1/pods?labelSelector=app%3Dother").await, json!({"items": []}));
    let running = read(&gateway, &format!("/cri/v1/containers?pod={pod}&state=running")).await;
    assert_eq!(running["containers"][0]["id"], container);
    assert_eq!(read(&gateway, "/cri/v1/containers?state=exited").await, json!({"containers": []}));
    let status = read(&gateway, &format!("/cri/v1/containers/{}", &container[..12])).await;
    assert_eq!(status["status"]["state"], "CONTAINER_RUNNING");
    assert!(status["status"]["startedAt"].as_str().unwrap().parse::<i64>().unwrap() > 0);

    call(&gateway, &format!("{RUNTIME}/StopPodSandbox"), json!({"podSandboxId": pod})).await;
    call(&gateway, &format!("{RUNTIME}/RemovePodSandbox"), json!({"podSandboxId": pod})).await;
    let gone = get(&gateway, &format!("/cri/v1/pods/{pod}")).await;
    assert_eq!(gone.status, 404);
    let problem = gone.problem();
    assert_eq!(problem["grpc"]["status"], "NOT_FOUND");
    assert_eq!(problem["rpc"], format!("{RUNTIME}/PodSandboxStatus"));
}
