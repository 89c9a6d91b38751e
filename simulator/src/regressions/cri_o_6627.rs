//! CRI-O 1.26: who served a client that had gone noticed only when the next event came, and took that.

use super::{Behaviour, Regression};
use crate::events::Delivery;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-6627",
    summary: "The first event after a client of GetContainerEvents has come back is lost",
    source: "cri-o#6627",
    shows: &[("GetContainerEvents", "events")],
    behaviour: || Box::new(TakenAlong),
};

struct TakenAlong;

impl Behaviour for TakenAlong {
    fn delivery(&self) -> Delivery {
        Delivery::ToStaleFirst
    }
}
