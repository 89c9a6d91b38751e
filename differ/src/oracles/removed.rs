//! What a call has removed is gone when the call returns.

use std::collections::HashMap;
use std::time::Duration;

use cri::v1;
use cri::wire::text_at;
use foldhash::quality::RandomState;
use serde_json::Value;

use super::exchange::{EventStream, Observed, Said};
use super::stopped::NOTED_WITHIN;
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "removed-when-told",
    rule: "no list that begins after a removal returned may show what it removed, and no event may date its end much later",
    source: "runtime.v1: RemoveContainer and RemovePodSandbox; kubelet frees a pod's volumes and cgroups as soon as no list shows it: \
             kubernetes pkg/kubelet/pleg, pkg/kubelet/kuberuntime",
    consequence: "kubelet takes what is gone for there: it stops and removes it again, and counts it",
    severity: Severity::Breaking,
};

/// Objects that are kept in mind.
const MAX_OBJECTS: usize = 100_000;

/// When the calls returned that removed these, since the epoch.
#[derive(Debug, Default)]
pub(super) struct Removed(HashMap<String, Duration, RandomState>);

impl Watch for Removed {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::RemoveContainer(id) | Said::RemovePodSandbox(id) if self.0.len() < MAX_OBJECTS => {
                self.0.entry(id.clone()).or_insert(seen.ended);
            }
            _ => self.passing(seen, verdict),
        }
    }

    fn passing(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            // Its own id, and that of its sandbox.
            Said::ListContainers(_) => self.list(seen, "containers[]", &[1, 2], verdict),
            Said::ListPodSandbox(_) => self.list(seen, "items[]", &[1], verdict),
            _ => {}
        }
    }

    fn events(&mut self, stream: &EventStream, verdict: &mut Verdict) {
        let deleted = v1::ContainerEventType::ContainerDeletedEvent;
        for event in stream.events.iter().filter(|it| it.container_event_type() == deleted) {
            let made = u64::try_from(event.created_at).map(Duration::from_nanos);
            if let Some((removed, made)) = self.0.get(&event.container_id).zip(made.ok()) {
                let latest = *removed + NOTED_WITHIN;
                let expected =
                    format!("{} at most: then the call that removed it had returned", latest.as_nanos());
                verdict.in_event_of(&event.container_id);
                verdict.check(made <= latest, "created_at", expected, event.created_at.to_string());
            }
        }
    }
}

impl Removed {
    /// Looks at all elements of a list, whose ids are in these fields: one that stays as it was is no news.
    fn list(&self, seen: &Observed<'_>, path: &str, ids: &[u32], verdict: &mut Verdict) {
        if self.0.is_empty() {
            return;
        }
        for element in seen.elements() {
            let mut named = ids.iter().filter_map(|number| text_at(element, &[*number]));
            let gone = named.find(|id| self.0.get(*id).is_some_and(|removed| *removed <= seen.started));
            let found = gone.map_or(Value::Null, Value::from);
            verdict.of(gone.unwrap_or_default()).check(
                gone.is_none(),
                path,
                "nothing that was removed",
                found,
            );
        }
    }
}
