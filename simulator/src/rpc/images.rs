//! The image service.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1;
use tonic::Status;

use super::stats::MOUNTPOINT;
use crate::failure::plain;
use crate::images::{Image, Reference, refusal};
use crate::index::LookupError;
use crate::info;
use crate::simulator::Simulator;
use crate::usage::number;

/// How long it takes to take an image's layers away.
const REMOVAL: Duration = Duration::from_millis(10);

impl Simulator {
    pub(super) fn list_images(&self, request: &v1::ListImagesRequest) -> v1::ListImagesResponse {
        let mut state = self.state();
        let wanted = name(request.filter.as_ref().and_then(|filter| filter.image.as_ref()));
        let mut images: Vec<_> = if wanted.is_empty() {
            state.images.iter().map(Image::to_cri).collect()
        } else {
            state.images.resolve(wanted).map(Image::to_cri).into_iter().collect()
        };
        state.random.shuffle(&mut images);
        v1::ListImagesResponse { images }
    }

    pub(super) fn image_status(
        &self,
        request: &v1::ImageStatusRequest,
    ) -> Result<v1::ImageStatusResponse, Status> {
        let state = self.state();
        match state.images.resolve(name(request.image.as_ref())) {
            Ok(image) => Ok(v1::ImageStatusResponse {
                image: Some(image.to_cri()),
                info: if request.verbose { info::of_image(image) } else { BTreeMap::new() },
            }),
            // That it isn't there is an answer.
            Err(LookupError::Missing | LookupError::Empty) => Ok(v1::ImageStatusResponse::default()),
            Err(LookupError::Ambiguous(prefix)) => Err(ambiguous(&prefix)),
        }
    }

    pub(super) fn pull_image(&self, request: &v1::PullImageRequest) -> Result<v1::PullImageResponse, Status> {
        let given = name(request.image.as_ref());
        let reference = Reference::parse(given)
            .map_err(|error| plain(format!("failed to parse image reference {given:?}: {error}")))?;
        if let Some(refusal) = refusal(&reference) {
            return Err(refusal);
        }
        let image_ref = self.state().images.pull(&reference).id.clone();
        Ok(v1::PullImageResponse { image_ref })
    }

    /// Done by several at a time, it is done once, and all are told so.
    pub(super) async fn remove_image(
        &self,
        request: &v1::RemoveImageRequest,
    ) -> Result<v1::RemoveImageResponse, Status> {
        let given = name(request.image.as_ref());
        match self.state().images.resolve(given) {
            Ok(_) => {}
            Err(LookupError::Missing | LookupError::Empty) => return Ok(v1::RemoveImageResponse {}),
            Err(LookupError::Ambiguous(_)) => return Err(ambiguous(given)),
        }
        tokio::time::sleep(REMOVAL).await;
        let was_there = self.state().images.remove(given).map_err(|_| ambiguous(given))?;
        if !was_there {
            self.behaviours().removed_meanwhile()?;
        }
        Ok(v1::RemoveImageResponse {})
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "every answer has the same form")]
    pub(super) fn image_fs_info(&self, _request: &v1::ImageFsInfoRequest) -> v1::ImageFsInfoResponse {
        let state = self.state();
        // Unpacked, an image takes about three times what it takes packed.
        let images: u64 = state.images.iter().map(|image| 3 * image.size).sum();
        let containers = 16_384 * state.containers.len() as u64;
        let usage = |used_bytes: u64| v1::FilesystemUsage {
            timestamp: self.clock().now(),
            fs_id: Some(v1::FilesystemIdentifier { mountpoint: MOUNTPOINT.to_owned() }),
            used_bytes: Some(number(used_bytes)),
            inodes_used: Some(number(used_bytes / 16_384)),
        };
        v1::ImageFsInfoResponse {
            image_filesystems: vec![usage(images + containers)],
            container_filesystems: Vec::new(),
        }
    }
}

fn name(image: Option<&v1::ImageSpec>) -> &str {
    image.map_or("", |image| &image.image)
}

fn ambiguous(name: &str) -> Status {
    plain(format!("can not resolve {name:?} locally: ambiguous digest string"))
}
