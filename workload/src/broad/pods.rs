//! Pods: ordinary ones, and what all have in common.

use std::collections::BTreeMap;

use cri::v1;
use tokio::task::JoinSet;

use super::calls::image;
use super::images::IMAGE;
use super::{Node, Result, number};

/// With the others, forty.
const ORDINARY: u64 = 30;
/// How many kubelet starts or ends at the same time.
pub(super) const AT_ONCE: usize = 8;

/// A pod that runs, and its containers.
#[derive(Debug)]
pub(super) struct Pod {
    pub config: v1::PodSandboxConfig,
    pub sandbox: String,
    pub containers: Vec<String>,
}

/// What an ordinary pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Server,
    Job,
    Crash,
}

impl Kind {
    fn of(number: u64) -> Self {
        match number % 5 {
            0 => Self::Job,
            1 => Self::Crash,
            _ => Self::Server,
        }
    }

    fn script(self) -> &'static str {
        match self {
            Self::Server => "sleep 600",
            Self::Job => "echo done; exit 0",
            Self::Crash => "sleep 0.15; exit 3",
        }
    }
}

/// Starts the ordinary pods, some at a time.
pub(super) async fn start_ordinary(node: &Node) -> Result<Vec<Pod>> {
    let mut pods = BTreeMap::new();
    let mut starting = JoinSet::new();
    for place in 0..ORDINARY {
        let node = node.clone();
        starting.spawn(async move { (place, ordinary(&node, place).await) });
        if starting.len() == AT_ONCE
            && let Some(Ok((place, pod))) = starting.join_next().await
        {
            pods.insert(place, pod?);
        }
    }
    while let Some(Ok((place, pod))) = starting.join_next().await {
        pods.insert(place, pod?);
    }
    Ok(pods.into_values().collect())
}

async fn ordinary(node: &Node, place: u64) -> Result<Pod> {
    // The first one is a server, whatever the seed: others ask it this and that.
    let kind = if place == 0 { Kind::Server } else { Kind::of(number(node.seed, place)) };
    let mut config = node.pod(&format!("app-{place:02}"));
    if place % 8 == 7 {
        options(&mut config).network = v1::NamespaceMode::Node.into();
    }
    let mut pod = Pod::run(node, config).await?;
    node.pod_status(&pod.sandbox, false).await?;
    let container = pod.start(node, "main", kind.script(), |_| {}).await?;
    node.container_status(&container, false).await?;
    match kind {
        Kind::Server => {}
        Kind::Job => node.runtime.exited(&container).await?,
        Kind::Crash => {
            let mut last = container;
            for attempt in 1..3 {
                node.runtime.exited(&last).await?;
                last = pod.start(node, "main", kind.script(), |config| set_attempt(config, attempt)).await?;
            }
            node.runtime.exited(&last).await?;
        }
    }
    Ok(pod)
}

fn set_attempt(config: &mut v1::ContainerConfig, attempt: u32) {
    if let Some(metadata) = &mut config.metadata {
        metadata.attempt = attempt;
    }
    config.annotations.insert("io.kubernetes.container.restartCount".to_owned(), attempt.to_string());
}

/// The namespaces that a pod asks for.
pub(super) fn options(config: &mut v1::PodSandboxConfig) -> &mut v1::NamespaceOption {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().namespace_options.get_or_insert_default()
}

impl Node {
    /// What kubelet asks for a pod of this name.
    pub(super) fn pod(&self, name: &str) -> v1::PodSandboxConfig {
        let uid = self.uid(name);
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: name.to_owned(),
                namespace: "default".to_owned(),
                uid: uid.clone(),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            dns_config: Some(v1::DnsConfig {
                servers: vec!["10.96.0.10".to_owned()],
                searches: vec!["default.svc.cluster.local".to_owned()],
                options: vec!["ndots:5".to_owned()],
            }),
            labels: self.labels(name),
            annotations: [("kubernetes.io/config.source".to_owned(), "api".to_owned())].into(),
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent: format!("/kubepods/besteffort/pod{uid}"),
                ..v1::LinuxPodSandboxConfig::default()
            }),
            ..v1::PodSandboxConfig::default()
        }
    }

    pub(super) fn labels(&self, pod: &str) -> BTreeMap<String, String> {
        [
            ("io.kubernetes.pod.name", pod.to_owned()),
            ("io.kubernetes.pod.namespace", "default".to_owned()),
            ("io.kubernetes.pod.uid", self.uid(pod)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// A uid for each pod of a seed, always the same.
    pub(super) fn uid(&self, pod: &str) -> String {
        let name = pod.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
        let (high, low) = (number(self.seed, name), number(self.seed, !name));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high & 0xffff,
            high >> 16 & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }
}

impl Pod {
    /// Runs a sandbox.
    pub(super) async fn run(node: &Node, config: v1::PodSandboxConfig) -> Result<Self> {
        let request =
            v1::RunPodSandboxRequest { config: Some(config.clone()), ..v1::RunPodSandboxRequest::default() };
        let made: v1::RunPodSandboxResponse = node.runtime.ask("RunPodSandbox", &request).await?;
        Ok(Self { config, sandbox: made.pod_sandbox_id, containers: Vec::new() })
    }

    /// What kubelet asks for a container of this pod that runs a script.
    pub(super) fn container(&self, name: &str, script: &str) -> v1::ContainerConfig {
        let pod = &self.config.labels;
        let own = [("io.kubernetes.container.name".to_owned(), name.to_owned())];
        v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: image(IMAGE),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            envs: vec![v1::KeyValue { key: "MODE".to_owned(), value: "test".into() }],
            labels: pod.clone().into_iter().chain(own).collect(),
            annotations: [("io.kubernetes.container.restartCount".to_owned(), "0".to_owned())].into(),
            log_path: format!("{name}/0.log"),
            ..v1::ContainerConfig::default()
        }
    }

    pub(super) fn request(&self, config: v1::ContainerConfig) -> v1::CreateContainerRequest {
        v1::CreateContainerRequest {
            pod_sandbox_id: self.sandbox.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        }
    }

    pub(super) async fn create(&mut self, node: &Node, config: v1::ContainerConfig) -> Result<String> {
        let made: v1::CreateContainerResponse =
            node.runtime.ask("CreateContainer", &self.request(config)).await?;
        self.containers.push(made.container_id.clone());
        Ok(made.container_id)
    }

    /// Creates a container, as `change` would have it, and starts it.
    pub(super) async fn start(
        &mut self,
        node: &Node,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut v1::ContainerConfig),
    ) -> Result<String> {
        let mut config = self.container(name, script);
        change(&mut config);
        let container = self.create(node, config).await?;
        let start = v1::StartContainerRequest { container_id: container.clone() };
        node.runtime.call("StartContainer", &start).await?;
        Ok(container)
    }
}
