//! containerd from 1.5: the signal is sent once. Where the caller of that stop gave up, the next one skips the signal, waits
//! as long as it is granted, and the container can't be killed: kubelet stops it again and again, each time until its
//! deadline.
//!
//! The plain simulator sends the signal once as well; that the second stop does not come to an end is what is switched on here.

use super::{Behaviour, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-6080",
    summary: "StopContainer after one that its caller gave up ends at its deadline",
    source: "containerd#6080",
    shows: &[("StopContainer", "outcome.code"), ("StopContainer", "outcome.kind")],
    behaviour: || Box::new(Stuck),
};

struct Stuck;

impl Behaviour for Stuck {
    fn stop_gets_stuck_behind_another(&self) -> bool {
        true
    }
}
