//! One pod sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use cri::v1;

use crate::element::Element;
use crate::usage::Usage;

/// The number of `state` in [`v1::PodSandbox`].
const STATE: u32 = 3;

/// A sandbox and how it fares.
#[derive(Debug)]
pub(crate) struct Sandbox {
    origin: Origin,
    /// Of its origin alone, which can't be changed.
    element: Element,
    pub phase: Phase,
    /// None on the host's network, and when the network was taken down.
    pub ip: Option<String>,
    /// The ids of its containers.
    pub containers: BTreeSet<String>,
    pub usage: Usage,
}

/// What a sandbox is from beginning to end. A [`Sandbox`] lets it be read as its own fields, and not be written.
#[derive(Debug)]
pub(crate) struct Origin {
    pub id: String,
    /// Reserved while the sandbox is there.
    pub name: String,
    pub config: v1::PodSandboxConfig,
    pub runtime_handler: String,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
}

impl Deref for Sandbox {
    type Target = Origin;

    fn deref(&self) -> &Origin {
        &self.origin
    }
}

/// Ready until it is stopped or its shim dies, and never again after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Ready {
        pid: u32,
    },
    /// Its shim was killed; what else belongs to it waits for it to be stopped.
    Dead,
    Stopped,
}

impl Sandbox {
    /// A ready one, without containers.
    pub(crate) fn new(origin: Origin, pid: u32, ip: Option<String>, usage: Usage) -> Self {
        Self {
            element: Element::new(&origin.to_item(v1::PodSandboxState::SandboxReady), STATE),
            origin,
            phase: Phase::Ready { pid },
            ip,
            containers: BTreeSet::new(),
            usage,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// The pid of its first process; 0 once that is gone.
    pub(crate) fn pid(&self) -> u32 {
        match self.phase {
            Phase::Ready { pid } => pid,
            Phase::Dead | Phase::Stopped => 0,
        }
    }

    pub(crate) fn state(&self) -> v1::PodSandboxState {
        if self.is_ready() { v1::PodSandboxState::SandboxReady } else { v1::PodSandboxState::SandboxNotready }
    }

    pub(crate) fn uses_host_network(&self) -> bool {
        uses_host_network(&self.config)
    }

    pub(crate) fn to_item(&self) -> v1::PodSandbox {
        self.origin.to_item(self.state())
    }

    /// [`Self::to_item`], but for the state.
    pub(crate) fn element(&self) -> &Element {
        &self.element
    }

    pub(crate) fn to_status(&self) -> v1::PodSandboxStatus {
        v1::PodSandboxStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state().into(),
            created_at: self.created_at,
            network: Some(v1::PodSandboxNetworkStatus {
                ip: self.ip.clone().unwrap_or_default(),
                additional_ips: Vec::new(),
            }),
            linux: Some(v1::LinuxPodSandboxStatus {
                namespaces: Some(v1::Namespace { options: namespace_options(&self.config).cloned() }),
            }),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: self.runtime_handler.clone(),
        }
    }

    pub(crate) fn attributes(&self) -> v1::PodSandboxAttributes {
        v1::PodSandboxAttributes {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }

    /// Whether `ListPodSandbox` shows it under this filter. The id is a prefix, and need not be of one sandbox only.
    pub(crate) fn matches(&self, filter: &v1::PodSandboxFilter) -> bool {
        self.id.starts_with(&filter.id)
            && filter.state.is_none_or(|state| state.state == i32::from(self.state()))
            && has_labels(&self.config.labels, &filter.label_selector)
    }
}

impl Origin {
    fn to_item(&self, state: v1::PodSandboxState) -> v1::PodSandbox {
        v1::PodSandbox {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: state.into(),
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: self.runtime_handler.clone(),
        }
    }
}

/// Whether a pod asks for the node's network.
pub(crate) fn uses_host_network(config: &v1::PodSandboxConfig) -> bool {
    namespace_options(config).is_some_and(|options| options.network() == v1::NamespaceMode::Node)
}

fn namespace_options(config: &v1::PodSandboxConfig) -> Option<&v1::NamespaceOption> {
    config.linux.as_ref()?.security_context.as_ref()?.namespace_options.as_ref()
}

/// The name that a pod's metadata reserves.
pub(crate) fn reserved_name(metadata: &v1::PodSandboxMetadata) -> String {
    format!("{}_{}_{}_{}", metadata.name, metadata.namespace, metadata.uid, metadata.attempt)
}

/// Whether all of the selector's labels are there, with its values.
pub(crate) fn has_labels(labels: &BTreeMap<String, String>, selector: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
