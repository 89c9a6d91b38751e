//! The life of a pod of our own, from its making to asking for it when it is gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cri::{methods, v1};
use critape_differ::{CHECK_POD, EventStream, OWNED_LABEL};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Check;
use super::noted::Noted;
use crate::replay::ReplayError;
use crate::sending::answer;

/// How long a stream of events may take to be open.
const OPENING: Duration = Duration::from_millis(500);
/// How long the last events may take.
const EVENTS_GRACE: Duration = Duration::from_secs(3);
/// Between two looks whether a container has come to its state.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is looked at.
const LOOKS: usize = 40;
const STOP_SECONDS: i64 = 1;

impl Check {
    /// Makes a pod, looks at it all the way, and removes it.
    pub(super) async fn make_and_remove(
        &mut self,
        image: Option<&str>,
        run: &str,
    ) -> Result<(), ReplayError> {
        let folder =
            tempfile::Builder::new().prefix("critape-check-").tempdir().map_err(ReplayError::Scratch)?;
        let files = folder.path().join("files");
        std::fs::create_dir(&files).map_err(ReplayError::Scratch)?;
        let events = self.listen().await;
        let from = self.clock.now();
        let config = pod(run, folder.path());
        let request = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
        let made: Option<v1::RunPodSandboxResponse> = self.ask("RunPodSandbox", &request).await;
        let Some(pod_id) = made.map(|made| made.pod_sandbox_id) else {
            self.leave_out("what takes a pod: it could not be made".to_owned());
            return Ok(());
        };
        self.made.insert(pod_id.clone());
        self.look_at_pod(&pod_id).await;
        self.list().await;
        match self.image(image).await {
            Some(image) => self.container(&pod_id, config, image, &files).await,
            None => {
                self.leave_out("what takes a container: no image is there; name one with --image".to_owned());
            }
        }
        self.end_pod(&pod_id).await;
        self.hear(events, from).await;
        self.leave_out("dns: no status tells it".to_owned());
        Ok(())
    }

    /// The image to use: the one that was named, else one with a name that is there.
    async fn image(&mut self, named: Option<&str>) -> Option<v1::ImageSpec> {
        let spec = |image: &str| v1::ImageSpec {
            image: image.to_owned(),
            user_specified_image: image.to_owned(),
            ..Default::default()
        };
        if let Some(named) = named {
            let request = v1::ImageStatusRequest { image: Some(spec(named)), verbose: false };
            let there: Option<v1::ImageStatusResponse> = self.ask("ImageStatus", &request).await;
            if there.is_some_and(|answer| answer.image.is_some()) {
                return Some(spec(named));
            }
            // Its answer may name it in another way, and may never come.
            self.pulled.insert(named.to_owned());
            let pull = v1::PullImageRequest { image: Some(spec(named)), ..Default::default() };
            let pulled: Option<v1::PullImageResponse> = self.ask("PullImage", &pull).await;
            let _: Option<v1::ImageStatusResponse> = self.ask("ImageStatus", &request).await;
            return pulled.map(|_| spec(named));
        }
        let list: Option<v1::ListImagesResponse> =
            self.ask("ListImages", &v1::ListImagesRequest::default()).await;
        // That of sandboxes runs nothing else.
        let usable =
            |image: &&v1::Image| !image.pinned && image.repo_tags.iter().all(|tag| !tag.contains("pause"));
        let images = list.unwrap_or_default().images;
        images.iter().filter(usable).find_map(|image| image.repo_tags.first()).map(|tag| spec(tag))
    }

    async fn container(
        &mut self,
        pod_id: &str,
        pod: v1::PodSandboxConfig,
        image: v1::ImageSpec,
        files: &Path,
    ) {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod_id.to_owned(),
            config: Some(container(image, files)),
            sandbox_config: Some(pod),
        };
        let made: Option<v1::CreateContainerResponse> = self.ask("CreateContainer", &request).await;
        let Some(id) = made.map(|made| made.container_id) else {
            self.leave_out("what takes a container: it could not be made of that image".to_owned());
            return;
        };
        self.look_at_container(&id).await;
        self.list().await;
        let start = v1::StartContainerRequest { container_id: id.clone() };
        let started: Option<v1::StartContainerResponse> = self.ask("StartContainer", &start).await;
        if started.is_none() {
            self.leave_out("a container that runs: that image has no `sleep`".to_owned());
        }
        self.look_at_container(&id).await;
        self.list().await;
        self.pick_out(pod_id, &id).await;
        let stop = v1::StopContainerRequest { container_id: id.clone(), timeout: STOP_SECONDS };
        for _ in 0..2 {
            let _: Option<v1::StopContainerResponse> = self.ask("StopContainer", &stop).await;
        }
        self.exited(&id).await;
        self.list().await;
        let remove = v1::RemoveContainerRequest { container_id: id.clone() };
        for _ in 0..2 {
            let _: Option<v1::RemoveContainerResponse> = self.ask("RemoveContainer", &remove).await;
        }
        let _: Option<v1::StopContainerResponse> = self.ask("StopContainer", &stop).await;
        self.look_at_container(&id).await;
    }

    async fn exited(&mut self, id: &str) {
        for _ in 0..LOOKS {
            let status = self.look_at_container(id).await;
            if status.is_none_or(|status| status.state() != v1::ContainerState::ContainerRunning) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn end_pod(&mut self, id: &str) {
        let stop = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        for _ in 0..2 {
            let _: Option<v1::StopPodSandboxResponse> = self.ask("StopPodSandbox", &stop).await;
        }
        self.look_at_pod(id).await;
        self.list().await;
        for _ in 0..2 {
            let _: Option<v1::RemovePodSandboxResponse> = self.ask("RemovePodSandbox", &remove).await;
        }
        let _: Option<v1::StopPodSandboxResponse> = self.ask("StopPodSandbox", &stop).await;
        self.look_at_pod(id).await;
    }

    /// Follows the events from now on.
    async fn listen(&mut self) -> Option<Listening> {
        if self.must_not_listen {
            self.leave_out(
                "events: others may listen to them, and each goes to one listener alone".to_owned(),
            );
            return None;
        }
        let path = methods().by_name(self.generation, "GetContainerEvents")?.path.clone();
        let client = self.client.for_path(&path).clone();
        let (sender, events) = mpsc::unbounded_channel();
        let (is_open, opened) = oneshot::channel();
        let task = tokio::spawn(async move {
            let Ok(mut stream) = client.stream(&path, Bytes::new(), None).await else { return };
            // Nobody waits for it any more where it took too long.
            let _ = is_open.send(());
            while let Ok(Some(message)) = stream.message().await {
                let Ok(event) = v1::ContainerEventResponse::decode(message) else { continue };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        // Some runtimes say nothing, not even that the stream is open, before the first event.
        let _ = timeout(OPENING, opened).await;
        Some(Listening { task, events })
    }

    /// Takes what events have come, once those of the pod's end have had their time.
    async fn hear(&mut self, listening: Option<Listening>, from: Duration) {
        let until = self.clock.now();
        let Some(mut listening) = listening else { return };
        let mut events = Vec::new();
        let _ = timeout(EVENTS_GRACE, async {
            while let Some(event) = listening.events.recv().await {
                events.push(event);
            }
        })
        .await;
        let ended = listening.task.is_finished();
        listening.task.abort();
        if ended {
            self.leave_out("events: the runtime ends their stream, so it serves none".to_owned());
            return;
        }
        let Some(method) = methods().by_name(self.generation, "GetContainerEvents") else { return };
        self.calls += 1;
        let answers: Vec<Bytes> = events.iter().map(|event| event.encode_to_vec().into()).collect();
        // It was broken off here.
        let outcome = answer::cancelled();
        let noted =
            Noted::new(self.calls, &method.path, &Bytes::new(), answers, &outcome, (from, self.clock.now()));
        self.witness.events(&noted, &method.path, &EventStream { events, arrived: Vec::new(), from, until });
        self.past.add_with_names(noted.call());
    }
}

/// A stream of events that is followed.
struct Listening {
    task: JoinHandle<()>,
    events: mpsc::UnboundedReceiver<v1::ContainerEventResponse>,
}

fn pod(run: &str, folder: &Path) -> v1::PodSandboxConfig {
    let options = v1::NamespaceOption {
        network: v1::NamespaceMode::Pod as i32,
        pid: v1::NamespaceMode::Container as i32,
        ..Default::default()
    };
    let security = v1::LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
    let [namespace, name] = CHECK_POD;
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: format!("critape-check-{run}"),
            attempt: 0,
        }),
        hostname: name.to_owned(),
        log_directory: folder.join("logs").display().to_string(),
        labels: BTreeMap::from([
            (OWNED_LABEL.to_owned(), run.to_owned()),
            ("app".to_owned(), "check".to_owned()),
        ]),
        annotations: BTreeMap::from([("io.critape.check/note".to_owned(), "ünïcode\n".to_owned())]),
        linux: Some(v1::LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() }),
        ..Default::default()
    }
}

fn container(image: v1::ImageSpec, files: &Path) -> v1::ContainerConfig {
    let resources = v1::LinuxContainerResources {
        cpu_shares: 128,
        memory_limit_in_bytes: 64 << 20,
        ..Default::default()
    };
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "check".to_owned(), attempt: 0 }),
        image: Some(image),
        command: ["sleep", "600"].map(str::to_owned).to_vec(),
        labels: BTreeMap::from([("app".to_owned(), "check".to_owned())]),
        annotations: BTreeMap::from([("io.critape.check/note".to_owned(), "ünïcode\n".to_owned())]),
        mounts: vec![v1::Mount {
            container_path: "/critape-check".to_owned(),
            host_path: files.display().to_string(),
            readonly: true,
            ..Default::default()
        }],
        log_path: "check.log".to_owned(),
        linux: Some(v1::LinuxContainerConfig { resources: Some(resources), ..Default::default() }),
        ..Default::default()
    }
}
