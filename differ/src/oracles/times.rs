//! Times are nanoseconds since the epoch, and come in the order in which things happen.

use cri::v1;

use super::exchange::{EventStream, Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "times",
    rule: "times must be nanoseconds since the epoch, and created, started and finished in that order",
    source: "runtime.v1: created_at, started_at, finished_at and timestamp; containerd#10122, cri-o#8582, cri-dockerd#218",
    consequence: "kubelet orders containers by these and measures backoff from them: it takes an old one for the newest",
    severity: Severity::Breaking,
};

/// 2001 to 2100, in nanoseconds.
const PLAUSIBLE: std::ops::RangeInclusive<i64> = 978_307_200_000_000_000..=4_102_444_800_000_000_000;

/// A runtime notes the start once it has returned, and the end when it is told of it: a process that ends at once may have ended
/// before that, by what writing it down takes (containerd 1.6 to 2.1: half a millisecond).
const NOTED_WITHIN: i64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Times;

impl Watch for Times {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::PodSandboxStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    set("status.created_at", status.created_at, verdict);
                }
                set_or_none("timestamp", answer.timestamp, verdict);
            }
            Said::ContainerStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    container(status, verdict);
                }
            }
            Said::ListPodSandbox(answer) => {
                for it in &answer.items {
                    set("items[].created_at", it.created_at, verdict.of(&it.id));
                }
            }
            Said::ListContainers(answer) => {
                for it in &answer.containers {
                    set("containers[].created_at", it.created_at, verdict.of(&it.id));
                }
            }
            Said::ImageFsInfo(answer) => {
                for system in &answer.image_filesystems {
                    set("image_filesystems[].timestamp", system.timestamp, verdict);
                }
                for system in &answer.container_filesystems {
                    set("container_filesystems[].timestamp", system.timestamp, verdict);
                }
            }
            Said::ListContainerStats(answer) => answer.stats.iter().for_each(|it| stats(it, verdict)),
            _ => {}
        }
    }

    fn events(&mut self, stream: &EventStream, verdict: &mut Verdict) {
        for event in &stream.events {
            set("created_at", event.created_at, verdict.in_event_of(&event.container_id));
            if let Some(status) = &event.pod_sandbox_status {
                set("pod_sandbox_status.created_at", status.created_at, verdict);
            }
        }
    }
}

fn container(status: &v1::ContainerStatus, verdict: &mut Verdict) {
    set("status.created_at", status.created_at, verdict);
    set_or_none("status.started_at", status.started_at, verdict);
    set_or_none("status.finished_at", status.finished_at, verdict);
    match status.state() {
        v1::ContainerState::ContainerRunning => set("status.started_at", status.started_at, verdict),
        v1::ContainerState::ContainerExited => set("status.finished_at", status.finished_at, verdict),
        _ => {}
    }
    let in_order = |path: &str, earlier: i64, later: i64, verdict: &mut Verdict| {
        // One that is no time is told above.
        if PLAUSIBLE.contains(&earlier) && PLAUSIBLE.contains(&later) {
            verdict.check(earlier <= later, path, format!("{earlier} or later"), later.to_string());
        }
    };
    in_order("status.started_at", status.created_at, status.started_at, verdict);
    let started = status.started_at.saturating_sub(NOTED_WITHIN);
    in_order("status.finished_at", started, status.finished_at, verdict);
}

fn stats(stats: &v1::ContainerStats, verdict: &mut Verdict) {
    verdict.of(stats.attributes.as_ref().map_or("", |it| &it.id));
    if let Some(cpu) = &stats.cpu {
        set_or_none("stats[].cpu.timestamp", cpu.timestamp, verdict);
    }
    if let Some(memory) = &stats.memory {
        set_or_none("stats[].memory.timestamp", memory.timestamp, verdict);
    }
    if let Some(layer) = &stats.writable_layer {
        set_or_none("stats[].writable_layer.timestamp", layer.timestamp, verdict);
    }
}

fn set(path: &str, time: i64, verdict: &mut Verdict) {
    verdict.check(PLAUSIBLE.contains(&time), path, "nanoseconds since the epoch", time.to_string());
}

fn set_or_none(path: &str, time: i64, verdict: &mut Verdict) {
    if time != 0 {
        set(path, time, verdict);
    }
}
