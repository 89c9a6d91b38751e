//! Pods that ask for what few ask for, and that meet what few meet.

use std::time::Duration;

use cri::v1;

use super::pods::{Pod, options};
use super::{Node, Result};
use crate::kubelet::DEADLINE;

/// Where containerd's own clients find it.
const SOCKET: &str = "/run/containerd/containerd.sock";
/// An image that such a client pulls.
const OUTSIDE: &str = "registry.example/node-agent:2";
/// So many volumes that a sort of them is no longer done one by one.
const VOLUMES: usize = 14;
/// How long kubelet waits before it tries again. At once, its next call might be on the wire before the end of this one.
const BACK_OFF: Duration = Duration::from_millis(50);
/// What a container may take, in bytes.
const MEMORY: i64 = 64 << 20;

/// Starts them one after the other, and looks at each.
pub(super) async fn start(node: &Node) -> Result<Vec<Pod>> {
    let mut pods = vec![
        resolver(node).await?,
        volumes(node).await?,
        mapped(node).await?,
        hungry(node).await?,
        missing_command(node).await?,
        no_text(node).await?,
    ];
    stubborn(node).await?;
    let victim = server(node, "victim").await?;
    pods.push(administrator(node, &victim).await?);
    pods.push(victim);
    Ok(pods)
}

async fn server(node: &Node, name: &str) -> Result<Pod> {
    let mut pod = Pod::run(node, node.pod(name)).await?;
    pod.start(node, "main", "sleep 600", |_| {}).await?;
    Ok(pod)
}

/// `dnsPolicy: None`, and nothing in its place.
async fn resolver(node: &Node) -> Result<Pod> {
    let mut config = node.pod("resolver");
    config.dns_config = Some(v1::DnsConfig::default());
    let mut pod = Pod::run(node, config).await?;
    let container = pod.start(node, "main", "sleep 600", |_| {}).await?;
    node.exec(&container, &["cat", "/etc/resolv.conf"]).await?;
    Ok(pod)
}

async fn volumes(node: &Node) -> Result<Pod> {
    let mut pod = Pod::run(node, node.pod("volumes")).await?;
    let uid = node.uid("volumes");
    let mount = |place| v1::Mount {
        container_path: format!("/data/volume-{place}"),
        host_path: format!("/var/lib/kubelet/pods/{uid}/volumes/{place}"),
        readonly: place % 3 == 0,
        ..v1::Mount::default()
    };
    let mounts = (0..VOLUMES).map(mount).collect();
    let container = pod.start(node, "main", "sleep 600", |config| config.mounts = mounts).await?;
    node.exec(&container, &["cat", "/proc/mounts"]).await?;
    node.container_status(&container, true).await?;
    Ok(pod)
}

/// With a user namespace.
async fn mapped(node: &Node) -> Result<Pod> {
    let mut config = node.pod("mapped");
    let ids = vec![v1::IdMapping { host_id: 131_072, container_id: 0, length: 65_536 }];
    options(&mut config).userns_options =
        Some(v1::UserNamespace { mode: v1::NamespaceMode::Pod.into(), uids: ids.clone(), gids: ids });
    let namespaces = options(&mut config).clone();
    let mut pod = Pod::run(node, config).await?;
    node.pod_status(&pod.sandbox, false).await?;
    let with_namespaces = |config: &mut v1::ContainerConfig| {
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().namespace_options = Some(namespaces);
    };
    let container = pod.start(node, "main", "sleep 600", with_namespaces).await?;
    node.exec(&container, &["cat", "/proc/self/uid_map"]).await?;
    Ok(pod)
}

/// Its containers take more memory than they may.
async fn hungry(node: &Node) -> Result<Pod> {
    let mut pod = Pod::run(node, node.pod("hungry")).await?;
    for name in ["first", "second", "third"] {
        let container = pod.start(node, name, "tail /dev/zero", limit_memory).await?;
        node.runtime.exited(&container).await?;
        node.container_status(&container, false).await?;
    }
    Ok(pod)
}

fn limit_memory(config: &mut v1::ContainerConfig) {
    let linux = config.linux.get_or_insert_default();
    linux.resources.get_or_insert_default().memory_limit_in_bytes = MEMORY;
}

async fn missing_command(node: &Node) -> Result<Pod> {
    let mut pod = Pod::run(node, node.pod("missing-command")).await?;
    let mut config = pod.container("main", "");
    config.command = vec!["no-such-command".to_owned()];
    let container = pod.create(node, config).await?;
    let start = v1::StartContainerRequest { container_id: container.clone() };
    let _ = node.runtime.attempt("StartContainer", &start, DEADLINE).await;
    node.container_status(&container, false).await?;
    Ok(pod)
}

/// With an environment variable that is no text.
async fn no_text(node: &Node) -> Result<Pod> {
    let mut pod = server(node, "no-text").await?;
    let mut config = pod.container("odd", "exit 0");
    config.envs.push(v1::KeyValue { key: "ODD".to_owned(), value: b"\xff\xfe".as_slice().into() });
    pod.create(node, config).await?;
    Ok(pod)
}

/// Takes no notice of the signal that stops it, as a first process that has no handler. Its first stop is given up; the second kills
/// it, and the pod ends.
async fn stubborn(node: &Node) -> Result<()> {
    let mut pod = Pod::run(node, node.pod("stubborn")).await?;
    let with_own_pids = |config: &mut v1::ContainerConfig| {
        let linux = config.linux.get_or_insert_default();
        let options =
            linux.security_context.get_or_insert_default().namespace_options.get_or_insert_default();
        options.pid = v1::NamespaceMode::Container.into();
    };
    let container = pod.start(node, "main", "sleep 600", with_own_pids).await?;
    let _ = node.try_stop(&container, 30, Duration::from_millis(300)).await;
    tokio::time::sleep(BACK_OFF).await;
    let _ = node.try_stop(&container, 1, Duration::from_secs(3)).await;
    node.stop_pod(&pod.sandbox).await?;
    node.remove(&container).await?;
    node.remove_pod(&pod.sandbox).await
}

/// Was given the node: pulls an image past CRI, and kills the shim of another pod.
async fn administrator(node: &Node, victim: &Pod) -> Result<Pod> {
    let mut config = node.pod("administrator");
    options(&mut config).pid = v1::NamespaceMode::Node.into();
    let namespaces = options(&mut config).clone();
    let mut pod = Pod::run(node, config).await?;
    let with_node = |config: &mut v1::ContainerConfig| {
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().namespace_options = Some(namespaces);
        config.mounts = vec![v1::Mount {
            container_path: SOCKET.to_owned(),
            host_path: SOCKET.to_owned(),
            ..v1::Mount::default()
        }];
    };
    let container = pod.start(node, "main", "sleep 600", with_node).await?;
    let label = "io.cri-containerd.pinned=pinned";
    node.exec(&container, &["ctr", "-n", "k8s.io", "images", "pull", "--label", label, OUTSIDE]).await?;
    node.image_status(OUTSIDE).await?;
    node.list_images().await?;
    node.pod_status(&victim.sandbox, false).await?;
    let shim = format!("containerd-shim-runc-v2 -namespace k8s.io -id {}", victim.sandbox);
    node.exec(&container, &["pkill", "-9", "-f", &shim]).await?;
    let over = v1::PodSandboxStatusRequest { pod_sandbox_id: victim.sandbox.clone(), verbose: false };
    let _ = node.runtime.attempt("PodSandboxStatus", &over, DEADLINE).await;
    for container in &victim.containers {
        node.container_status(container, false).await?;
    }
    Ok(pod)
}
