//! What a container or a pod has used is a number that can be, and what counts never goes back.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;
use crate::rules::relation::PLAUSIBLE_COUNTER;

pub(super) const ORACLE: Oracle = Oracle {
    name: "usage",
    rule: "usage must be a number that can be and of the time that it tells, the working set a part of the memory in use, what \
           counts must not go back, what runs uses processor, memory and processes, and images take room",
    source: "runtime.v1: CpuUsage, MemoryUsage and NetworkUsage, of which kubelet makes rates, and the working set is what is used \
             without inactive files: kubernetes pkg/kubelet/stats; containerd#10670",
    consequence: "kubelet passes it on and evicts by it: autoscalers and those who look at metrics go by wrong numbers",
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
/// Runtimes measure what images take now and then, containerd every ten seconds.
pub(super) const MEASURED: Duration = Duration::from_secs(30);
/// What images take on disk is more than this part of their sizes: layers are packed, and unpacked, and shared.
const IMAGE_PART: u64 = 100;
/// Images that are kept in mind.
const MAX_IMAGES: usize = 10_000;
/// Runtimes round times to seconds, and clocks are read at different moments.
const WITHIN: Duration = Duration::from_secs(2);
const SECOND: i64 = 1_000_000_000;
/// Containers that are kept in mind.
const MAX_CONTAINERS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Each container that was started and not stopped.
    started: BTreeMap<String, Running>,
    /// Of the network of each pod, when its counters were taken, in nanoseconds since the epoch, and what was received and sent.
    networks: BTreeMap<String, (i64, [u64; 2])>,
    /// What was seen of all of them at one place: the message, and the number in it.
    places: BTreeMap<(&'static str, &'static str), Place>,
    /// The size of each image that is known to be there, in bytes, and since when, since the epoch.
    images: BTreeMap<String, (u64, Duration)>,
}

#[derive(Debug)]
struct Running {
    /// When the call began that started it, since the epoch.
    since: Duration,
    /// When its processor time was taken, in nanoseconds since the epoch, and what it was.
    cpu: (i64, u64),
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
                self.started.insert(id.clone(), Running { since: seen.started, cpu: (0, 0) });
            }
            Said::StopContainer(id) | Said::RemoveContainer(id) => {
                self.started.remove(id);
            }
            Said::ListImages(answer) => answer.images.iter().for_each(|it| self.image(it, seen.ended)),
            Said::ImageStatus(_, answer) => answer.image.iter().for_each(|it| self.image(it, seen.ended)),
            Said::RemovePodSandbox(id) => drop(self.networks.remove(id)),
            // Nobody knows which it was.
            Said::RemoveImage => self.images.clear(),
            Said::ImageFsInfo(answer) => {
                answer.image_filesystems.iter().for_each(|it| self.room(it, seen.started, verdict));
            }
            Said::ContainerStats(answer) => {
                answer.stats.iter().for_each(|it| self.container("stats", it, seen.ended, verdict));
            }
            Said::ListContainerStats(answer) => {
                answer.stats.iter().for_each(|it| self.container("stats[]", it, seen.ended, verdict));
            }
            Said::PodSandboxStats(answer) => {
                let paths = ["stats.linux", "stats.linux.containers[]"];
                answer.stats.iter().for_each(|it| self.pod(paths, it, seen.ended, verdict));
            }
            Said::ListPodSandboxStats(answer) => {
                let paths = ["stats[].linux", "stats[].linux.containers[]"];
                answer.stats.iter().for_each(|it| self.pod(paths, it, seen.ended, verdict));
            }
            _ => {}
        }
    }
}

impl Usage {
    /// Looks at the statistics of a pod, which were told at this time.
    fn pod(
        &mut self,
        paths: [&'static str; 2],
        stats: &v1::PodSandboxStats,
        told: Duration,
        verdict: &mut Verdict,
    ) {
        let Some(linux) = &stats.linux else { return };
        let id = stats.attributes.as_ref().map_or("", |it| &it.id);
        verdict.of(id);
        bounds(paths[0], linux.cpu.as_ref(), linux.memory.as_ref(), verdict);
        if let Some(network) = linux.network.as_ref().filter(|_| !id.is_empty()) {
            self.network(paths[0], id, network, verdict);
        }
        linux.containers.iter().for_each(|it| self.container(paths[1], it, told, verdict));
        let processes = linux.process.as_ref().and_then(|process| process.process_count.as_ref());
        if let Some(count) = value(processes).filter(|_| linux.containers.iter().any(|it| self.runs(it))) {
            self.is_used(paths[0], PROCESSES, &Look::running(count), verdict.of(id));
        }
    }

    /// What has ended by itself uses no memory.
    fn runs(&self, stats: &v1::ContainerStats) -> bool {
        let memory = value(stats.memory.as_ref().and_then(|memory| memory.working_set_bytes.as_ref()));
        let id = stats.attributes.as_ref().map_or("", |it| &it.id);
        memory.is_some_and(|used| used > 0) && self.started.contains_key(id)
    }

    /// An image that was there at this time.
    fn image(&mut self, image: &v1::Image, at: Duration) {
        if self.images.len() < MAX_IMAGES && !self.images.contains_key(&image.id) {
            self.images.insert(image.id.clone(), (image.size, at));
        }
    }

    /// What was received and sent counts from the beginning of the pod.
    fn network(&mut self, path: &str, pod: &str, network: &v1::NetworkUsage, verdict: &mut Verdict) {
        let Some(interface) = &network.default_interface else { return };
        let both = [interface.rx_bytes.as_ref(), interface.tx_bytes.as_ref()]
            .map(|it| value(it).unwrap_or_default());
        let Some((last, least)) = self.networks.get_mut(pod) else {
            if self.networks.len() < MAX_CONTAINERS {
                self.networks.insert(pod.to_owned(), (network.timestamp, both));
            }
            return;
        };
        // As with processor time.
        if *last >= network.timestamp {
            return;
        }
        *last = network.timestamp;
        for ((least, now), name) in
            least.iter_mut().zip(both).zip(["rx_bytes", "tx_bytes"]).filter(|((_, now), _)| *now > 0)
        {
            let before = std::mem::replace(least, now);
            let name = format!("network.default_interface.{name}");
            holds(before <= now, path, &name, || (format!("{before} or more"), now), verdict);
        }
    }

    /// A file system that may hold images, asked about at this time.
    fn room(&mut self, fs: &v1::FilesystemUsage, at: Duration, verdict: &mut Verdict) {
        let measured = self.images.values().filter(|(_, since)| *since + MEASURED <= at);
        let size = measured.fold(0_u64, |sum, (size, _)| sum.saturating_add(*size));
        if let Some(used) = value(fs.used_bytes.as_ref()).filter(|_| size > 0) {
            let least = size / IMAGE_PART + 1;
            let look = Look { used, least, of: "of a node that has larger images" };
            self.is_used("image_filesystems[]", ROOM, &look, verdict);
        }
    }

    /// Looks at the statistics of a container, which were told at this time.
    fn container(
        &mut self,
        path: &'static str,
        stats: &v1::ContainerStats,
        told: Duration,
        verdict: &mut Verdict,
    ) {
        let id = stats.attributes.as_ref().map_or("", |it| &it.id);
        verdict.of(id);
        bounds(path, stats.cpu.as_ref(), stats.memory.as_ref(), verdict);
        if let Some(used) = value(stats.writable_layer.as_ref().and_then(|layer| layer.used_bytes.as_ref())) {
            bound(path, "writable_layer.used_bytes", used, PLAUSIBLE_COUNTER, verdict);
        }
        let Some(Running { since, cpu: (last, least) }) = self.started.get_mut(id) else { return };
        let (cpu, memory) = (stats.cpu.as_ref(), stats.memory.as_ref());
        let times = [("cpu", cpu.map(|it| it.timestamp)), ("memory", memory.map(|it| it.timestamp))];
        for (part, time) in
            times.into_iter().filter_map(|(part, time)| Some((part, time.filter(|it| *it != 0)?)))
        {
            timely(since.saturating_sub(WITHIN)..=told + WITHIN, path, part, time, verdict);
        }
        if let Some(used) = value(cpu.and_then(|cpu| cpu.usage_core_nano_seconds.as_ref())) {
            let at = cpu.map_or(0, |cpu| cpu.timestamp);
            // Two looks at one time may end in either order, and 0 is what is told of one that has ended.
            if used > 0 && *last < at {
                let least = std::mem::replace(least, used);
                *last = at;
                holds(least <= used, path, CPU, || (format!("{least} or more"), used), verdict);
            } else if used > 0 && *last == at && *least != used && at % SECOND != 0 {
                let expected = format!("another than before, as it is of {used} and not of {least}");
                verdict.check(false, &format!("{path}.cpu.timestamp"), expected, at.to_string());
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
        // What is 0 may not have been measured.
        let used = value(memory.usage_bytes.as_ref()).filter(|used| *used > 0);
        if let Some((set, used)) = value(memory.working_set_bytes.as_ref()).zip(used) {
            bound(path, MEMORY, set, used, verdict);
        }
    }
}

/// Statistics were taken after the container was started and before they were told.
fn timely(
    when: std::ops::RangeInclusive<Duration>,
    path: &str,
    part: &str,
    time: i64,
    verdict: &mut Verdict,
) {
    if u64::try_from(time).is_ok_and(|time| when.contains(&Duration::from_nanos(time))) {
        return verdict.held();
    }
    let expected = format!("from {} to {}", when.start().as_nanos(), when.end().as_nanos());
    verdict.check(false, &format!("{path}.{part}.timestamp"), expected, time.to_string());
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
