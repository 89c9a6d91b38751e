//! What a container that was given the node can do to it, with the tools of the node: past CRI, and seen through it.
//!
//! Commands in a container with the node's pids may kill the shims of pods, `pkill -9 -f "... -id SANDBOX"`. One that has
//! containerd's socket mounted may pull images, `ctr -n k8s.io images pull [--label NAME=VALUE] IMAGE`.

use cri::v1;

use crate::container::Container;
use crate::images::Reference;
use crate::process::KILL;
use crate::regressions::OutsidePull;
use crate::sandbox::Phase;
use crate::state::State;

/// Where containerd's clients find it.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// With this label containerd's garbage collection, and kubelet's, leave an image alone.
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// A command that acts on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Kills the shims whose command line has this in it.
    KillShims { pattern: String },
    /// Pulls an image.
    Pull { reference: Reference, pinned: bool },
}

impl Tool {
    /// The tool that a command line in this container is, if it is one and the container may use it.
    pub(crate) fn of(command: &[String], container: &Container) -> Option<Self> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["pkill", "-9" | "-KILL", "-f", pattern] if has_node_pids(container) => {
                Some(Self::KillShims { pattern: (*pattern).to_owned() })
            }
            ["ctr", "-n", "k8s.io", "images", "pull", rest @ ..] if has_socket(container) => pull(rest),
            _ => None,
        }
    }

    /// Does it, and gives the exit code.
    pub(crate) fn run(&self, state: &mut State, outside_pull: OutsidePull, now: i64) -> i32 {
        match self {
            Self::KillShims { pattern } => kill_shims(state, pattern, now),
            Self::Pull { reference, pinned } => {
                if outside_pull != OutsidePull::Unseen {
                    let image = state.images.pull(reference);
                    image.pinned |= *pinned && outside_pull == OutsidePull::AsLabelled;
                }
                0
            }
        }
    }
}

fn pull(arguments: &[&str]) -> Option<Tool> {
    let (label, image) = match arguments {
        ["--label", label, image] => (*label, *image),
        [image] => ("", *image),
        _ => return None,
    };
    Some(Tool::Pull { reference: Reference::parse(image).ok()?, pinned: label == PINNED })
}

/// As `pkill` ends: 1 where nothing matches.
fn kill_shims(state: &mut State, pattern: &str, now: i64) -> i32 {
    let ready = state.sandboxes.values().filter(|sandbox| sandbox.is_ready());
    let hit: Vec<String> =
        ready.map(|sandbox| sandbox.id.clone()).filter(|id| shim(id).contains(pattern)).collect();
    for id in &hit {
        // Its containers go with it, as all are children of one shim.
        for container in state.container_ids(id) {
            state.container_exited(&container, 128 + KILL, now);
        }
        if let Some(sandbox) = state.sandboxes.get_mut(id) {
            sandbox.phase = Phase::Dead;
        }
        state.publish(v1::ContainerEventType::ContainerStoppedEvent, id, id, now);
    }
    i32::from(hit.is_empty())
}

/// The command line of a sandbox's shim.
fn shim(id: &str) -> String {
    format!("/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id {id} -address {SOCKET}")
}

fn has_node_pids(container: &Container) -> bool {
    let linux = container.config.linux.as_ref();
    let options = linux.and_then(|linux| linux.security_context.as_ref()?.namespace_options.as_ref());
    options.is_some_and(|options| options.pid() == v1::NamespaceMode::Node)
}

fn has_socket(container: &Container) -> bool {
    container.config.mounts.iter().any(|mount| mount.container_path == SOCKET)
}
