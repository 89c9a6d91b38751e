//! containerd before 1.6.29 and 1.7.14: of an image that another client pulled, the label that pins it was not looked at.
//! kubelet's garbage collection removed it.

use super::{Behaviour, OutsidePull, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-9785",
    summary: "An image pulled past CRI with a label that pins it is not pinned",
    source: "containerd#9785",
    shows: &[("ImageStatus", "image.pinned"), ("ListImages", "images[].pinned")],
    behaviour: || Box::new(LabelUnread),
};

struct LabelUnread;

impl Behaviour for LabelUnread {
    fn outside_pull(&self) -> OutsidePull {
        OutsidePull::Unpinned
    }
}
