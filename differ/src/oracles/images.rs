//! An image is known by what it was pulled as, and has an id and a size.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1;
use critape_calls::Code;

use super::exchange::{Observed, Said};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "image-identity",
    rule: "an image must have an id and a size, be there once it is pulled, and be called by its id or digest everywhere; \
           an RPC that tells the image's id of one container must tell it of all",
    source: "kubelet refuses images without id or size (cri-dockerd#299) and looks for what PullImage gave (cri-o#9728, containerd#13881)",
    severity: Severity::Breaking,
};

#[derive(Debug, Default)]
pub(super) struct Images {
    /// References that were pulled, when, and what the runtime called the image.
    pulled: BTreeMap<String, (Duration, String)>,
    /// What each RPC has told of the images of containers.
    of_containers: BTreeMap<&'static str, Ids>,
}

/// Whether ids were told, and whether one was not. Runtimes from before there was such a field tell none.
#[derive(Clone, Copy, Debug, Default)]
struct Ids {
    told: bool,
    left_out: bool,
}

impl Watch for Images {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn observe(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::PullImage(reference, answer) if seen.code == Code::OK => {
                self.pulled.insert(reference.clone(), (seen.ended, answer.image_ref.clone()));
            }
            // Whatever it is called there.
            Said::RemoveImage => self.pulled.clear(),
            Said::ImageStatus(reference, answer) if seen.code == Code::OK => {
                if let Some(image) = &answer.image {
                    whole(image, "image", verdict);
                }
                let pulled = self.pulled.get(reference);
                if let Some((_, name)) = pulled.filter(|(since, _)| *since <= seen.started) {
                    known_as(name, answer.image.as_ref(), verdict);
                }
            }
            Said::ListImages(answer) => {
                answer.images.iter().for_each(|image| whole(image, "images[]", verdict));
            }
            Said::ContainerStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    self.of_container("ContainerStatus", "status.image_id", &it.image_id, verdict);
                }
            }
            Said::ListContainers(answer) => {
                for it in &answer.containers {
                    self.of_container("ListContainers", "containers[].image_id", &it.image_id, verdict);
                }
            }
            _ => {}
        }
    }
}

impl Images {
    fn of_container(&mut self, rpc: &'static str, path: &str, id: &str, verdict: &mut Verdict) {
        let ids = self.of_containers.entry(rpc).or_default();
        ids.told |= !id.is_empty();
        ids.left_out |= id.is_empty();
        if ids.told {
            verdict.check(!ids.left_out, path, "the id of each container's image", "");
        }
    }
}

fn whole(image: &v1::Image, path: &str, verdict: &mut Verdict) {
    verdict.check(image.size > 0, &format!("{path}.size"), "more than 0", image.size);
    verdict.check(!image.id.is_empty(), &format!("{path}.id"), "an id", image.id.as_str());
}

fn known_as(name: &str, image: Option<&v1::Image>, verdict: &mut Verdict) {
    let Some(image) = image else {
        verdict.check(false, "image", name, serde_json::Value::Null);
        return;
    };
    let holds = image.id == name || image.repo_digests.iter().any(|digest| digest == name);
    verdict.check(holds, "image.id", name, image.id.as_str());
}
