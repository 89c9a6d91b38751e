//! One container.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cri::v1;
use prost::Message;
use tokio::sync::watch;

use crate::element::Element;
use crate::images::{Image, Images};
use crate::process::{
    Cgroup, ContainerLog, Environment, Fate, Files, KILL, MissingBinary, Namespace, Process, Program,
    stop_signal_number,
};
use crate::sandbox::{Sandbox, has_labels};
use crate::spec::Spec;
use crate::usage::Usage;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The number of `state` in [`v1::Container`].
const STATE: u32 = 6;

/// A container and how it fares.
#[derive(Debug)]
pub(crate) struct Container {
    origin: Origin,
    /// This and the next are of its origin alone, which can't be changed.
    element: Element,
    attributes: Vec<u8>,
    pub phase: Phase,
    pub resources: v1::LinuxContainerResources,
    pub usage: Usage,
    pub log: Option<Arc<ContainerLog>>,
    pub spec: Spec,
    files: Arc<Files>,
    pub cgroup: Arc<Cgroup>,
    /// Commands that run in it beside its first process.
    execs: Arc<AtomicUsize>,
    user: v1::LinuxContainerUser,
    /// True once it has exited: what `StopContainer` and running execs wait for.
    exited: watch::Sender<bool>,
    /// A second `StopContainer` waits for the first one's signal and sends none of its own.
    signalled: bool,
}

/// What a container is from beginning to end. A [`Container`] lets it be read as its own fields, and not be written.
#[derive(Debug)]
pub(crate) struct Origin {
    pub id: String,
    pub sandbox_id: String,
    /// Reserved while the container is there.
    pub name: String,
    pub config: v1::ContainerConfig,
    /// Its log directory and what else a container takes from its pod.
    pub sandbox_config: v1::PodSandboxConfig,
    pub image_id: String,
    /// Nanoseconds since the epoch, as all times here.
    pub created_at: i64,
}

impl Deref for Container {
    type Target = Origin;

    fn deref(&self) -> &Origin {
        &self.origin
    }
}

/// Where in its life a container is.
#[derive(Debug)]
pub(crate) enum Phase {
    Created,
    Running { started_at: i64, process: Process },
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// 0 if it never started.
    pub started_at: i64,
    pub finished_at: i64,
    pub code: i32,
    pub reason: &'static str,
    pub message: String,
}

/// Whether a container's memory sufficed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Sufficed,
    RanOut,
}

/// A command that runs in a container beside its first process. Dropping it says that the command has ended.
#[derive(Debug)]
pub(crate) struct Exec {
    running: Arc<AtomicUsize>,
    /// Whether another ran when it began.
    pub is_one_of_several: bool,
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exit {
    fn after_running(started_at: i64, finished_at: i64, code: i32, memory: Memory) -> Self {
        let reason = match (memory, code) {
            (Memory::RanOut, _) => "OOMKilled",
            (Memory::Sufficed, 0) => "Completed",
            (Memory::Sufficed, _) => "Error",
        };
        Self { started_at, finished_at, code, reason, message: String::new() }
    }

    /// It could not be started.
    pub(crate) fn of_failed_start(now: i64, message: &str) -> Self {
        Self { started_at: 0, finished_at: now, code: 128, reason: "StartError", message: message.to_owned() }
    }
}

impl Container {
    pub(crate) fn new(
        (id, name): (String, String),
        sandbox: &Sandbox,
        request: &v1::CreateContainerRequest,
        image: &Image,
        spec: Spec,
        usage: Usage,
        now: i64,
    ) -> Self {
        let config = request.config.clone().unwrap_or_default();
        let linux = config.linux.clone().unwrap_or_default();
        let resources = linux.resources.unwrap_or_default();
        let origin = Origin {
            id,
            sandbox_id: sandbox.id.clone(),
            name,
            config,
            sandbox_config: request.sandbox_config.clone().unwrap_or_default(),
            image_id: image.id.clone(),
            created_at: now,
        };
        Self {
            element: Element::new(&origin.to_item(v1::ContainerState::ContainerCreated), STATE),
            attributes: encoded(origin.attributes()),
            origin,
            user: user(linux.security_context.as_ref(), image),
            cgroup: Arc::new(Cgroup::with_limit(resources.memory_limit_in_bytes)),
            resources,
            files: Arc::new(spec.files()),
            spec,
            execs: Arc::default(),
            phase: Phase::Created,
            usage,
            log: None,
            exited: watch::Sender::new(false),
            signalled: false,
        }
    }

    pub(crate) fn state(&self) -> v1::ContainerState {
        match self.phase {
            Phase::Created => v1::ContainerState::ContainerCreated,
            Phase::Running { .. } => v1::ContainerState::ContainerRunning,
            Phase::Exited(_) => v1::ContainerState::ContainerExited,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// The pid of its first process; 0 while there is none.
    pub(crate) fn pid(&self) -> u32 {
        match &self.phase {
            Phase::Running { process, .. } => process.pid,
            _ => 0,
        }
    }

    /// What its first process will be.
    pub(crate) fn program(&self) -> Result<Program, MissingBinary> {
        let command: Vec<String> = self.config.command.iter().chain(&self.config.args).cloned().collect();
        Program::resolve(&command)
    }

    /// What its processes find in their environment.
    pub(crate) fn environment(&self) -> Environment {
        let hostname = match self.sandbox_config.hostname.as_str() {
            "" => "localhost",
            hostname => hostname,
        };
        let mut variables = BTreeMap::from([
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
            ("HOSTNAME".to_owned(), hostname.to_owned()),
        ]);
        for variable in &self.config.envs {
            variables.insert(variable.key.clone(), String::from_utf8_lossy(&variable.value).into_owned());
        }
        Environment { variables, files: Arc::clone(&self.files), cgroup: Arc::clone(&self.cgroup) }
    }

    /// A command begins to run in it.
    pub(crate) fn exec(&self) -> Exec {
        let others = self.execs.fetch_add(1, Ordering::Relaxed);
        Exec { running: Arc::clone(&self.execs), is_one_of_several: others > 0 }
    }

    /// Opens its log, where it has one that can be written.
    pub(crate) fn open_log(&mut self) {
        let (directory, name) = (&self.sandbox_config.log_directory, &self.config.log_path);
        if !directory.is_empty() && !name.is_empty() {
            self.log = ContainerLog::open(Path::new(directory), Path::new(name)).map(Arc::new);
        }
    }

    pub(crate) fn start(&mut self, now: i64, process: Process) {
        self.phase = Phase::Running { started_at: now, process };
    }

    /// It has exited with this code; false if it wasn't running.
    pub(crate) fn exit(&mut self, now: i64, code: i32, memory: Memory) -> bool {
        let Phase::Running { started_at, .. } = self.phase else { return false };
        self.end(Exit::after_running(started_at, now, code, memory));
        true
    }

    /// It is over.
    pub(crate) fn end(&mut self, exit: Exit) {
        self.phase = Phase::Exited(exit);
        self.log = None;
        self.exited.send_replace(true);
    }

    /// Whether the signal that stops it was sent.
    pub(crate) fn was_signalled(&self) -> bool {
        self.signalled
    }

    /// Sends the signal that stops it, unless that was done before. Gives the exit code if it ends the container at once.
    pub(crate) fn signal_stop(&mut self) -> Option<i32> {
        let Phase::Running { process, .. } = &self.phase else { return None };
        if std::mem::replace(&mut self.signalled, true) {
            return None;
        }
        let number = stop_signal_number(self.config.stop_signal());
        let is_deadly = number == KILL || process.signal(number) == Fate::Deadly;
        is_deadly.then_some(128 + number)
    }

    /// Whether its first process has a pid namespace of its own, as kubelet asks for, or shares one, which is the default.
    pub(crate) fn namespace(&self) -> Namespace {
        let context = self.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        let options = context.and_then(|context| context.namespace_options.as_ref());
        match options.map(v1::NamespaceOption::pid) {
            Some(v1::NamespaceMode::Container) => Namespace::Own,
            _ => Namespace::Shared,
        }
    }

    /// Turns true when it has exited.
    pub(crate) fn exited(&self) -> watch::Receiver<bool> {
        self.exited.subscribe()
    }

    /// Where its log is; empty if it has none.
    pub(crate) fn log_path(&self) -> String {
        let (directory, name) = (&self.sandbox_config.log_directory, &self.config.log_path);
        if directory.is_empty() || name.is_empty() {
            return String::new();
        }
        Path::new(directory).join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn to_item(&self) -> v1::Container {
        self.origin.to_item(self.state())
    }

    /// [`Self::to_item`], but for the state.
    pub(crate) fn element(&self) -> &Element {
        &self.element
    }

    /// [`Self::attributes`], as statistics have them on the wire.
    pub(crate) fn encoded_attributes(&self) -> &[u8] {
        &self.attributes
    }

    /// Its status. The image is given by tag and by digest as long as it is on the node, else as the container knows it.
    pub(crate) fn to_status(&self, images: &Images) -> v1::ContainerStatus {
        let image = images.resolve(&self.image_id).ok();
        let tag = image.and_then(|image| image.repo_tags.first());
        let digest = image.and_then(|image| image.repo_digests.first());
        let (started_at, exit) = match &self.phase {
            Phase::Created => (0, None),
            Phase::Running { started_at, .. } => (*started_at, None),
            Phase::Exited(exit) => (exit.started_at, Some(exit)),
        };
        v1::ContainerStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state().into(),
            created_at: self.created_at,
            started_at,
            finished_at: exit.map_or(0, |exit| exit.finished_at),
            exit_code: exit.map_or(0, |exit| exit.code),
            image: match tag {
                Some(tag) => Some(v1::ImageSpec { image: tag.clone(), ..v1::ImageSpec::default() }),
                None => self.config.image.clone(),
            },
            image_ref: digest.unwrap_or(&self.image_id).clone(),
            reason: exit.map_or_else(String::new, |exit| exit.reason.to_owned()),
            message: exit.map_or_else(String::new, |exit| exit.message.clone()),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            mounts: self.config.mounts.clone(),
            log_path: self.log_path(),
            resources: Some(v1::ContainerResources { linux: Some(self.resources.clone()), windows: None }),
            image_id: self.image_id.clone(),
            user: Some(v1::ContainerUser { linux: Some(self.user.clone()) }),
            stop_signal: match self.config.stop_signal() {
                v1::Signal::RuntimeDefault => v1::Signal::Sigterm.into(),
                signal => signal.into(),
            },
        }
    }

    /// Whether it is under this filter, whose ids are whole ones.
    pub(crate) fn matches(&self, filter: &v1::ContainerFilter) -> bool {
        (filter.id.is_empty() || filter.id == self.id)
            && (filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == self.sandbox_id)
            && filter.state.is_none_or(|state| state.state == i32::from(self.state()))
            && has_labels(&self.config.labels, &filter.label_selector)
    }
}

impl Origin {
    fn to_item(&self, state: v1::ContainerState) -> v1::Container {
        v1::Container {
            id: self.id.clone(),
            pod_sandbox_id: self.sandbox_id.clone(),
            metadata: self.config.metadata.clone(),
            image: self.config.image.clone(),
            image_ref: self.image_id.clone(),
            state: state.into(),
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            image_id: self.image_id.clone(),
        }
    }

    pub(crate) fn attributes(&self) -> v1::ContainerAttributes {
        v1::ContainerAttributes {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }
}

/// The name that a container reserves: its own within its pod's.
pub(crate) fn reserved_name(metadata: &v1::ContainerMetadata, pod: &v1::PodSandboxMetadata) -> String {
    format!("{}_{}_{}_{}_{}", metadata.name, pod.name, pod.namespace, pod.uid, metadata.attempt)
}

fn encoded(attributes: v1::ContainerAttributes) -> Vec<u8> {
    v1::ContainerStats { attributes: Some(attributes), ..v1::ContainerStats::default() }.encode_to_vec()
}

fn user(context: Option<&v1::LinuxContainerSecurityContext>, image: &Image) -> v1::LinuxContainerUser {
    let id = |value: Option<v1::Int64Value>| value.map(|value| value.value);
    let gid = context.and_then(|context| id(context.run_as_group)).unwrap_or(0);
    let mut supplemental_groups = vec![gid];
    supplemental_groups.extend(context.iter().flat_map(|context| &context.supplemental_groups));
    v1::LinuxContainerUser {
        uid: context.and_then(|context| id(context.run_as_user)).unwrap_or_else(|| image.uid()),
        gid,
        supplemental_groups,
    }
}
