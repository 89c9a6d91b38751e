//! A simulator on a socket of its own, and calls to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cri::client::Client;
use cri::v1;
use critape_simulator::{Config, Regression, ServeError, Simulator, serve};
use prost::Message;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

/// The image that every test's containers run.
pub const IMAGE: &str = "busybox:1.36";

/// Nothing here takes longer, however loaded the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A simulator that is being served. Dropping it closes its socket.
pub struct Runtime {
    pub simulator: Simulator,
    pub client: Client,
    pub directory: TempDir,
    shutdown: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Runtime {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with_regression(name: &str) -> Self {
        let regressions = vec![Regression::by_name(name).unwrap()];
        Self::with(Config { regressions, ..Config::default() }).await
    }

    pub async fn with(config: Config) -> Self {
        Self::serve(Simulator::new(config)).await
    }

    pub async fn serve(simulator: Simulator) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("cri.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (shutdown, closed) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(simulator.clone(), listener, async {
            let _ = closed.await;
        }));
        let client = Client::connect(&socket.to_str().unwrap().parse().unwrap()).await.unwrap();
        Self { simulator, client, directory, shutdown: Some(shutdown), server: Some(server) }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("cri.sock")
    }

    /// Closes the server and waits until it has ended.
    pub async fn stop(mut self) {
        self.begin_stop();
        let ended = tokio::time::timeout(PATIENCE, self.server.take().unwrap()).await;
        ended.expect("the server ends").unwrap().unwrap();
    }

    pub fn begin_stop(&mut self) {
        let _ = self.shutdown.take().map(|shutdown| shutdown.send(()));
    }

    pub async fn call<A: Message + Default>(&self, path: &str, request: impl Message) -> Result<A, Status> {
        let reply = self.client.unary(path, request.encode_to_vec().into(), Some(PATIENCE)).await?;
        Ok(A::decode(reply.message).unwrap())
    }

    pub async fn runtime<A: Message + Default>(
        &self,
        method: &str,
        request: impl Message,
    ) -> Result<A, Status> {
        self.call(&format!("/runtime.v1.RuntimeService/{method}"), request).await
    }

    pub async fn image<A: Message + Default>(
        &self,
        method: &str,
        request: impl Message,
    ) -> Result<A, Status> {
        self.call(&format!("/runtime.v1.ImageService/{method}"), request).await
    }

    pub async fn pull(&self, image: &str) -> Result<String, Status> {
        let request = v1::PullImageRequest { image: Some(image_spec(image)), ..Default::default() };
        let response: v1::PullImageResponse = self.image("PullImage", request).await?;
        Ok(response.image_ref)
    }

    pub async fn run_pod(&self, name: &str) -> String {
        self.try_run_pod(pod(name)).await.unwrap()
    }

    pub async fn try_run_pod(&self, config: v1::PodSandboxConfig) -> Result<String, Status> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        let response: v1::RunPodSandboxResponse = self.runtime("RunPodSandbox", request).await?;
        Ok(response.pod_sandbox_id)
    }

    pub async fn stop_pod(&self, id: &str) -> Result<(), Status> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.runtime::<v1::StopPodSandboxResponse>("StopPodSandbox", request).await.map(|_| ())
    }

    pub async fn remove_pod(&self, id: &str) -> Result<(), Status> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.runtime::<v1::RemovePodSandboxResponse>("RemovePodSandbox", request).await.map(|_| ())
    }

    pub async fn pod_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Status> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let response: v1::PodSandboxStatusResponse = self.runtime("PodSandboxStatus", request).await?;
        Ok(response.status.unwrap())
    }

    /// Creates a container in the pod that [`Self::run_pod`] made under this name; pulls its image first.
    pub async fn create(
        &self,
        pod_id: &str,
        pod_name: &str,
        config: v1::ContainerConfig,
    ) -> Result<String, Status> {
        self.pull(IMAGE).await?;
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod_id.to_owned(),
            config: Some(config),
            sandbox_config: Some(pod(pod_name)),
        };
        let response: v1::CreateContainerResponse = self.runtime("CreateContainer", request).await?;
        Ok(response.container_id)
    }

    pub async fn start_container(&self, id: &str) -> Result<(), Status> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        self.runtime::<v1::StartContainerResponse>("StartContainer", request).await.map(|_| ())
    }

    pub async fn stop_container(&self, id: &str, timeout: i64) -> Result<(), Status> {
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout };
        self.runtime::<v1::StopContainerResponse>("StopContainer", request).await.map(|_| ())
    }

    pub async fn remove_container(&self, id: &str) -> Result<(), Status> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        self.runtime::<v1::RemoveContainerResponse>("RemoveContainer", request).await.map(|_| ())
    }

    pub async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Status> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let response: v1::ContainerStatusResponse = self.runtime("ContainerStatus", request).await?;
        Ok(response.status.unwrap())
    }

    /// A running container with this command in a pod of its own.
    pub async fn running(&self, name: &str, command: &[&str]) -> String {
        let pod = self.run_pod(name).await;
        let id = self.create(&pod, name, container(name, command)).await.unwrap();
        self.start_container(&id).await.unwrap();
        id
    }

    /// The status of a container, once it has exited.
    pub async fn exited(&self, id: &str) -> v1::ContainerStatus {
        self.until(async || {
            let status = self.container_status(id).await.unwrap();
            (status.state() == v1::ContainerState::ContainerExited).then_some(status)
        })
        .await
    }

    /// Asks again and again until there is an answer.
    pub async fn until<T>(&self, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let answer = async {
            loop {
                if let Some(answer) = ask().await {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("what the test waits for happens")
    }
}

pub fn image_spec(image: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: image.to_owned(), ..Default::default() }
}

/// A pod's configuration; its uid follows from its name.
pub fn pod(name: &str) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        labels: labels(&[("app", name)]),
        annotations: labels(&[("note", "kept as it is")]),
        ..Default::default()
    }
}

pub fn container(name: &str, command: &[&str]) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(image_spec(IMAGE)),
        command: command.iter().map(ToString::to_string).collect(),
        labels: labels(&[("app", name)]),
        annotations: labels(&[("restarts", "0")]),
        ..Default::default()
    }
}

pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
pub fn assert_fails<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, text: &str) {
    let status = outcome.expect_err("the call fails");
    assert_eq!((status.code(), status.message()), (code, text));
}
