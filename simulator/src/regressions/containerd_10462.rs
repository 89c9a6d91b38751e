//! containerd before 1.7.20 and 1.6.34: an empty resolver configuration, as of a pod with `dnsPolicy: None`, gave the pod the
//! node's.

use super::{Behaviour, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10462",
    summary: "A pod with an empty dns_config gets the resolv.conf of the node",
    source: "containerd#10462",
    shows: &[("ExecSync", "stdout")],
    behaviour: || Box::new(EmptyIsNone),
};

struct EmptyIsNone;

impl Behaviour for EmptyIsNone {
    fn takes_empty_dns_for_none(&self) -> bool {
        true
    }
}
