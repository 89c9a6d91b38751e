//! cri-dockerd with Docker 25 (moby#47215): the field that the size was read from had gone. kubelet refuses such an image.

use cri::v1::ImageStatusResponse;

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-dockerd-299",
    summary: "ImageStatus and ListImages give every image a size of 0",
    source: "cri-dockerd#299",
    shows: &[("ImageStatus", "image.size"), ("ListImages", "images[].size")],
    behaviour: || Box::new(NoSize),
};

struct NoSize;

impl Behaviour for NoSize {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        match reply {
            Reply::ImageStatus(_, Ok(ImageStatusResponse { image: Some(image), .. })) => image.size = 0,
            Reply::ListImages(_, Ok(response)) => response.images.iter_mut().for_each(|image| image.size = 0),
            _ => {}
        }
    }
}
