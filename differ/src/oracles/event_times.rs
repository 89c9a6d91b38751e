//! An event is dated when it was made.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1::{ContainerEventResponse, ContainerEventType as Event, ContainerStatus};

use super::exchange::EventStream;
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "event-times",
    rule: "an event must not be dated after it came, nor before the event of its container that came before, nor before what it tells of",
    source: "runtime.v1: ContainerEventResponse.created_at; kubelet's evented PLEG holds pods back until its cache is as new: KEP-3386",
    consequence: "kubelet with evented PLEG holds pods back until its cache is as new as the event, or takes an old state for the new one",
    severity: Severity::Breaking,
};

/// By how much the clock by which an event is dated may be ahead of that by which it came, on one host.
const AHEAD: Duration = Duration::from_secs(2);
/// A runtime may date an event and what it tells of at different moments.
const NOTED_WITHIN: i64 = 500_000_000;

#[derive(Debug)]
pub(super) struct EventTimes;

impl Watch for EventTimes {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn events(&mut self, stream: &EventStream, verdict: &mut Verdict) {
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        let arrived = stream.arrived.iter().copied().chain(std::iter::repeat(None));
        for (event, arrived) in stream.events.iter().zip(arrived) {
            // One that is no time is told elsewhere.
            if event.created_at <= 0 {
                continue;
            }
            verdict.in_event_of(&event.container_id);
            if let Some(latest) = arrived.map(|at| nanoseconds(at.saturating_add(AHEAD))) {
                at_most(event.created_at, latest, verdict);
            }
            let before = last.get(event.container_id.as_str()).copied().unwrap_or_default();
            let earliest = before.max(tells_of(event)).saturating_sub(NOTED_WITHIN);
            let holds = event.created_at >= earliest;
            verdict.check(holds, "created_at", format!("{earliest} or later"), event.created_at.to_string());
            last.insert(&event.container_id, before.max(event.created_at));
        }
    }
}

fn at_most(at: i64, latest: i64, verdict: &mut Verdict) {
    verdict.check(at <= latest, "created_at", format!("{latest} at most: then it had come"), at.to_string());
}

/// When that happened of which the event tells, as the container's status in it says; 0 where it does not say.
fn tells_of(event: &ContainerEventResponse) -> i64 {
    let at: fn(&ContainerStatus) -> i64 = match event.container_event_type() {
        Event::ContainerCreatedEvent => |status| status.created_at,
        Event::ContainerStartedEvent => |status| status.started_at,
        Event::ContainerStoppedEvent | Event::ContainerDeletedEvent => |status| status.finished_at,
    };
    let own = event.containers_statuses.iter().find(|status| status.id == event.container_id);
    own.map_or(0, at)
}

fn nanoseconds(at: Duration) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}
