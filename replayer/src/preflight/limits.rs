//! What can't be faithful: what a tape needs, held against what the live runtime and this host have.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use cri::{Generation, v1};
use critape_calls::{IdentityMap, Resolution, Unbound};
use critape_differ::{Effect, Limitation, LimitationKind};

use super::Target;
use super::host::{Host, There};
use super::needs::Needs;
use super::rehearsal::Doubts;
use super::tally::Tally;
use crate::sending::credentials::Credentials;
use crate::sending::images::{full, registry, without_user};

/// Names that a summary spells out.
const NAMED: usize = 3;

/// What can't be faithful, and what a difference must be held against to follow from it.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) list: Vec<Limitation>,
    /// References, as recorded, of images that are not here.
    pub(crate) missing_images: BTreeSet<String>,
    pub(crate) missing_handlers: BTreeSet<String>,
    pub(crate) missing_devices: BTreeSet<String>,
    pub(crate) missing_paths: BTreeSet<String>,
    /// Devices and paths of which this host did not say in time whether it has them.
    pub(crate) untold_paths: BTreeSet<String>,
    /// Drivers, recorded and live, where they differ.
    pub(crate) drivers: Option<(v1::CgroupDriver, v1::CgroupDriver)>,
}

/// What a tape is held against.
pub(crate) struct Surroundings<'a> {
    pub(crate) needs: &'a Needs,
    /// What its calls name by the beginning of an id that means nothing here.
    pub(crate) doubts: &'a Doubts,
    pub(crate) target: &'a Target,
    /// What is at the devices and paths that the calls need.
    pub(crate) host: &'a Host,
    /// Ids and references, with those of the tape declared.
    pub(crate) ids: &'a IdentityMap,
    pub(crate) credentials: Option<&'a Credentials>,
    pub(crate) allow_node_changes: bool,
    /// Generations of the tape that are not served here.
    pub(crate) unserved: &'a BTreeSet<Generation>,
}

impl Limits {
    /// Holds the two against one another.
    pub(crate) fn of(around: &Surroundings<'_>) -> Self {
        let mut limits = Self::default();
        limits.images(around);
        limits.handlers(around);
        limits.cgroups(around);
        limits.host(around);
        limits.tape(around);
        limits.notes(around);
        limits.list.sort_by_key(|limitation| (limitation.effect, limitation.kind));
        limits
    }

    fn images(&mut self, around: &Surroundings<'_>) {
        let Surroundings { needs, target, ids, .. } = around;
        let is_here = |reference: &String| {
            let none = BTreeSet::new();
            let names = needs.names.get(reference).unwrap_or(&none);
            names
                .iter()
                .chain([reference])
                .any(|name| target.has_image(ids.mapped_reference(name).unwrap_or(name)))
        };
        let missing = of(&needs.found, |reference| !is_here(reference));
        let shown: BTreeSet<String> = missing.keys().map(|it| named_image(needs, it)).collect();
        self.add(LimitationKind::ImageMissing, Effect::Inconclusive, total(&missing), || {
            format!("not on the runtime, and not pulled by the recording: {}", names(&shown))
        });
        self.missing_images = missing.into_keys().collect();
        let present = of(&needs.absent, is_here);
        self.add(LimitationKind::ImagePresent, Effect::Inconclusive, total(&present), || {
            format!(
                "on the runtime already, and not there when recorded: {}",
                names(present.keys().map(|it| without_user(it)))
            )
        });
    }

    fn handlers(&mut self, around: &Surroundings<'_>) {
        let known = &around.target.handlers;
        // A runtime that lists none does not say which it has.
        if known.is_empty() {
            return;
        }
        let missing = of(&around.needs.handlers, |handler| !known.contains(handler));
        self.add(LimitationKind::RuntimeHandler, Effect::Inconclusive, total(&missing), || {
            format!("the runtime has no handler {}", names(missing.keys()))
        });
        self.missing_handlers = missing.into_keys().collect();
    }

    fn cgroups(&mut self, around: &Surroundings<'_>) {
        use v1::CgroupDriver::{Cgroupfs, Systemd};
        let needs = around.needs;
        let Some(live) = around.target.driver else { return };
        // Where the recorded runtime did not tell, its sandboxes do.
        let told = match (needs.slices.calls, needs.cgroups.calls) {
            (1.., 0) => Some(Systemd),
            (0, 1..) => Some(Cgroupfs),
            _ => None,
        };
        let Some(recorded) = needs.driver.or(told).filter(|recorded| *recorded != live) else { return };
        let below = needs.slices.and(needs.cgroups);
        self.add(LimitationKind::CgroupDriver, Effect::Inconclusive, below, || {
            format!("the cgroup driver is {} here, and was {}", driver(live), driver(recorded))
        });
        self.drivers = Some((recorded, live));
    }

    fn host(&mut self, around: &Surroundings<'_>) {
        let Surroundings { needs, host, .. } = around;
        let devices = of(&needs.devices, |path| matches!(host.at(path), There::Nothing | There::Other));
        self.add(LimitationKind::Device, Effect::Inconclusive, total(&devices), || {
            format!("not a device of this host: {}", names(devices.keys()))
        });
        self.missing_devices = devices.into_keys().collect();
        for (kind, needed) in
            [(LimitationKind::Device, &needs.devices), (LimitationKind::HostPath, &needs.host_paths)]
        {
            let untold = of(needed, |path| host.at(path) == There::Untold);
            self.add(kind, Effect::Inconclusive, total(&untold), || {
                format!("this host does not answer what is there: {}", names(untold.keys()))
            });
            self.untold_paths.extend(untold.into_keys());
        }
        self.add(LimitationKind::Device, Effect::Sent, total(&needs.cdi_devices), || {
            format!("devices that the runtime must know by name: {}", names(needs.cdi_devices.keys()))
        });
        self.add(LimitationKind::Device, Effect::Sent, needs.privileged, || {
            "privileged containers have this host's own devices, and the capabilities that its kernel knows"
                .to_owned()
        });
        let paths = of(&needs.host_paths, |path| host.at(path) == There::Nothing);
        let there = of(&needs.host_paths, |path| matches!(host.at(path), There::Device | There::Other));
        self.add(LimitationKind::HostPath, Effect::Inconclusive, total(&paths), || {
            format!("not on this host, and nothing can stand in for them: {}", names(paths.keys()))
        });
        self.add(LimitationKind::HostPath, Effect::Sent, total(&there), || {
            format!("this host's own are mounted, as nothing can stand in for them: {}", names(there.keys()))
        });
        self.missing_paths = paths.into_keys().collect();
        self.add(LimitationKind::HostPath, Effect::Sent, needs.with_contents, || {
            let shown = names(&needs.contents);
            format!(
                "files and folders of the host are empty here, as the tape has not what was in them: {shown}"
            )
        });
        self.add(LimitationKind::HostPort, Effect::Sent, total(&needs.fixed_ports), || {
            format!("SCTP ports stay as they are: {}", names(needs.fixed_ports.keys()))
        });
        let taken = of(&needs.host_network, |port| is_taken(*port));
        self.add(LimitationKind::HostPort, Effect::Sent, total(&taken), || {
            format!("ports of pods on the host's network that are taken here: {}", names(taken.keys()))
        });
    }

    fn tape(&mut self, around: &Surroundings<'_>) {
        let Surroundings { needs, ids, .. } = around;
        let older = of(&needs.named, |id| {
            let resolved = ids.resolve(cri::IdentityKind::Object, id);
            matches!(resolved, Resolution::Unbound(Unbound::OlderThanTape))
        });
        let older = joined(older, &around.doubts.older);
        self.add(LimitationKind::OlderThanTape, Effect::Inconclusive, total(&older), || {
            let word =
                if older.len() == 1 { "a pod or container that is" } else { "pods and containers that are" };
            format!("they name {word} older than the tape")
        });
        let several = &around.doubts.ambiguous;
        self.add(LimitationKind::AmbiguousId, Effect::Inconclusive, total(several), || {
            let shown = names(several.keys());
            format!("they name an object by the beginning of an id that fits several on the tape: {shown}")
        });
        let listens = if around.target.has_jealous_listeners() { needs.listens } else { Tally::default() };
        self.add(LimitationKind::InUse, Effect::Inconclusive, listens, || {
            "others may listen to this runtime's events, and it gives each to one listener alone".to_owned()
        });
        self.add(LimitationKind::Sealed, Effect::Inconclusive, needs.without_command, || {
            "their command is sealed, and the tape's key is not here".to_owned()
        });
        let given = of(&needs.sealed_pulls, |image| {
            around.credentials.is_some_and(|it| it.has(ids.mapped_reference(image).unwrap_or(image)))
        });
        let given = total(&given);
        let without = needs.without_credentials;
        let without = Tally { calls: without.calls.saturating_sub(given.calls), ..without };
        self.add(LimitationKind::Sealed, Effect::Inconclusive, without, || {
            "their credentials are sealed, and the tape's key is not here: --registry-auth gives others"
                .to_owned()
        });
        self.add(LimitationKind::NotRecorded, Effect::Inconclusive, needs.not_recorded, || {
            "the tape lacks their request, answer or end".to_owned()
        });
        self.add(LimitationKind::NotRecorded, Effect::Inconclusive, total(&needs.unknown_paths), || {
            format!(
                "what these paths of the host are was not recorded: {}",
                names(needs.unknown_paths.keys())
            )
        });
        self.add(LimitationKind::NotRecorded, Effect::Inconclusive, needs.compressed, || {
            "their request is compressed, and is not read".to_owned()
        });
    }

    fn notes(&mut self, around: &Surroundings<'_>) {
        let Surroundings { needs, target, ids, .. } = around;
        if !around.allow_node_changes {
            self.add(LimitationKind::NodeChange, Effect::Skipped, needs.configurations, || {
                "they change the runtime's configuration; --allow-node-changes sends them".to_owned()
            });
            self.add(LimitationKind::NodeChange, Effect::Skipped, needs.nameless_removals, || {
                "they remove an image without naming it; --allow-node-changes sends them".to_owned()
            });
            let here =
                of(&needs.removals, |image| target.has_image(ids.mapped_reference(image).unwrap_or(image)));
            self.add(LimitationKind::NodeChange, Effect::Skipped, total(&here), || {
                format!(
                    "they remove images that are here already; --allow-node-changes sends them: {}",
                    names(here.keys().map(|it| without_user(it)))
                )
            });
        }
        let unserved = of(&needs.generations, |generation| around.unserved.contains(generation));
        self.add(LimitationKind::Generation, Effect::Sent, total(&unserved), || {
            format!(
                "the runtime does not speak {}: another is spoken where it says the same",
                names(unserved.keys())
            )
        });
        let unknown = |paths: &BTreeMap<String, Tally>| {
            format!("CRI has no such method, of which only the outcome is compared: {}", names(paths.keys()))
        };
        let kind = LimitationKind::UnknownMethod;
        self.add(kind, Effect::Sent, total(&needs.questions), || unknown(&needs.questions));
        if around.allow_node_changes {
            self.add(kind, Effect::Sent, total(&needs.unknown), || unknown(&needs.unknown));
        } else {
            self.add(kind, Effect::Skipped, total(&needs.unknown), || {
                let paths = names(needs.unknown.keys());
                format!("nobody knows what these methods change; --allow-node-changes sends them: {paths}")
            });
        }
        let mut registries: BTreeMap<String, Tally> = BTreeMap::new();
        for (image, tally) in &needs.pulls {
            let image = ids.mapped_reference(image).unwrap_or(image);
            if let Some(registry) = registry(image) {
                let sum = registries.entry(registry).or_default();
                *sum = sum.and(*tally);
            }
        }
        self.add(LimitationKind::Registry, Effect::Sent, total(&registries), || {
            format!("images are pulled from {}", names(registries.keys()))
        });
    }

    fn add(&mut self, kind: LimitationKind, effect: Effect, tally: Tally, summary: impl FnOnce() -> String) {
        if tally.calls > 0 {
            self.list.push(tally.limitation(kind, effect, summary()));
        }
    }
}

/// Those for which this holds.
fn of<K: Ord + Clone>(tallies: &BTreeMap<K, Tally>, holds: impl Fn(&K) -> bool) -> BTreeMap<K, Tally> {
    tallies.iter().filter(|(key, _)| holds(key)).map(|(key, tally)| (key.clone(), *tally)).collect()
}

/// The tallies of both.
fn joined<K: Ord + Clone>(mut tallies: BTreeMap<K, Tally>, more: &BTreeMap<K, Tally>) -> BTreeMap<K, Tally> {
    for (key, tally) in more {
        let sum = tallies.entry(key.clone()).or_default();
        *sum = sum.and(*tally);
    }
    tallies
}

fn total<K>(tallies: &BTreeMap<K, Tally>) -> Tally {
    tallies.values().fold(Tally::default(), |sum, tally| sum.and(*tally))
}

/// A few names, and how many more there are.
pub(crate) fn names<T: std::fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|it| it.to_string()).collect();
    let more = all.len().saturating_sub(NAMED);
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// An image by a name of it, where there is one: an id tells nobody anything.
fn named_image(needs: &Needs, reference: &str) -> String {
    let name = needs.names.get(reference).and_then(|names| names.first()).map_or(reference, String::as_str);
    let name = without_user(name);
    full(name).unwrap_or_else(|| name.to_owned())
}

fn driver(driver: v1::CgroupDriver) -> &'static str {
    match driver {
        v1::CgroupDriver::Systemd => "systemd",
        v1::CgroupDriver::Cgroupfs => "cgroupfs",
    }
}

/// Whether somebody listens on a TCP port of this host.
fn is_taken(port: u16) -> bool {
    let bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests;
