//! containerd 2.0 beta: the CRI plugin no longer heard of images that other clients pulled.

use super::{Behaviour, OutsidePull, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-9773",
    summary: "An image pulled past CRI is in no answer",
    source: "containerd#9773",
    shows: &[("ListImages", "images[]"), ("ImageStatus", "image")],
    behaviour: || Box::new(Deaf),
};

struct Deaf;

impl Behaviour for Deaf {
    fn outside_pull(&self) -> OutsidePull {
        OutsidePull::Unseen
    }
}
