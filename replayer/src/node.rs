//! What a replay does not do to a node, and what it must undo.

use bytes::Bytes;
use cri::Method;
use critape_calls::Call;
use prost::Message;

use crate::answer::Answer;
use crate::engine::Shared;
use crate::images::without_user;
use crate::preflight::{names_no_image, read};
use crate::recording::request_ids;

impl Shared {
    /// What is left alone because it would change the node beyond the replay's own pods.
    pub(crate) async fn reason_to_skip(&self, call: &Call, method: &Method) -> Option<String> {
        if self.config.allow_node_changes {
            return None;
        }
        match method.name.as_str() {
            "UpdateRuntimeConfig" => Some("it changes the node; --allow-node-changes sends it".to_owned()),
            "RemoveImage" => {
                if names_no_image(call, method) {
                    return Some("it removes an image without naming it".to_owned());
                }
                let (_, image) = request_ids(call).into_iter().next()?;
                let image = self.ids.borrow().to_live(&image);
                let id = self.live_image(&image).await?;
                let ours = self.pulled.borrow().contains(&id) && !self.target.images.contains(&id);
                (!ours).then(|| {
                    "it removes an image that was here before; --allow-node-changes sends it".to_owned()
                })
            }
            _ => None,
        }
    }

    /// The id of an image on the live runtime.
    pub(crate) async fn live_image(&self, image: &str) -> Option<String> {
        let spec = cri::v1::ImageSpec { image: image.to_owned(), ..Default::default() };
        let request = cri::v1::ImageStatusRequest { image: Some(spec), verbose: false };
        let status: cri::v1::ImageStatusResponse =
            read(&self.client, self.target.generation, "ImageStatus", request.encode_to_vec().into())
                .await
                .ok()?;
        status.image.map(|image| image.id)
    }

    /// Keeps in mind what a call may change beyond what the replay made, before it is sent.
    pub(crate) fn note_sending(&self, method: &Method, request: &Bytes) {
        match method.name.as_str() {
            "PullImage" => {
                let asked = cri::v1::PullImageRequest::decode(request.as_ref()).unwrap_or_default();
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

    /// Keeps the id of what was pulled; the answer may name it in another way.
    pub(crate) async fn note_pulled(&self, method: &Method, answer: &Answer) {
        if method.name != "PullImage" || !answer.outcome.is_ok() {
            return;
        }
        if let Ok(pulled) = cri::v1::PullImageResponse::decode(answer.message.as_ref())
            && let Some(id) = self.live_image(&pulled.image_ref).await
        {
            if !self.target.images.contains(&id) {
                self.footprint.pulled(&id);
            }
            self.pulled.borrow_mut().insert(id);
        }
    }
}
