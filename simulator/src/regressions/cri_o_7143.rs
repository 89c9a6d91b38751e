//! CRI-O before 1.30: containers named their image by a digest of its repository, which is no id of `ListImages`. kubelet's
//! garbage collection removed images that were in use.

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-7143",
    summary: "ListContainers gives a repository digest as image_ref, and no image_id",
    source: "cri-o#7143",
    shows: &[("ListContainers", "containers[].image_ref"), ("ListContainers", "containers[].image_id")],
    behaviour: || Box::new(DigestInList),
};

struct DigestInList;

impl Behaviour for DigestInList {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::ListContainers(_, Ok(response)) = reply else { return };
        let state = simulator.state();
        for container in &mut response.containers {
            let image = state.images.resolve(&container.image_id);
            if let Some(digest) = image.ok().and_then(|image| image.repo_digests.first()) {
                container.image_ref.clone_from(digest);
            }
            container.image_id.clear();
        }
    }
}
