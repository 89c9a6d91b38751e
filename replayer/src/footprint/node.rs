//! What a replay does not do to a node, and what it must undo.

use std::collections::BTreeSet;

use bytes::Bytes;
use cri::wire::text_at;
use cri::{Class, Method, v1};
use critape_calls::{Call, Resolution};
use critape_differ::OWNED_LABEL;
use prost::Message;

use crate::engine::Shared;
use crate::preflight::{names_no_image, read};
use crate::recording::{is_object, request_ids};
use crate::replay::ReplayError;
use crate::sending::answer::Answer;
use crate::sending::images::without_user;

/// Why a call is not sent.
#[derive(Debug)]
pub(crate) enum LeftAlone {
    /// It is about something that is not the replay's.
    Foreign(String),
    /// Nothing tells whether it is, because of what the runtime answered.
    Untold(String),
}

impl Shared {
    /// Why a call is left out whatever it names.
    pub(crate) fn reason_to_skip(&self, call: &Call, method: &Method) -> Option<&'static str> {
        if self.config.allow_node_changes {
            return None;
        }
        match method.name.as_str() {
            "UpdateRuntimeConfig" => Some("it changes the node; --allow-node-changes sends it"),
            "RemoveImage" if names_no_image(call, method) => Some("it removes an image without naming it"),
            _ => None,
        }
    }

    /// Why a request is left out: it is about something of this node's that the replay did not bring. `request` is what would be sent.
    pub(crate) async fn reason_to_leave_alone(
        &self,
        call: &Call,
        method: &Method,
        request: &Bytes,
    ) -> Option<LeftAlone> {
        use LeftAlone::{Foreign, Untold};
        if method.name == "RemoveImage" && !self.config.allow_node_changes {
            let image = text_at(request, &[1, 1]).unwrap_or_default();
            return match self.live_image(image).await {
                Ok(Some(it)) if self.is_brought(&it) => None,
                // One that was there and is not found now may be there all the same.
                Ok(None) if !self.target.has_image(image) => None,
                Ok(Some(it)) if !self.is_from_before(&it) && self.untold.borrow().is_some() => {
                    let answered = self.untold.borrow().clone().unwrap_or_default();
                    Some(Untold(format!(
                        "it removes an image, and nothing tells whether the replay pulled that: {answered}"
                    )))
                }
                Ok(_) => {
                    let reason = "it removes an image that was here before; --allow-node-changes sends it";
                    Some(Foreign(reason.to_owned()))
                }
                Err(error) => {
                    Some(Untold(format!("it removes an image, and what that is could not be asked: {error}")))
                }
            };
        }
        if method.class == Class::ReadOnly {
            return None;
        }
        let made_up = self.made_up(call);
        match self.foreign(&made_up).await {
            Ok(foreign) => {
                foreign.map(|id| Foreign(format!("{id} names something here that is not the replay's")))
            }
            Err(error) => Some(Untold(format!("what it names could not be looked up: {error}"))),
        }
    }

    /// Whether an image is here because the replay pulled it, and has no name from before.
    fn is_brought(&self, image: &v1::Image) -> bool {
        self.pulled.borrow().contains(&image.id) && !self.is_from_before(image)
    }

    /// Whether an image was here before, or one that had a name of it.
    fn is_from_before(&self, image: &v1::Image) -> bool {
        let mut names = image.repo_tags.iter().chain(&image.repo_digests);
        self.target.images.contains(&image.id) || names.any(|name| self.target.names.contains(name))
    }

    /// The sandboxes and containers that a call names and that the recording never showed: these ids go out as they are.
    fn made_up(&self, call: &Call) -> Vec<String> {
        let ids = self.ids.borrow();
        request_ids(call)
            .into_iter()
            .filter(|(kind, id)| is_object(*kind) && ids.resolve(*kind, id) == Resolution::AsItIs)
            .map(|(_, id)| id)
            .collect()
    }

    /// One of these ids that a runtime may take for a sandbox or container which is not the replay's. The beginning of an id will do.
    async fn foreign(&self, asked: &[String]) -> Result<Option<String>, ReplayError> {
        if asked.is_empty() {
            return Ok(None);
        }
        let generation = self.target.generation;
        let pods: v1::ListPodSandboxResponse =
            read(&self.client, generation, "ListPodSandbox", Bytes::new()).await?;
        let containers: v1::ListContainersResponse =
            read(&self.client, generation, "ListContainers", Bytes::new()).await?;
        let theirs: BTreeSet<&str> = pods
            .items
            .iter()
            .filter(|pod| pod.labels.get(OWNED_LABEL) != Some(&self.footprint.label))
            .filter(|pod| !self.footprint.has_made(&pod.id))
            .map(|pod| pod.id.as_str())
            .collect();
        let in_theirs = containers.containers.iter().filter(|it| theirs.contains(it.pod_sandbox_id.as_str()));
        let theirs: Vec<&str> = theirs.iter().copied().chain(in_theirs.map(|it| it.id.as_str())).collect();
        let is_theirs = |id: &&String| !id.is_empty() && theirs.iter().any(|it| it.starts_with(id.as_str()));
        Ok(asked.iter().find(is_theirs).cloned())
    }

    /// An image of the live runtime; `None` where it says that there is none.
    pub(crate) async fn live_image(&self, image: &str) -> Result<Option<v1::Image>, ReplayError> {
        let spec = v1::ImageSpec { image: image.to_owned(), ..Default::default() };
        let request = v1::ImageStatusRequest { image: Some(spec), verbose: false };
        let status: v1::ImageStatusResponse =
            read(&self.client, self.target.generation, "ImageStatus", request.encode_to_vec().into()).await?;
        Ok(status.image)
    }

    /// Keeps in mind what a call may change beyond what the replay made, before it is sent.
    pub(crate) fn note_sending(&self, method: &Method, request: &Bytes) {
        match method.name.as_str() {
            "PullImage" => {
                let asked = v1::PullImageRequest::decode(request.as_ref()).unwrap_or_default();
                let reference = asked.image.unwrap_or_default().image;
                if !self.target.has_image(&reference) {
                    self.footprint.pulling(without_user(&reference));
                }
            }
            // Others are only of images that the replay pulled.
            "RemoveImage" if self.config.allow_node_changes => self.has_removed_images.set(true),
            _ => {}
        }
    }

    /// Keeps what a call made that has to be removed in the end.
    pub(crate) async fn note_made(&self, method: &Method, answer: &Answer) {
        if !answer.outcome.is_ok() {
            return;
        }
        let named = text_at(&answer.message, &[1]).unwrap_or_default();
        match method.name.as_str() {
            "RunPodSandbox" | "RestorePod" => self.footprint.made(named),
            "PullImage" => self.note_pulled(named).await,
            _ => {}
        }
    }

    /// Keeps the id of what was pulled; the answer may name it in another way.
    async fn note_pulled(&self, reference: &str) {
        if let Ok(Some(image)) = self.pulled_image(reference).await {
            if !self.target.images.contains(&image.id) {
                self.footprint.pulled(&image.id);
            }
            self.pulled.borrow_mut().insert(image.id);
        } else {
            let answered =
                format!("after a pull that gave {reference}, neither ImageStatus nor ListImages has it");
            *self.untold.borrow_mut() = Some(answered);
        }
    }

    /// The image that a pull gave this name. A runtime whose status denies what it has pulled may list it all the same.
    async fn pulled_image(&self, reference: &str) -> Result<Option<v1::Image>, ReplayError> {
        if let Some(image) = self.live_image(reference).await? {
            return Ok(Some(image));
        }
        let all: v1::ListImagesResponse =
            read(&self.client, self.target.generation, "ListImages", Bytes::new()).await?;
        let is_named = |image: &v1::Image| {
            let mut names = image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]);
            names.any(|name| name == reference)
        };
        Ok(all.images.into_iter().find(is_named))
    }
}
