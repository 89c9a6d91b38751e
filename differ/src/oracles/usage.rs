//! What a container or a pod has used is a number that can be, and what counts never goes back.

use std::collections::BTreeMap;

use cri::v1;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;
use crate::rules::relation::PLAUSIBLE_COUNTER;

pub(super) const ORACLE: Oracle = Oracle {
    name: "usage",
    rule: "usage must be a number that can be, what counts must not go back, what runs uses processor, memory and \
           processes, and images take room",
    source: "runtime.v1: CpuUsage and MemoryUsage, of which kubelet makes rates; containerd#10670",
    severity: Severity::Behaviour,
};

/// A million cores.
const MAX_NANO_CORES: u64 = 1_000_000_000_000_000;
/// Looks after which nothing used is no chance.
const ENOUGH_LOOKS: u64 = 3;
const CPU: &str = "cpu.usage_core_nano_seconds";
const MEMORY: &str = "memory.working_set_bytes";
const PROCESSES: &str = "process.process_count";
const ROOM: &str = "used_bytes";
/// What an image takes on disk is more than this part of its size: layers are packed, and unpacked, and shared.
const IMAGE_PART: u64 = 100;
/// Containers that are kept in mind.
const MAX_CONTAINERS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Of each container that was started and not stopped, when its processor time was taken, in nanoseconds since the epoch, and
    /// what it was.
    started: BTreeMap<String, (i64, u64)>,
    /// What was seen of all of them at one place: the message, and the number in it.
    places: BTreeMap<(&'static str, &'static str), Place>,
    /// The size of the largest image that is known to be there, in bytes.
    largest_image: u64,
}

/// How often a number was too small, and whether it ever was not.
#[derive(Debug, Default)]
struct Place {
    unused: u64,
    is_used: bool,
}

impl Watch for Usage {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::StartContainer(id) if self.started.len() < MAX_CONTAINERS => {
                self.started.insert(id.clone(), (0, 0));
            }
            Said::StopContainer(id) | Said::RemoveContainer(id) => {
                self.started.remove(id);
            }
            Said::ListImages(answer) => answer.images.iter().for_each(|it| self.image(it)),
            Said::ImageStatus(_, answer) => answer.image.iter().for_each(|it| self.image(it)),
            // It may have been the largest.
            Said::RemoveImage => self.largest_image = 0,
            Said::ImageFsInfo(answer) => {
                answer.image_filesystems.iter().for_each(|it| self.room(it, verdict));
            }
            Said::ContainerStats(answer) => {
                answer.stats.iter().for_each(|it| self.container("stats", it, verdict));
            }
            Said::ListContainerStats(answer) => {
                answer.stats.iter().for_each(|it| self.container("stats[]", it, verdict));
            }
            Said::PodSandboxStats(answer) => {
                answer
                    .stats
                    .iter()
                    .for_each(|it| self.pod(["stats.linux", "stats.linux.containers[]"], it, verdict));
            }
            Said::ListPodSandboxStats(answer) => {
                answer
                    .stats
                    .iter()
                    .for_each(|it| self.pod(["stats[].linux", "stats[].linux.containers[]"], it, verdict));
            }
            _ => {}
        }
    }
}

impl Usage {
    fn pod(&mut self, paths: [&'static str; 2], stats: &v1::PodSandboxStats, verdict: &mut Verdict) {
        let Some(linux) = &stats.linux else { return };
        bounds(paths[0], linux.cpu.as_ref(), linux.memory.as_ref(), verdict);
        linux.containers.iter().for_each(|it| self.container(paths[1], it, verdict));
        let processes = linux.process.as_ref().and_then(|process| process.process_count.as_ref());
        if let Some(count) = value(processes).filter(|_| linux.containers.iter().any(|it| self.runs(it))) {
            self.is_used(paths[0], PROCESSES, &Look::running(count), verdict);
        }
    }

    /// What has ended by itself uses no memory.
    fn runs(&self, stats: &v1::ContainerStats) -> bool {
        let memory = value(stats.memory.as_ref().and_then(|memory| memory.working_set_bytes.as_ref()));
        let id = stats.attributes.as_ref().map_or("", |it| &it.id);
        memory.is_some_and(|used| used > 0) && self.started.contains_key(id)
    }

    fn image(&mut self, image: &v1::Image) {
        self.largest_image = self.largest_image.max(image.size);
    }

    /// A file system that may hold images.
    fn room(&mut self, fs: &v1::FilesystemUsage, verdict: &mut Verdict) {
        if let Some(used) = value(fs.used_bytes.as_ref()).filter(|_| self.largest_image > 0) {
            let least = self.largest_image / IMAGE_PART + 1;
            let look = Look { used, least, of: "of a node that has larger images" };
            self.is_used("image_filesystems[]", ROOM, &look, verdict);
        }
    }

    fn container(&mut self, path: &'static str, stats: &v1::ContainerStats, verdict: &mut Verdict) {
        bounds(path, stats.cpu.as_ref(), stats.memory.as_ref(), verdict);
        if let Some(used) = value(stats.writable_layer.as_ref().and_then(|layer| layer.used_bytes.as_ref())) {
            bound(path, "writable_layer.used_bytes", used, PLAUSIBLE_COUNTER, verdict);
        }
        let id = stats.attributes.as_ref().map_or("", |it| &it.id);
        let Some((last, least)) = self.started.get_mut(id) else { return };
        let cpu = stats.cpu.as_ref();
        if let Some(used) = value(cpu.and_then(|cpu| cpu.usage_core_nano_seconds.as_ref())) {
            let at = cpu.map_or(0, |cpu| cpu.timestamp);
            // Two looks at one time may end in either order, and 0 is what is told of one that has ended.
            if used > 0 && *last < at {
                let least = std::mem::replace(least, used);
                *last = at;
                holds(least <= used, path, CPU, || (format!("{least} or more"), used), verdict);
            }
            self.is_used(path, CPU, &Look::running(used), verdict);
        }
        if let Some(used) = value(stats.memory.as_ref().and_then(|memory| memory.working_set_bytes.as_ref()))
        {
            self.is_used(path, MEMORY, &Look::running(used), verdict);
        }
    }

    /// Of all that should use something, one does.
    fn is_used(&mut self, path: &'static str, name: &'static str, look: &Look, verdict: &mut Verdict) {
        let place = self.places.entry((path, name)).or_default();
        if place.is_used {
            return;
        }
        if look.used >= look.least {
            place.is_used = true;
            return verdict.withdraw(&format!("{path}.{name}.value"));
        }
        place.unused += 1;
        let expected = || (format!("{} or more, {}", look.least, look.of), look.used);
        holds(place.unused < ENOUGH_LOOKS, path, name, expected, verdict);
    }
}

/// What is used, what should be at least, and why.
struct Look {
    used: u64,
    least: u64,
    of: &'static str,
}

impl Look {
    fn running(used: u64) -> Self {
        Self { used, least: 1, of: "of containers that run" }
    }
}

fn value(number: Option<&v1::UInt64Value>) -> Option<u64> {
    number.map(|number| number.value)
}

fn bounds(path: &str, cpu: Option<&v1::CpuUsage>, memory: Option<&v1::MemoryUsage>, verdict: &mut Verdict) {
    let mut check = |name: &str, number: Option<&v1::UInt64Value>, most: u64| {
        if let Some(used) = value(number) {
            bound(path, name, used, most, verdict);
        }
    };
    if let Some(cpu) = cpu {
        check(CPU, cpu.usage_core_nano_seconds.as_ref(), i64::MAX as u64);
        check("cpu.usage_nano_cores", cpu.usage_nano_cores.as_ref(), MAX_NANO_CORES);
    }
    // What is available is a limit, and may be none.
    if let Some(memory) = memory {
        check(MEMORY, memory.working_set_bytes.as_ref(), PLAUSIBLE_COUNTER);
        check("memory.usage_bytes", memory.usage_bytes.as_ref(), PLAUSIBLE_COUNTER);
        check("memory.rss_bytes", memory.rss_bytes.as_ref(), PLAUSIBLE_COUNTER);
        check("memory.page_faults", memory.page_faults.as_ref(), PLAUSIBLE_COUNTER);
        check("memory.major_page_faults", memory.major_page_faults.as_ref(), PLAUSIBLE_COUNTER);
    }
}

fn bound(path: &str, name: &str, used: u64, most: u64, verdict: &mut Verdict) {
    holds(used <= most, path, name, || (format!("{most} at most"), used), verdict);
}

/// A check whose words are made where they are needed: there are many numbers, and few are wrong.
fn holds(holds: bool, path: &str, name: &str, said: impl FnOnce() -> (String, u64), verdict: &mut Verdict) {
    if holds {
        return verdict.held();
    }
    let (expected, found) = said();
    verdict.check(false, &format!("{path}.{name}.value"), expected, found.to_string());
}
