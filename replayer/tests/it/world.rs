//! Simulators, recorders and a small client for the tests.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use cri::endpoint::Endpoints;
use cri::{Endpoint, Generation, methods, v1};
use critape_calls::{Live, Recorded};
use critape_differ::{Report, Rules};
use critape_recorder::Recorder;
use critape_replayer::{Config, Pace, Progress, Recording, Replay, ReplayError, compare_tapes};
use critape_simulator::{Regression, Simulator, serve};
use critape_tape::Tape;
use prost::Message;
use tokio::sync::oneshot;

use crate::early::{self, Alter, Early, Front};

/// Nothing takes this long unless it is broken.
const LONG: Duration = Duration::from_secs(30);

/// A simulator on a socket, on a thread of its own.
pub struct World {
    folder: tempfile::TempDir,
    /// End it when dropped. It is not waited for: its clients are on the thread that would wait.
    stops: Vec<oneshot::Sender<()>>,
    simulator: Simulator,
    /// Where its clients find it.
    socket: &'static str,
}

impl World {
    pub fn new(regressions: &[&str]) -> Self {
        Self::of(regressions, critape_simulator::Config::default())
    }

    /// One that says it is this release of a runtime.
    pub fn named(regressions: &[&str], name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        Self::of(regressions, critape_simulator::Config { name, version, ..Default::default() })
    }

    /// One that answers this before it has done it.
    pub fn early(early: Early) -> Self {
        Self::behind(Front::Early(early))
    }

    /// One whose answers are changed.
    pub fn altered(alter: Alter) -> Self {
        Self::behind(Front::Alter(alter))
    }

    /// One that answers the first of these RPCs once it has answered the second.
    pub fn late(rpc: &'static str, until: &'static str) -> Self {
        Self::behind(Front::Late(rpc, until))
    }

    fn behind(front: Front) -> Self {
        let mut world = Self::new(&[]);
        let behind = world.endpoint(world.socket);
        world.socket = "front.sock";
        let listener = listener(&world.folder.path().join(world.socket));
        let (stop, stopped) = oneshot::channel::<()>();
        world.stops.push(stop);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = early::serve(listener, behind, front) => {}
                    _ = stopped => {}
                }
            });
        });
        world
    }

    fn of(regressions: &[&str], config: critape_simulator::Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let regressions = regressions.iter().map(|name| Regression::by_name(name).unwrap()).collect();
        let (stop, stopped) = oneshot::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let socket = "runtime.sock";
        let listener = listener(&folder.path().join(socket));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let simulator = Simulator::new(critape_simulator::Config { regressions, ..config });
                begun.send(simulator.clone()).unwrap();
                serve(simulator, listener, async { drop(stopped.await) }).await.unwrap();
            });
        });
        Self { folder, stops: vec![stop], simulator: has_begun.recv_timeout(LONG).unwrap(), socket }
    }

    /// Calls that it has served.
    pub fn calls(&self) -> u64 {
        self.simulator.calls()
    }

    pub fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint::at(self.folder.path().join(name)).unwrap()
    }

    pub async fn client(&self) -> Client {
        Client(cri::client::Client::connect(&self.endpoint(self.socket)).await.unwrap())
    }

    pub async fn replay(
        &self,
        tape: &OneTape,
        change: impl Fn(Config) -> Config,
    ) -> Result<Report, ReplayError> {
        self.replay_until(tape, change, std::future::pending()).await
    }

    /// As fast as it goes, and says how far it has come.
    pub async fn replay_with(
        &self,
        tape: &OneTape,
        on_progress: impl Fn(Progress) + 'static,
    ) -> Result<Report, ReplayError> {
        let endpoints = Endpoints::both_at(self.endpoint("runtime.sock"));
        let config = Config { pace: Pace::Max, ..Config::new(endpoints) };
        let replay = Replay::of(&tape.open(), config).unwrap();
        tokio::time::timeout(LONG, replay.run(std::future::pending(), |_| {}, on_progress)).await.unwrap()
    }

    pub async fn replay_until(
        &self,
        tape: &OneTape,
        change: impl Fn(Config) -> Config,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Report, ReplayError> {
        let config = change(Config::new(Endpoints::both_at(self.endpoint(self.socket))));
        Replay::of(&tape.open(), config).unwrap().run(shutdown, |_| {}, |_| {}).await
    }
}

/// For a runtime of tokio that is yet to be made.
fn listener(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A tape in a folder of its own.
pub struct OneTape {
    folder: tempfile::TempDir,
}

impl OneTape {
    pub fn open(&self) -> Tape {
        Tape::open(&self.folder.path().join("tape")).unwrap()
    }

    /// Takes the tape's key away.
    pub fn lose_key(&self) {
        std::fs::remove_file(self.folder.path().join("tape/key")).unwrap();
    }

    pub fn diff(&self, other: &Self) -> Report {
        let (one, two) = (Recording::read(&self.open()).unwrap(), Recording::read(&other.open()).unwrap());
        compare_tapes(Recorded(&one), Live(&two), &Rules::standard(), 0.01)
    }
}

/// Records what `workload` does on `world`.
pub async fn recorded(world: &World, workload: impl AsyncFnOnce(&Client)) -> OneTape {
    recorded_at(world.endpoint(world.socket), workload).await
}

/// The same, on what listens at `upstream`.
pub async fn recorded_at(upstream: Endpoint, workload: impl AsyncFnOnce(&Client)) -> OneTape {
    let folder = tempfile::tempdir().unwrap();
    let listen = Endpoint::at(folder.path().join("critape.sock")).unwrap();
    let usual = critape_recorder::Config::new(upstream, listen.clone(), folder.path().join("tape"));
    let config = critape_recorder::Config { ask_opening: false, ..usual };
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let recorder = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let recorder = Recorder::bind(config).await.unwrap();
            ready.send(()).unwrap();
            recorder.run(async { drop(stopped.await) }).await.unwrap();
        });
    });
    is_ready.recv_timeout(LONG).unwrap();
    let client = Client(cri::client::Client::connect(&listen).await.unwrap());
    workload(&client).await;
    drop(client);
    drop(stop);
    recorder.join().unwrap();
    OneTape { folder }
}

/// A client that speaks in terms of the tests. Errors are answers too.
pub struct Client(cri::client::Client);

impl Client {
    pub async fn call<M: Message + Default>(&self, rpc: &str, request: impl Message) -> Option<M> {
        let path = &methods().by_name(Generation::V1, rpc).unwrap().path;
        let reply = self.0.unary(path, request.encode_to_vec().into(), Some(LONG)).await.ok()?;
        Some(M::decode(reply.message).unwrap())
    }

    pub async fn version_in(&self, package: &str) {
        let path = format!("/{package}.RuntimeService/Version");
        // Not to be served is an answer too.
        let _ = self.0.unary(&path, Bytes::new(), Some(LONG)).await;
    }

    pub async fn pull(&self, image: &str) {
        let request = v1::PullImageRequest { image: Some(spec(image)), ..Default::default() };
        self.call::<v1::PullImageResponse>("PullImage", request).await;
    }

    pub async fn remove_image(&self, image: &str) {
        self.call::<v1::RemoveImageResponse>(
            "RemoveImage",
            v1::RemoveImageRequest { image: Some(spec(image)) },
        )
        .await;
    }

    pub async fn images(&self) -> Vec<String> {
        let list: v1::ListImagesResponse =
            self.call("ListImages", v1::ListImagesRequest::default()).await.unwrap();
        list.images.into_iter().flat_map(|image| image.repo_tags).collect()
    }

    pub async fn run(&self, request: v1::RunPodSandboxRequest) -> String {
        self.call::<v1::RunPodSandboxResponse>("RunPodSandbox", request).await.unwrap().pod_sandbox_id
    }

    pub async fn create(&self, sandbox: &str, mut request: v1::CreateContainerRequest) -> String {
        request.pod_sandbox_id = sandbox.to_owned();
        self.call::<v1::CreateContainerResponse>("CreateContainer", request).await.unwrap().container_id
    }

    pub async fn start(&self, container: &str) {
        let request = v1::StartContainerRequest { container_id: container.to_owned() };
        self.call::<v1::StartContainerResponse>("StartContainer", request).await.unwrap();
    }

    pub async fn container_status(&self, container: &str) -> Option<v1::ContainerStatus> {
        let request = v1::ContainerStatusRequest { container_id: container.to_owned(), verbose: false };
        self.call::<v1::ContainerStatusResponse>("ContainerStatus", request).await?.status
    }

    pub async fn sandbox_status(&self, sandbox: &str) {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.to_owned(), verbose: false };
        self.call::<v1::PodSandboxStatusResponse>("PodSandboxStatus", request).await;
    }

    pub async fn until_exited(&self, container: &str) {
        let exited = async {
            while self.container_status(container).await.unwrap().state()
                != v1::ContainerState::ContainerExited
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, exited).await.unwrap();
    }

    pub async fn containers(&self) -> Vec<String> {
        let list: v1::ListContainersResponse =
            self.call("ListContainers", v1::ListContainersRequest::default()).await.unwrap();
        list.containers.into_iter().map(|container| container.id).collect()
    }

    pub async fn list_containers(&self, sandbox: Option<&str>) {
        let filter =
            sandbox.map(|id| v1::ContainerFilter { pod_sandbox_id: id.to_owned(), ..Default::default() });
        self.call::<v1::ListContainersResponse>("ListContainers", v1::ListContainersRequest { filter }).await;
    }

    pub async fn list_sandboxes_labelled(&self, label: &str, value: &str) {
        let filter = v1::PodSandboxFilter {
            label_selector: [(label.to_owned(), value.to_owned())].into(),
            ..Default::default()
        };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        let list: v1::ListPodSandboxResponse = self.call("ListPodSandbox", request).await.unwrap();
        assert_eq!(list.items.len(), 1);
    }

    pub async fn sandboxes(&self) -> Vec<String> {
        let list: v1::ListPodSandboxResponse =
            self.call("ListPodSandbox", v1::ListPodSandboxRequest::default()).await.unwrap();
        list.items.into_iter().map(|sandbox| sandbox.id).collect()
    }

    pub async fn exec(&self, container: &str, script: &str) {
        let request = v1::ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: 10,
        };
        self.call::<v1::ExecSyncResponse>("ExecSync", request).await;
    }

    /// With neither a timeout nor a deadline.
    pub async fn exec_patiently(&self, container: &str, script: &str) {
        let request = v1::ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: 0,
        };
        let path = &methods().by_name(Generation::V1, "ExecSync").unwrap().path;
        self.0.unary(path, request.encode_to_vec().into(), None).await.unwrap();
    }

    pub async fn remove_container(&self, container: &str) {
        let request = v1::RemoveContainerRequest { container_id: container.to_owned() };
        self.call::<v1::RemoveContainerResponse>("RemoveContainer", request).await.unwrap();
    }

    pub async fn status(&self) {
        self.call::<v1::StatusResponse>("Status", v1::StatusRequest::default()).await.unwrap();
    }

    pub async fn stop_container(&self, container: &str) {
        let request = v1::StopContainerRequest { container_id: container.to_owned(), timeout: 0 };
        self.call::<v1::StopContainerResponse>("StopContainer", request).await;
    }

    pub async fn stop_pod(&self, sandbox: &str) {
        let stop = v1::StopPodSandboxRequest { pod_sandbox_id: sandbox.to_owned() };
        self.call::<v1::StopPodSandboxResponse>("StopPodSandbox", stop).await;
    }

    pub async fn remove_pod(&self, sandbox: &str) {
        self.stop_pod(sandbox).await;
        let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.to_owned() };
        self.call::<v1::RemovePodSandboxResponse>("RemovePodSandbox", remove).await;
    }

    /// Listens to events until [`Self::quiet`].
    pub async fn watch(&self) -> tonic::Streaming<Bytes> {
        let path = &methods().by_name(Generation::V1, "GetContainerEvents").unwrap().path;
        self.0.stream(path, Bytes::new(), None).await.unwrap()
    }

    /// Reads events up to the next one of this kind about this container.
    pub async fn until_event(
        &self,
        events: &mut tonic::Streaming<Bytes>,
        container: &str,
        kind: v1::ContainerEventType,
    ) {
        let comes = async {
            loop {
                let event =
                    v1::ContainerEventResponse::decode(events.message().await.unwrap().unwrap()).unwrap();
                if event.container_id == container && event.container_event_type() == kind {
                    return;
                }
            }
        };
        tokio::time::timeout(LONG, comes).await.unwrap();
    }

    /// Reads the events of a whole life of a pod with one container: three for the pod, four for the container.
    pub async fn quiet(&self, mut events: tonic::Streaming<Bytes>) {
        let all = async {
            let mut deleted = 0;
            while deleted < 2 {
                let event =
                    v1::ContainerEventResponse::decode(events.message().await.unwrap().unwrap()).unwrap();
                if event.container_event_type() == v1::ContainerEventType::ContainerDeletedEvent {
                    deleted += 1;
                }
            }
        };
        tokio::time::timeout(LONG, all).await.unwrap();
    }
}

pub fn spec(image: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: image.to_owned(), ..Default::default() }
}

pub fn config(name: &str, uid: &str) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: uid.to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        hostname: name.to_owned(),
        ..Default::default()
    }
}

pub fn pod(name: &str) -> v1::RunPodSandboxRequest {
    v1::RunPodSandboxRequest { config: Some(config(name, &format!("uid-of-{name}"))), ..Default::default() }
}

/// A container of `registry.example/app:1` that runs a script; the sandbox is filled in later.
pub fn container_request(name: &str, script: &str) -> v1::CreateContainerRequest {
    let container = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(spec("registry.example/app:1")),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    v1::CreateContainerRequest {
        config: Some(container),
        sandbox_config: Some(config("web", "uid-of-web")),
        ..Default::default()
    }
}
