//! CRI-O 1.35: the digest that was pulled last came first, where all had been sorted. Clients that took the first for the
//! image's name got another. Taken back in 1.36 (cri-o#9730).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cri::v1::ImageStatusResponse;

use super::{Behaviour, Regression};
use crate::images::Reference;
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-9615",
    summary: "ImageStatus gives repo_digests in the order of the pulls, the last one first",
    source: "cri-o#9615",
    shows: &[("ImageStatus", "image.repo_digests[]")],
    behaviour: || Box::new(LastPulledFirst::default()),
};

#[derive(Default)]
struct LastPulledFirst {
    /// Of each image, the repository it was pulled from last.
    repositories: Mutex<HashMap<String, String>>,
}

impl Behaviour for LastPulledFirst {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        match reply {
            Reply::PullImage(request, Ok(response)) => {
                let given = request.image.as_ref().map_or("", |image| &image.image);
                if let Ok(reference) = Reference::parse(given) {
                    repositories.insert(response.image_ref.clone(), reference.repository);
                }
            }
            Reply::ImageStatus(_, Ok(ImageStatusResponse { image: Some(image), .. })) => {
                if let Some(repository) = repositories.get(&image.id) {
                    // The sort is stable: all others stay as they are.
                    let is_other = |digest: &String| !digest.starts_with(&format!("{repository}@"));
                    image.repo_digests.sort_by_key(is_other);
                }
            }
            _ => {}
        }
    }
}
