//! Which differences follow from what the preflight has found, or from images that could not be pulled, and so are no findings.
//!
//! Each case looks at the one call itself: what it asked for must be what is missing here, and it must have gone wrong in the way
//! that follows. Everything else stays a finding.

use cri::{Method, v1};
use critape_calls::{Call, merged};
use critape_differ::{Compared, Divergence};
use prost::Message;

use crate::engine::Shared;
use crate::preflight::Limits;
use crate::sending::answer::Answer;
use crate::sending::images::full;

/// What a runtime says that does not take a cgroup of another driver.
const OF_CGROUPS: [&str; 3] = ["cgroup", ".slice", "systemd"];

impl Shared {
    /// Takes out of what a call differs in what follows from a limitation. Gives the reason where nothing is left.
    pub(crate) async fn without_limits(
        &self,
        call: &Call,
        method: &Method,
        answer: &Answer,
        compared: &mut Compared,
    ) -> Option<String> {
        let reason = match method.name.as_str() {
            "ImageStatus" => self.image_status(call, answer),
            "ListImages" => Some("an image was on the runtime before the replay".to_owned()),
            "CreateContainer" => self.create_container(call, answer).await,
            "RunPodSandbox" => self.run_pod_sandbox(call, answer),
            _ => None,
        }?;
        compared.divergences.retain(|divergence| match method.name.as_str() {
            "ImageStatus" => {
                divergence.path.segments().first().is_none_or(|part| part != "image" && part != "info")
            }
            "ListImages" => !self.is_foreign_image(divergence),
            _ => divergence.path.segments() != ["outcome", "code"],
        });
        compared.divergences.is_empty().then_some(reason)
    }

    /// Whether nothing differs in an answer about images but what was known before the first call, so that there is nothing to wait for.
    pub(crate) fn differs_as_known(
        &self,
        call: &Call,
        method: &Method,
        answer: &Answer,
        compared: &Compared,
    ) -> bool {
        let mut divergences = compared.divergences.iter();
        match method.name.as_str() {
            "ImageStatus" => self.image_status(call, answer).is_some(),
            "ListImages" => divergences.all(|it| self.is_foreign_image(it)),
            _ => false,
        }
    }

    /// An image that was there before the replay, or is not here though the recording found it without a pull.
    fn image_status(&self, call: &Call, answer: &Answer) -> Option<String> {
        if !call.outcome.is_ok() || !answer.outcome.is_ok() {
            return None;
        }
        let recorded: v1::ImageStatusResponse = read(&merged(call)?)?;
        let live: v1::ImageStatusResponse = read(&answer.message)?;
        match (recorded.image, live.image) {
            (None, Some(image)) if self.was_here(&image.id) => {
                Some("its image was on the runtime before the replay".to_owned())
            }
            (Some(_), None) => {
                let asked: v1::ImageStatusRequest = read(call.request()?)?;
                self.missing(&asked.image?.image)
            }
            _ => None,
        }
    }

    fn is_foreign_image(&self, divergence: &Divergence) -> bool {
        divergence.path.to_string() == "images[]"
            && divergence.recorded.is_null()
            && divergence
                .live
                .get("id")
                .and_then(serde_json::Value::as_str)
                .is_some_and(|id| self.was_here(id))
    }

    /// Whether the replay found this image, and has left it alone.
    fn was_here(&self, id: &str) -> bool {
        self.target.images.contains(id) && !self.has_removed_images.get()
    }

    fn missing(&self, reference: &str) -> Option<String> {
        let full_form = full(reference);
        if let Some(pull) = self.not_pulled.borrow().get(full_form.as_deref().unwrap_or(reference)) {
            return Some(format!("its image, which call {pull} pulled, was not pulled here"));
        }
        let is_missing = self.target.limits.missing_images.contains(reference);
        is_missing.then(|| "its image is not on the runtime, and the recording does not pull it".to_owned())
    }

    async fn create_container(&self, call: &Call, answer: &Answer) -> Option<String> {
        if !call.outcome.is_ok() || answer.outcome.is_ok() {
            return None;
        }
        let limits = &self.target.limits;
        let asked: v1::CreateContainerRequest = read(call.request()?)?;
        let config = asked.config?;
        let volumes = config.mounts.iter().filter_map(|mount| mount.image.as_ref());
        for image in config.image.iter().chain(volumes) {
            // It may have come since.
            let live = self.ids.borrow().mapped_reference(&image.image).map(str::to_owned);
            if let Some(reason) = self.missing(&image.image)
                && self
                    .live_image(live.as_deref().unwrap_or(&image.image))
                    .await
                    .is_ok_and(|image| image.is_none())
            {
                return Some(reason);
            }
        }
        limits.why_no_container(&config)
    }

    fn run_pod_sandbox(&self, call: &Call, answer: &Answer) -> Option<String> {
        if !call.outcome.is_ok() || answer.outcome.is_ok() {
            return None;
        }
        self.target.limits.why_no_sandbox(&read(call.request()?)?, &answer.outcome.message)
    }
}

impl Limits {
    /// Why this container can't be made, where that is known.
    fn why_no_container(&self, config: &v1::ContainerConfig) -> Option<String> {
        if config.devices.iter().any(|device| self.missing_devices.contains(&device.host_path)) {
            return Some("it asks for a device that this host does not have".to_owned());
        }
        let mounted = config.mounts.iter().map(|mount| &mount.host_path);
        if mounted.clone().any(|path| self.missing_paths.contains(path)) {
            return Some("it mounts a path that this host does not have".to_owned());
        }
        let is_untold = mounted
            .chain(config.devices.iter().map(|device| &device.host_path))
            .any(|path| self.untold_paths.contains(path));
        is_untold.then(|| "this host does not answer what is at a path that it asks for".to_owned())
    }

    /// Why this sandbox can't be made, where that is known; `message` is what the runtime says to it.
    fn why_no_sandbox(&self, asked: &v1::RunPodSandboxRequest, message: &str) -> Option<String> {
        if self.missing_handlers.contains(&asked.runtime_handler) {
            return Some("it asks for a runtime handler that the runtime does not have".to_owned());
        }
        let message = message.to_lowercase();
        let config = asked.config.as_ref()?;
        // All others were free when they were taken.
        let is_fixed = |port: &v1::PortMapping| port.protocol() == v1::Protocol::Sctp && port.host_port != 0;
        if config.port_mappings.iter().any(is_fixed) && message.contains("in use") {
            return Some("it asks for a port of the host that is taken".to_owned());
        }
        let parent = &config.linux.as_ref()?.cgroup_parent;
        let is_of_cgroups = OF_CGROUPS.iter().any(|word| message.contains(word));
        (self.drivers.is_some() && !parent.is_empty() && is_of_cgroups)
            .then(|| "its cgroup is one of another cgroup driver".to_owned())
    }
}

fn read<M: Message + Default>(bytes: &bytes::Bytes) -> Option<M> {
    M::decode(bytes.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_fails_for_want_of_what_it_asks_for() {
        let limits = Limits {
            missing_devices: ["/dev/x".to_owned()].into(),
            missing_paths: ["/run/x".to_owned()].into(),
            untold_paths: ["/sys/x".to_owned()].into(),
            ..Limits::default()
        };
        let device = |path: &str| v1::Device { host_path: path.to_owned(), ..Default::default() };
        let mount = |path: &str| v1::Mount { host_path: path.to_owned(), ..Default::default() };
        let why = |devices: &[&str], mounts: &[&str]| {
            limits.why_no_container(&v1::ContainerConfig {
                devices: devices.iter().map(|path| device(path)).collect(),
                mounts: mounts.iter().map(|path| mount(path)).collect(),
                ..Default::default()
            })
        };
        assert_eq!(why(&["/dev/null"], &["/run"]), None);
        assert!(why(&["/dev/null", "/dev/x"], &[]).unwrap().contains("device"));
        assert!(why(&[], &["/run/x"]).unwrap().contains("mounts a path"));
        for (devices, mounts) in [(&[][..], &["/sys/x"][..]), (&["/sys/x"], &[])] {
            assert!(why(devices, mounts).unwrap().contains("does not answer"));
        }
    }

    #[test]
    fn a_sandbox_fails_for_want_of_what_it_asks_for_and_says_so() {
        let drivers = Some((v1::CgroupDriver::Systemd, v1::CgroupDriver::Cgroupfs));
        let limits = Limits { missing_handlers: ["kata".to_owned()].into(), drivers, ..Limits::default() };
        let asked = |handler: &str, parent: &str, protocol: v1::Protocol| {
            let port = v1::PortMapping { protocol: protocol.into(), host_port: 9, ..Default::default() };
            let linux = v1::LinuxPodSandboxConfig { cgroup_parent: parent.to_owned(), ..Default::default() };
            let config =
                v1::PodSandboxConfig { port_mappings: vec![port], linux: Some(linux), ..Default::default() };
            v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() }
        };
        let plain = asked("runc", "", v1::Protocol::Tcp);
        for message in ["", "port 9 is in use", "invalid cgroup path"] {
            assert_eq!(limits.why_no_sandbox(&plain, message), None, "{message}");
        }
        let why = |asked: &v1::RunPodSandboxRequest, message: &str| limits.why_no_sandbox(asked, message);
        assert!(why(&asked("kata", "", v1::Protocol::Tcp), "").unwrap().contains("handler"));
        assert!(why(&asked("", "", v1::Protocol::Sctp), "port 9 is in use").unwrap().contains("port"));
        let sliced = asked("", "/kubepods.slice", v1::Protocol::Tcp);
        assert!(why(&sliced, "expected cgroupsPath to be of another form").unwrap().contains("driver"));
        assert_eq!(why(&sliced, "no such image"), None);
        assert_eq!(Limits::default().why_no_sandbox(&sliced, "invalid cgroup path"), None);
    }
}
