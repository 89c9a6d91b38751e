//! containerd from 2.0: only v1 is left. Meant, and still the end of every client from before Kubernetes 1.26.

use cri::Generation;

use super::{Behaviour, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-8276",
    summary: "The services of runtime.v1alpha2 are gone: UNIMPLEMENTED",
    source: "containerd#8276",
    shows: &[("Version", "outcome.code")],
    behaviour: || Box::new(NoAlpha),
};

struct NoAlpha;

impl Behaviour for NoAlpha {
    fn serves(&self, generation: Generation) -> bool {
        generation == Generation::V1
    }
}
