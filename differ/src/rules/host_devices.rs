//! Devices that a privileged container has because its host has them.
//!
//! Which they are is no difference of runtimes. What its own request asked for is another matter: the runtime repeats the request beside
//! the specification that it made of it. So are those that every host has.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::Path;

/// Under which such differences are counted.
pub(crate) const RULE: &str = "host-device";
/// Where a runtime's specification of a container lists its devices.
const LISTED_AT: [&str; 3] = ["runtimeSpec", "linux", "devices[]"];

/// Devices of the kernel's own: Documentation/admin-guide/devices.txt.
const EVERYWHERE: [&str; 6] =
    ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

/// The devices that a container asked for, which was made privileged on both sides.
#[derive(Debug)]
pub(crate) struct AskedDevices(BTreeSet<String>);

impl AskedDevices {
    /// Of what both runtimes tell of it; `None` where it was not privileged, or one does not tell.
    pub(crate) fn of(recorded: &Json, live: &Json) -> Option<Self> {
        let both = [recorded, live].map(|told| told.get("config"));
        let both: Vec<&Json> = both.into_iter().flatten().filter(|config| is_privileged(config)).collect();
        (both.len() == 2).then(|| Self(both.into_iter().flat_map(asked).collect()))
    }

    /// Whether a device that is listed on one side only is there, or not, because of the host.
    pub(crate) fn leave_to_host(&self, list: &Path, device: &Json) -> bool {
        let Some(path) = device.get("path").and_then(Json::as_str) else { return false };
        // A folder stands for the devices in it.
        let is_of = |asked: &String| std::path::Path::new(path).starts_with(asked);
        list.segments().ends_with(&LISTED_AT.map(str::to_owned))
            && !EVERYWHERE.contains(&path)
            && !self.0.iter().any(is_of)
    }
}

fn is_privileged(config: &Json) -> bool {
    config.pointer("/linux/security_context/privileged") == Some(&Json::Bool(true))
}

/// The paths in the container at which a request wants devices.
fn asked(config: &Json) -> impl Iterator<Item = String> {
    let devices = config.get("devices").and_then(Json::as_array).into_iter().flatten();
    devices.filter_map(|device| device.get("container_path")?.as_str().map(str::to_owned))
}
