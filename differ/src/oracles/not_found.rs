//! Asking for what is gone says so, with the code for it.

use std::collections::BTreeMap;
use std::time::Duration;

use critape_calls::Code;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "not-found",
    rule: "asking for the status of what does not exist must fail with NOT_FOUND",
    source: "kubelet takes a sandbox or container for gone by that code alone: kubernetes pkg/kubelet/kuberuntime, IsNotFound",
    consequence: "kubelet tells by NOT_FOUND that something is gone: another code it takes for a failure, and tries again",
    severity: Severity::Breaking,
};

#[derive(Debug, Default)]
pub(super) struct NotFound {
    /// Ids of what is gone, and since when.
    gone: BTreeMap<String, Duration>,
}

impl Watch for NotFound {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn observe(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::RemovePodSandbox(id) | Said::RemoveContainer(id) if seen.code == Code::OK => {
                self.gone.entry(id.clone()).or_insert(seen.ended);
            }
            Said::PodSandboxStatus(id, _) | Said::ContainerStatus(id, _) => {
                let is_gone = self.gone.get(id).is_some_and(|since| *since <= seen.started);
                if is_gone && !matches!(seen.code, Code::CANCELLED | Code::DEADLINE_EXCEEDED) {
                    let holds = seen.code == Code::NOT_FOUND;
                    verdict.check(holds, "outcome.code", "NOT_FOUND", seen.code.to_string());
                }
            }
            _ => {}
        }
    }

    fn made_up(&mut self, id: &str) {
        self.gone.insert(id.to_owned(), Duration::ZERO);
    }
}
