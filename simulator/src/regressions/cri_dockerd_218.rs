//! cri-dockerd before 0.3.5: kubelet took the usage for one of 1970.

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-dockerd-218",
    summary: "ImageFsInfo gives its time in seconds instead of nanoseconds",
    source: "cri-dockerd#218",
    shows: &[("ImageFsInfo", "image_filesystems[].timestamp")],
    behaviour: || Box::new(Seconds),
};

struct Seconds;

impl Behaviour for Seconds {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        let Reply::ImageFsInfo(_, Ok(response)) = reply else { return };
        let filesystems = response.image_filesystems.iter_mut().chain(&mut response.container_filesystems);
        filesystems.for_each(|usage| usage.timestamp /= 1_000_000_000);
    }
}
