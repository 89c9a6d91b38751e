//! CRI-O before 1.31: images that the configuration pins, the sandboxes' among them, were pinned in the list only.

use cri::v1::ImageStatusResponse;

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-8362",
    summary: "ImageStatus says of pinned images that they are not",
    source: "cri-o#8362",
    shows: &[("ImageStatus", "image.pinned")],
    behaviour: || Box::new(PinnedInListOnly),
};

struct PinnedInListOnly;

impl Behaviour for PinnedInListOnly {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::ImageStatus(_, Ok(ImageStatusResponse { image: Some(image), .. })) = reply {
            image.pinned = false;
        }
    }
}
