//! containerd 1.7: all subscribers read from one channel, and took each other's events.

use super::{Behaviour, Regression};
use crate::events::Delivery;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-7318",
    summary: "Of several GetContainerEvents streams only one gets each event",
    source: "containerd#7318",
    shows: &[("GetContainerEvents", "events")],
    behaviour: || Box::new(SharedChannel),
};

struct SharedChannel;

impl Behaviour for SharedChannel {
    fn delivery(&self) -> Delivery {
        Delivery::ToOne
    }
}
