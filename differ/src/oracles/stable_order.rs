//! What has no order to give comes in one that stays from call to call.

use std::collections::BTreeSet;

use critape_calls::Code;
use serde_json::Value;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "stable-order",
    rule: "the order of runtime handlers must not change from call to call",
    source: "each change makes kubelet update the node: containerd#12036, kubernetes#135357",
    consequence: "kubelet updates its node at each new order, every few seconds",
    severity: Severity::Behaviour,
};

#[derive(Debug, Default)]
pub(super) struct StableOrder {
    last: Vec<String>,
}

impl Watch for StableOrder {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn observe(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        let Said::Status(answer) = &seen.said else { return };
        if seen.code != Code::OK || answer.runtime_handlers.is_empty() {
            return;
        }
        let now: Vec<String> = answer.runtime_handlers.iter().map(|handler| handler.name.clone()).collect();
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        if set(&self.last) == set(&now) {
            let shown = |names: &[String]| names.iter().map(String::as_str).collect::<Value>();
            verdict.check(self.last == now, "runtime_handlers[]", shown(&self.last), shown(&now));
        }
        self.last = now;
    }
}
