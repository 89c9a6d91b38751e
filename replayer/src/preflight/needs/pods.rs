//! What pods and their containers need of a host.

use std::collections::BTreeSet;

use bytes::Bytes;
use cri::v1;
use critape_calls::{Call, HostPathKind};

use super::{Needs, read};
use crate::footprint::stays;

/// `NamespaceMode.NODE`.
const NODE: i32 = v1::NamespaceMode::Node as i32;

impl Needs {
    /// Devices and paths of the host that must be there as they are.
    pub(crate) fn of_the_host(&self) -> BTreeSet<String> {
        self.devices.keys().chain(self.host_paths.keys()).cloned().collect()
    }

    pub(super) fn run_pod_sandbox(&mut self, call: &Call, request: &Bytes) {
        let Some(request) = read::<v1::RunPodSandboxRequest>(request) else { return };
        if !request.runtime_handler.is_empty() && call.outcome.is_ok() {
            self.handlers.entry(request.runtime_handler).or_default().add(call.id);
        }
        let config = request.config.unwrap_or_default();
        let linux = config.linux.unwrap_or_default();
        match linux.cgroup_parent.trim_end_matches('/') {
            "" => {}
            parent if is_slice(parent) => self.slices.add(call.id),
            _ => self.cgroups.add(call.id),
        }
        let options = linux.security_context.and_then(|context| context.namespace_options);
        let is_on_host = options.is_some_and(|options| options.network == NODE);
        for port in config.port_mappings {
            let Some(number) = u16::try_from(port.host_port).ok().filter(|number| *number != 0) else {
                continue;
            };
            match port.protocol() {
                v1::Protocol::Tcp if is_on_host => self.host_network.entry(number).or_default().add(call.id),
                v1::Protocol::Sctp if !is_on_host => self.fixed_ports.entry(number).or_default().add(call.id),
                _ => {}
            }
        }
    }

    pub(super) fn create_container(&mut self, call: &Call, request: &Bytes) {
        let Some(request) = read::<v1::CreateContainerRequest>(request) else { return };
        let mut config = request.config.unwrap_or_default();
        let own = config.image.take();
        let volumes = config.mounts.iter_mut().filter_map(|mount| mount.image.take());
        let volumes = volumes.filter(|image| !image.image.is_empty()).collect::<Vec<_>>();
        for image in own.into_iter().chain(volumes) {
            let reference = self.reference(Some(image));
            if call.outcome.is_ok() && self.was_there(&reference) {
                self.found.entry(reference).or_default().add(call.id);
            }
        }
        for device in &config.devices {
            self.devices.entry(device.host_path.clone()).or_default().add(call.id);
        }
        for device in &config.cdi_devices {
            self.cdi_devices.entry(device.name.clone()).or_default().add(call.id);
        }
        let context = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        if context.is_some_and(|context| context.privileged) {
            self.privileged.add(call.id);
        }
        let devices: BTreeSet<&str> = config.devices.iter().map(|device| device.host_path.as_str()).collect();
        let mounts = config.mounts.iter().map(|mount| mount.host_path.as_str());
        for path in mounts.filter(|path| !path.is_empty() && !devices.contains(path)) {
            self.mount(call, path);
        }
    }

    /// A path of the host that a container has.
    fn mount(&mut self, call: &Call, path: &str) {
        let kind = call.host_paths.iter().find(|known| known.path == path).map(|known| known.kind);
        if stays(path, kind.unwrap_or(HostPathKind::Directory)) {
            self.host_paths.entry(path.to_owned()).or_default().add(call.id);
            return;
        }
        match kind {
            None => self.unknown_paths.entry(path.to_owned()).or_default().add(call.id),
            Some(HostPathKind::Directory | HostPathKind::File) => {
                self.contents.insert(path.to_owned());
                // One call may have several.
                self.with_contents.add_once(call.id);
            }
            Some(_) => {}
        }
    }
}

/// Whether a cgroup is named as systemd names its slices.
fn is_slice(parent: &str) -> bool {
    parent.rsplit_once('.').is_some_and(|(_, unit)| unit == "slice")
}
