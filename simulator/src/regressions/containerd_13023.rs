//! containerd 2.2 before 2.2.3: the method was there and gave a plain error. Clients know from UNIMPLEMENTED alone that a
//! runtime lacks a method.

use tonic::Status;

use super::{Behaviour, Regression};
use crate::failure::plain;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-13023",
    summary: "UpdatePodSandboxResources ends with UNKNOWN instead of UNIMPLEMENTED",
    source: "containerd#13023",
    shows: &[("UpdatePodSandboxResources", "outcome.code")],
    behaviour: || Box::new(PlainStub),
};

struct PlainStub;

impl Behaviour for PlainStub {
    fn stub(&self, method: &str) -> Option<Status> {
        (method == "UpdatePodSandboxResources").then(|| plain("not implemented yet"))
    }
}
