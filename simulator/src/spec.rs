//! What a container's processes are run with, as it follows from the request: mounts in their order, the resolver, the user
//! namespace.

use std::fmt::Write;

use cri::v1;

use crate::process::Files;
use crate::regressions::Behaviours;

/// The node's own `/etc/resolv.conf`.
const RESOLV_CONF: &str = "nameserver 192.0.2.53\nsearch node.example\n";

/// The mounts that every container has, in the order in which containerd puts them first.
const STANDARD: [(&str, &str); 7] = [
    ("/proc", "proc"),
    ("/dev", "tmpfs"),
    ("/dev/pts", "devpts"),
    ("/dev/mqueue", "mqueue"),
    ("/sys", "sysfs"),
    ("/sys/fs/cgroup", "cgroup2"),
    ("/run", "tmpfs"),
];

/// What the runtime adds for the pod's sake.
const OF_THE_POD: [&str; 3] = ["/etc/hostname", "/etc/resolv.conf", "/dev/shm"];

/// What follows from the requests for a container and its pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    /// Where things are mounted, in the order in which that is done.
    pub mounts: Vec<Mount>,
    resolv_conf: String,
    uid_map: String,
    hostname: String,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub destination: String,
    pub kind: String,
    pub readonly: bool,
}

impl Mount {
    fn bind(destination: &str, readonly: bool) -> Self {
        Self { destination: destination.to_owned(), kind: "bind".to_owned(), readonly }
    }

    /// How many names its path has: what is mounted deeper comes later.
    pub(crate) fn depth(&self) -> usize {
        self.destination.split('/').filter(|part| !part.is_empty()).count()
    }
}

impl Spec {
    pub(crate) fn of(
        container: &v1::ContainerConfig,
        pod: &v1::PodSandboxConfig,
        behaviours: &Behaviours,
    ) -> Self {
        let resolv_conf = match &pod.dns_config {
            None => RESOLV_CONF.to_owned(),
            Some(dns) if *dns == v1::DnsConfig::default() && behaviours.takes_empty_dns_for_none() => {
                RESOLV_CONF.to_owned()
            }
            Some(dns) => resolv_conf(dns),
        };
        let honours_user_namespaces = !behaviours.ignores_user_namespaces();
        Self {
            mounts: mounts(container, behaviours),
            resolv_conf,
            uid_map: uid_map(user_namespace(pod).filter(|_| honours_user_namespaces)),
            hostname: pod.hostname.clone(),
        }
    }

    /// What a process can read of it.
    pub(crate) fn files(&self) -> Files {
        let table = self.mount_table();
        Files::from([
            ("/etc/hostname".to_owned(), format!("{}\n", self.hostname)),
            ("/etc/resolv.conf".to_owned(), self.resolv_conf.clone()),
            ("/proc/mounts".to_owned(), table.clone()),
            ("/proc/self/mounts".to_owned(), table),
            ("/proc/self/uid_map".to_owned(), self.uid_map.clone()),
        ])
    }

    fn mount_table(&self) -> String {
        let mut table = "overlay / overlay rw,relatime 0 0\n".to_owned();
        for mount in &self.mounts {
            let access = if mount.readonly { "ro" } else { "rw" };
            let (device, kind) = match mount.kind.as_str() {
                // Of a bind mount the kernel shows what it is on.
                "bind" => ("/dev/vda1", "ext4"),
                kind => (kind, kind),
            };
            // Writing to a string does not fail.
            let _ = writeln!(table, "{device} {} {kind} {access},relatime 0 0", mount.destination);
        }
        table
    }
}

/// The standard ones, then those of the request and of the pod, each before what is mounted below it.
fn mounts(container: &v1::ContainerConfig, behaviours: &Behaviours) -> Vec<Mount> {
    let mut wanted: Vec<Mount> =
        container.mounts.iter().map(|mount| Mount::bind(&mount.container_path, mount.readonly)).collect();
    for destination in OF_THE_POD {
        if !wanted.iter().any(|mount| mount.destination == destination) {
            wanted.push(Mount::bind(destination, false));
        }
    }
    wanted.sort_by_key(Mount::depth);
    behaviours.order_mounts(&mut wanted);
    let standard = STANDARD
        .iter()
        .filter(|(destination, _)| !wanted.iter().any(|mount| mount.destination == *destination))
        .map(|(destination, kind)| Mount {
            destination: (*destination).to_owned(),
            kind: (*kind).to_owned(),
            readonly: destination.starts_with("/sys"),
        });
    let mut all: Vec<Mount> = standard.collect();
    all.append(&mut wanted);
    all
}

fn resolv_conf(dns: &v1::DnsConfig) -> String {
    let mut lines = Vec::new();
    if !dns.searches.is_empty() {
        lines.push(format!("search {}\n", dns.searches.join(" ")));
    }
    lines.extend(dns.servers.iter().map(|server| format!("nameserver {server}\n")));
    if !dns.options.is_empty() {
        lines.push(format!("options {}\n", dns.options.join(" ")));
    }
    lines.concat()
}

/// The user namespace that a pod asks for.
fn user_namespace(pod: &v1::PodSandboxConfig) -> Option<&v1::UserNamespace> {
    let context = pod.linux.as_ref()?.security_context.as_ref()?;
    let namespace = context.namespace_options.as_ref()?.userns_options.as_ref()?;
    (namespace.mode() == v1::NamespaceMode::Pod).then_some(namespace)
}

/// `/proc/self/uid_map`; without a namespace of its own, ids are the node's.
fn uid_map(namespace: Option<&v1::UserNamespace>) -> String {
    let line = |inside: u32, outside: u32, length: u32| format!("{inside:>10} {outside:>10} {length:>10}\n");
    match namespace {
        Some(namespace) => {
            namespace.uids.iter().map(|ids| line(ids.container_id, ids.host_id, ids.length)).collect()
        }
        None => line(0, 0, u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(container: &v1::ContainerConfig, pod: &v1::PodSandboxConfig, path: &str) -> String {
        Spec::of(container, pod, &Behaviours::default()).files()[path].clone()
    }

    #[test]
    fn an_empty_resolver_is_another_thing_than_none() {
        let mut pod = v1::PodSandboxConfig::default();
        let path = "/etc/resolv.conf";
        assert_eq!(read(&v1::ContainerConfig::default(), &pod, path), RESOLV_CONF);
        pod.dns_config = Some(v1::DnsConfig::default());
        assert_eq!(read(&v1::ContainerConfig::default(), &pod, path), "");
        pod.dns_config =
            Some(v1::DnsConfig { servers: vec!["10.0.0.10".to_owned()], ..v1::DnsConfig::default() });
        assert_eq!(read(&v1::ContainerConfig::default(), &pod, path), "nameserver 10.0.0.10\n");
    }

    #[test]
    fn mounts_of_one_depth_keep_the_order_of_the_request() {
        let mount = |path: &str| v1::Mount { container_path: path.to_owned(), ..v1::Mount::default() };
        let container = v1::ContainerConfig {
            mounts: ["/b/c", "/z", "/a"].map(mount).into(),
            ..v1::ContainerConfig::default()
        };
        let spec = Spec::of(&container, &v1::PodSandboxConfig::default(), &Behaviours::default());
        let asked: Vec<_> = spec.mounts.iter().map(|mount| mount.destination.as_str()).collect();
        assert_eq!(
            asked[asked.len() - 6..],
            ["/z", "/a", "/b/c", "/etc/hostname", "/etc/resolv.conf", "/dev/shm"]
        );
    }
}
