//! CRI-O before 1.35: kubelet panicked at the first such event.

use cri::v1::ContainerEventResponse;

use super::{Behaviour, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-9663",
    summary: "Events have container statuses without an image",
    source: "cri-o#9663",
    shows: &[("GetContainerEvents", "containers_statuses[].image")],
    behaviour: || Box::new(NoImage),
};

struct NoImage;

impl Behaviour for NoImage {
    fn event(&self, event: &mut ContainerEventResponse) {
        event.containers_statuses.iter_mut().for_each(|status| status.image = None);
    }
}
