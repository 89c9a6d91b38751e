//! Images that come and go, pulls that fail, and removals that meet.

use cri::v1;
use tokio::task::JoinSet;

use super::calls::image;
use super::{Node, Result};
use crate::kubelet::DEADLINE;

/// What the pods run.
pub(super) const IMAGE: &str = "registry.example/busybox:1.36";
/// The image of the sandboxes, which no client pulls.
const PAUSE: &str = "registry.k8s.io/pause:3.10";
/// Not there, behind a network that fails, and behind an address that is signed.
const REFUSED: [&str; 3] =
    ["registry.example/no-such:1", "flaky.registry.example/app:1", "registry.example/behind-cdn:1"];
/// How many clients remove one image at the same time.
const AT_ONCE: usize = 5;

pub(super) async fn churn(node: &Node) -> Result<()> {
    node.image_status(PAUSE).await?;
    for name in [
        IMAGE,
        "registry.example/nginx:1.27",
        "registry.example/redis:7",
        "registry.example/test-image-user-uid:1",
    ] {
        node.image_status(name).await?;
        node.pull(name).await?;
        node.image_status(name).await?;
    }
    let verbose = v1::ImageStatusRequest { image: image(IMAGE), verbose: true };
    node.images.call("ImageStatus", &verbose).await?;
    node.list_images().await?;
    for name in REFUSED {
        let _ = node.try_pull(name).await;
    }
    one_image_of_two_repositories(node).await?;
    remove_at_once(node, "registry.example/redis:7").await?;
    node.image_status("registry.example/redis:7").await?;
    // Again, right after its removal.
    node.pull("registry.example/redis:7").await?;
    node.image_status("registry.example/redis:7").await?;
    let one = v1::ImageFilter { image: image("registry.example/nginx:1.27") };
    node.images.call("ListImages", &v1::ListImagesRequest { filter: Some(one) }).await?;
    node.list_images().await?;
    node.images.call("ImageFsInfo", &v1::ImageFsInfoRequest {}).await?;
    Ok(())
}

/// Pulls what another repository has under the same digest; its name sorts behind.
async fn one_image_of_two_repositories(node: &Node) -> Result<()> {
    let name = "registry.example/tools:1";
    node.pull(name).await?;
    let digest = node.image_status(name).await?.and_then(|image| image.repo_digests.into_iter().next());
    if let Some((_, digest)) = digest.as_deref().and_then(|digest| digest.split_once('@')) {
        node.pull(&format!("zone-mirror.example/tools@{digest}")).await?;
        node.image_status(name).await?;
    }
    Ok(())
}

async fn remove_at_once(node: &Node, name: &str) -> Result<()> {
    let mut removals = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (images, request) = (node.images.clone(), v1::RemoveImageRequest { image: image(name) });
        removals.spawn(async move { images.attempt("RemoveImage", &request, DEADLINE).await.map(drop) });
    }
    // By contract none fails. A runtime may see it otherwise.
    while removals.join_next().await.is_some() {}
    Ok(())
}
