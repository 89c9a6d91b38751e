//! CRI-O before 1.33: two events in a row while a client had just gone counted its stream down twice, and the whole server
//! panicked.
//!
//! It comes back at once with its pods, as under systemd; connections, streams and calls under way are gone.

use super::{Behaviour, Regression};
use crate::events::Delivery;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-9014",
    summary: "The runtime dies when events come just after a client of GetContainerEvents has gone",
    source: "cri-o#9014",
    shows: &[
        ("GetContainerEvents", "events"),
        ("GetContainerEvents", "outcome.code"),
        ("RunPodSandbox", "outcome.code"),
    ],
    behaviour: || Box::new(CountedTwice),
};

struct CountedTwice;

impl Behaviour for CountedTwice {
    fn delivery(&self) -> Delivery {
        Delivery::Deadly
    }
}
