//! Stopping and removing what is stopped or gone already is no error.

use std::collections::BTreeSet;

use critape_calls::Code;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "idempotent-stop-and-remove",
    rule: "stopping or removing what is stopped or gone already must not fail",
    source: "runtime.v1: StopPodSandbox, RemovePodSandbox, StopContainer and RemoveContainer are idempotent; containerd#10527",
    consequence: "kubelet takes the call for failed and makes it again and again: the pod does not end",
    severity: Severity::Breaking,
};

#[derive(Debug, Default)]
pub(super) struct Idempotent {
    /// RPC and id of what went well.
    done: BTreeSet<(String, String)>,
}

impl Watch for Idempotent {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn observe(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        let (Said::StopPodSandbox(id)
        | Said::RemovePodSandbox(id)
        | Said::StopContainer(id)
        | Said::RemoveContainer(id)) = &seen.said
        else {
            return;
        };
        let key = (seen.name.to_owned(), id.clone());
        let again =
            self.done.contains(&key) && !matches!(seen.code, Code::CANCELLED | Code::DEADLINE_EXCEEDED);
        if !id.is_empty() && (again || matches!(seen.code, Code::OK | Code::NOT_FOUND)) {
            verdict.check(seen.code == Code::OK, "outcome.code", "OK", seen.code.to_string());
        }
        if seen.code == Code::OK {
            self.done.insert(key);
        }
    }
}
