//! CRI-O before 1.36.0 and 1.35.2: what `PullImage` gave was no id that `ListImages` knew, and kubelet's check of pull secrets
//! failed.

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-9728",
    summary: "PullImage gives a repository digest as image_ref instead of the image id",
    source: "cri-o#9728",
    shows: &[("PullImage", "image_ref")],
    behaviour: || Box::new(DigestAsReference),
};

struct DigestAsReference;

impl Behaviour for DigestAsReference {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::PullImage(_, Ok(response)) = reply else { return };
        let state = simulator.state();
        let image = state.images.resolve(&response.image_ref);
        if let Some(digest) = image.ok().and_then(|image| image.repo_digests.first()) {
            response.image_ref.clone_from(digest);
        }
    }
}
