//! What a call has started runs when the call returns, and has not begun or ended before.

use std::collections::HashMap;
use std::time::Duration;

use cri::v1;
use cri::wire::text_at;
use foldhash::quality::RandomState;

use super::exchange::{Observed, Said, number_in};
use super::stopped::NOTED_WITHIN;
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "started-when-told",
    rule: "a container must have left its first state when the call that started it returns, must have started during that call, \
           and can't have ended before it, nor after it is told",
    source: "runtime.v1: StartContainer, started_at and finished_at; kubelet runs the hook PostStart as soon as it returns, and counts \
             back-off and probes from these times",
    consequence: "kubelet takes it for one that is not started yet, and measures probes and backoff from another time",
    severity: Severity::Breaking,
};

/// A runtime may note a start by a clock of its own, and round it to seconds.
const WITHIN: Duration = Duration::from_secs(2);
/// Containers that are kept in mind.
const MAX_CONTAINERS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Started {
    /// When each container was started: the beginning and the end of the call, since the epoch.
    calls: HashMap<String, (Duration, Duration), RandomState>,
    /// Those of them that nothing has shown started yet.
    unseen: HashMap<String, Duration, RandomState>,
}

impl Watch for Started {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::StartContainer(id) if self.calls.len() < MAX_CONTAINERS => {
                let (from, until) = (seen.started, seen.ended);
                self.calls.entry(id.clone()).and_modify(|call| call.1 = until).or_insert((from, until));
                self.unseen.insert(id.clone(), until);
            }
            Said::RemoveContainer(id) => {
                self.calls.remove(id);
                self.unseen.remove(id);
            }
            Said::ContainerStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    self.times(seen, status, verdict);
                }
                self.passing(seen, verdict);
            }
            _ => self.passing(seen, verdict),
        }
    }

    fn passing(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        if self.unseen.is_empty() {
            return;
        }
        match &seen.said {
            Said::ContainerStatus(_, answer) => {
                if let Some(status) = &answer.status {
                    self.state(seen, &status.id, status.state, "status.state", verdict);
                }
            }
            Said::ListContainers(_) => {
                // One that stays as it was is no news.
                for element in seen.elements() {
                    let Some(id) = text_at(element, &[1]).filter(|id| self.unseen.contains_key(*id)) else {
                        continue;
                    };
                    let state = i32::try_from(number_in(element, 6)).unwrap_or(-1);
                    self.state(seen, id, state, "containers[].state", verdict);
                }
            }
            _ => {}
        }
    }
}

impl Started {
    fn state(&mut self, seen: &Observed<'_>, id: &str, state: i32, path: &str, verdict: &mut Verdict) {
        // Only a read that began after the call had ended is later than it.
        if self.unseen.get(id).is_none_or(|since| *since > seen.started) {
            return;
        }
        let created = v1::ContainerState::ContainerCreated;
        if state == created as i32 {
            verdict.of(id).check(false, path, "a state of what was started", created.as_str_name());
        } else {
            self.unseen.remove(id);
            verdict.held();
        }
    }

    fn times(&self, seen: &Observed<'_>, status: &v1::ContainerStatus, verdict: &mut Verdict) {
        let Some((from, until)) = self.calls.get(&status.id) else { return };
        let mut within = |path: &str, earliest: Duration, latest: Duration, time: i64| {
            if let Ok(at) = u64::try_from(time).map(Duration::from_nanos)
                && time != 0
            {
                let expected = || format!("from {} to {}", earliest.as_nanos(), latest.as_nanos());
                let holds = (earliest..=latest).contains(&at);
                verdict.check(holds, path, if holds { String::new() } else { expected() }, time.to_string());
            }
        };
        within("status.started_at", from.saturating_sub(WITHIN), *until + WITHIN, status.started_at);
        if status.state() == v1::ContainerState::ContainerExited {
            let is_rounded = status.finished_at % 1_000_000_000 == 0;
            let early = if is_rounded { WITHIN } else { NOTED_WITHIN };
            within("status.finished_at", from.saturating_sub(early), seen.ended + WITHIN, status.finished_at);
        }
    }
}
