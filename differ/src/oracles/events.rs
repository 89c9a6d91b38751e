//! Each step of a container's life is told, once, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1;
use critape_calls::Code;
use serde_json::Value;

use super::exchange::{EventStream, Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "events-complete",
    rule: "a container's events must be all there, in the order of its life, and none after its end",
    source: "kubelet's evented PLEG goes by them alone: KEP-3386; containerd#7318, cri-o#6627",
    consequence: "kubelet with evented PLEG misses what happened until it lists everything again, minutes later",
    severity: Severity::Breaking,
};

/// When calls that make up a container's life had ended, by container, in the order of [`v1::ContainerEventType`].
#[derive(Debug, Default)]
pub(super) struct Events(BTreeMap<String, [Option<(Duration, Duration)>; 4]>);

const CREATED: usize = v1::ContainerEventType::ContainerCreatedEvent as usize;
const STARTED: usize = v1::ContainerEventType::ContainerStartedEvent as usize;
const STOPPED: usize = v1::ContainerEventType::ContainerStoppedEvent as usize;
const DELETED: usize = v1::ContainerEventType::ContainerDeletedEvent as usize;
const NAMES: [&str; 4] = ["CREATED", "STARTED", "STOPPED", "DELETED"];

impl Watch for Events {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn observe(&mut self, seen: &Observed<'_>, _: &mut Verdict) {
        let (id, step) = match &seen.said {
            Said::CreateContainer(_, answer) => (&answer.container_id, CREATED),
            Said::StartContainer(id) => (id, STARTED),
            Said::RemoveContainer(id) => (id, DELETED),
            _ => return,
        };
        if seen.code == Code::OK && !id.is_empty() {
            let steps = self.0.entry(id.clone()).or_default();
            steps[step].get_or_insert((seen.started, seen.ended));
            // Whatever was started has stopped before it was removed.
            if step == DELETED && steps[STARTED].is_some() {
                steps[STOPPED] = steps[DELETED];
            }
        }
    }

    fn events(&mut self, stream: &EventStream, verdict: &mut Verdict) {
        let mut told: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for event in &stream.events {
            if let Ok(kind) = usize::try_from(event.container_event_type) {
                told.entry(&event.container_id).or_default().push(kind);
            }
        }
        for (id, steps) in &self.0 {
            // Only of a life that is within the stream's own can all be told.
            let within =
                |(started, ended): (Duration, Duration)| stream.from <= started && ended <= stream.until;
            if !steps[CREATED].is_some_and(within) {
                continue;
            }
            let told = told.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let expected: Vec<usize> = (0..4).filter(|step| steps[*step].is_some_and(within)).collect();
            let complete = expected.iter().all(|step| told.contains(step));
            let in_order = told.windows(2).all(|two| two[0] < two[1]);
            verdict.of(id).check(complete && in_order, "events", names(&expected), names(told));
        }
    }
}

fn names(steps: &[usize]) -> Value {
    steps.iter().map(|step| NAMES.get(*step).copied().unwrap_or("UNKNOWN")).collect()
}
