//! containerd before 2.2.6 and 2.3.3: only starting such a container failed.

use super::{Behaviour, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-13668",
    summary: "CreateContainer in a sandbox that has stopped succeeds",
    source: "containerd#13668",
    shows: &[("CreateContainer", "outcome.code")],
    behaviour: || Box::new(CreatesAnyway),
};

struct CreatesAnyway;

impl Behaviour for CreatesAnyway {
    fn creates_in_stopped_sandboxes(&self) -> bool {
        true
    }
}
