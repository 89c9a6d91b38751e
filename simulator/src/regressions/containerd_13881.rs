//! containerd 2.2 before 2.2.3: a pull succeeded, and the image was not there for CRI.
//!
//! It was a race of the store with what it is told of images. Here it shows where one is pulled again that was removed
//! before: the news of the removal takes the new one away. Another pull mends it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use cri::v1::ImageSpec;

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-13881",
    summary: "ImageStatus does not know an image that was just pulled",
    source: "containerd#13881",
    shows: &[("ImageStatus", "image"), ("ListImages", "images[]")],
    behaviour: || Box::new(LateNews::default()),
};

#[derive(Default)]
struct LateNews {
    /// Names of images that were removed, as the client gave them.
    removed: Mutex<HashSet<String>>,
}

impl Behaviour for LateNews {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        match reply {
            Reply::RemoveImage(request, Ok(_)) => removed.extend(name(request.image.as_ref())),
            Reply::PullImage(request, Ok(_)) => {
                if let Some(name) = name(request.image.as_ref()).filter(|name| removed.remove(name)) {
                    // One that isn't there is no error, and a whole name is not ambiguous.
                    let _ = simulator.state().images.remove(&name);
                }
            }
            _ => {}
        }
    }
}

fn name(image: Option<&ImageSpec>) -> Option<String> {
    image.map(|image| image.image.clone())
}
