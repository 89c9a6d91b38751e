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
    rule: "an image must have an id and a size, be there once it is pulled or listed, and be called by its id or digest everywhere; \
           an RPC that tells the image's id of one container must tell it of all",
    source: "kubelet refuses images without id or size (cri-dockerd#299) and looks for what PullImage gave (cri-o#9728, containerd#13881)",
    consequence: "kubelet does not find the image that it pulled, or takes it for unused: it pulls again, or removes what is in use",
    severity: Severity::Breaking,
};

#[derive(Debug, Default)]
pub(super) struct Images {
    /// References that were pulled, when, and what the runtime called the image.
    pulled: BTreeMap<String, (Duration, String)>,
    /// What images are called that were listed: by id, tag or digest the id, and when the list had come.
    listed: BTreeMap<String, (Duration, String)>,
    /// When the last removal had ended.
    removed: Duration,
    /// When a status had come that had no image, against the rule.
    denied: Option<Duration>,
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
            Said::RemoveImage => {
                self.pulled.clear();
                self.listed.clear();
                self.removed = seen.ended;
                // It was on its way when that was asked.
                if self.denied.take_if(|denied| seen.started < *denied).is_some() {
                    verdict.withdraw_of("ImageStatus", "image");
                }
            }
            Said::ImageStatus(reference, answer) if seen.code == Code::OK => {
                if let Some(image) = &answer.image {
                    whole(image, "image", verdict);
                }
                let pulled = self.pulled.get(reference);
                let pulled = pulled.filter(|(since, _)| *since <= seen.started);
                if let Some((_, name)) = pulled {
                    known_as(name, answer.image.as_ref(), verdict);
                }
                let listed = self.listed.get(reference).filter(|(since, _)| *since <= seen.started);
                if let (Some((_, id)), None, None) = (listed, pulled, &answer.image) {
                    verdict.check(false, "image", id.as_str(), serde_json::Value::Null);
                }
                if answer.image.is_none() && (pulled.is_some() || listed.is_some()) {
                    self.denied.get_or_insert(seen.ended);
                }
            }
            Said::ListImages(answer) => {
                for image in &answer.images {
                    whole(image, "images[]", verdict);
                    if self.removed <= seen.started {
                        self.list(image, seen.ended);
                    }
                }
            }
            Said::ContainerStatus(_, answer) => {
                if let Some(it) = &answer.status {
                    self.of_container("ContainerStatus", "status.image_id", &it.image_id, verdict);
                }
            }
            Said::ListContainers(answer) => {
                for it in &answer.containers {
                    let verdict = verdict.of(&it.id);
                    self.of_container("ListContainers", "containers[].image_id", &it.image_id, verdict);
                }
            }
            _ => {}
        }
    }
}

impl Images {
    fn list(&mut self, image: &v1::Image, at: Duration) {
        for name in image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]) {
            self.listed.insert(name.clone(), (at, image.id.clone()));
        }
    }

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
