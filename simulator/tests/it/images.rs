//! Images.

use cri::v1;
use tonic::Code;

use crate::harness::{Runtime, assert_fails, image_spec};

const PAUSE: &str = "registry.k8s.io/pause:3.10";

async fn status(runtime: &Runtime, image: &str) -> Option<v1::Image> {
    let request = v1::ImageStatusRequest { image: Some(image_spec(image)), verbose: false };
    let response: v1::ImageStatusResponse = runtime.image("ImageStatus", request).await.unwrap();
    response.image
}

async fn list(runtime: &Runtime, image: &str) -> Vec<v1::Image> {
    let filter = Some(v1::ImageFilter { image: Some(image_spec(image)) });
    let response: v1::ListImagesResponse =
        runtime.image("ListImages", v1::ListImagesRequest { filter }).await.unwrap();
    response.images
}

#[tokio::test]
async fn a_pulled_image_is_there_under_all_its_names() {
    let runtime = Runtime::start().await;
    assert_eq!(status(&runtime, "nginx").await, None);
    let id = runtime.pull("nginx").await.unwrap();
    let image = status(&runtime, "nginx").await.unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.repo_tags, ["docker.io/library/nginx:latest"]);
    assert!(image.size > 0 && !image.pinned);
    let digest = image.repo_digests[0].clone();
    assert!(digest.starts_with("docker.io/library/nginx@sha256:"));
    for name in ["docker.io/library/nginx:latest", &digest, &id, &id[7..], &id[..20]] {
        assert_eq!(status(&runtime, name).await.unwrap().id, id, "{name}");
    }
    assert_eq!(runtime.pull(&digest).await.unwrap(), id);
    assert_eq!(list(&runtime, "nginx").await.len(), 1);
    assert_eq!(list(&runtime, "httpd").await.len(), 0);
    assert_eq!(list(&runtime, "").await.len(), 2);
}

#[tokio::test]
async fn the_same_reference_is_the_same_image_on_every_runtime() {
    let (one, other) = (Runtime::start().await, Runtime::start().await);
    assert_eq!(one.pull("quay.io/a/b:1").await.unwrap(), other.pull("quay.io/a/b:1").await.unwrap());
    assert_ne!(one.pull("quay.io/a/b:1").await.unwrap(), one.pull("quay.io/a/b:2").await.unwrap());
}

#[tokio::test]
async fn what_no_registry_has_is_not_found() {
    let runtime = Runtime::start().await;
    assert_fails(
        runtime.pull("quay.io/me/no-such-image:1").await,
        Code::NotFound,
        "failed to pull and unpack image \"quay.io/me/no-such-image:1\": failed to resolve image: \
         quay.io/me/no-such-image:1: not found",
    );
    assert_fails(
        runtime.pull("Bad Name").await,
        Code::Unknown,
        "failed to parse image reference \"Bad Name\": \
         invalid reference format: repository name (library/Bad Name) must be lowercase",
    );
    assert_fails(
        runtime.pull("a//b").await,
        Code::Unknown,
        "failed to parse image reference \"a//b\": invalid reference format",
    );
}

#[tokio::test]
async fn removal_may_be_repeated() {
    let runtime = Runtime::start().await;
    let id = runtime.pull("nginx").await.unwrap();
    for image in [id.as_str(), "nginx", &id, "never-there", ""] {
        let request = v1::RemoveImageRequest { image: Some(image_spec(image)) };
        runtime.image::<v1::RemoveImageResponse>("RemoveImage", request).await.unwrap();
        assert_eq!(status(&runtime, "nginx").await, None);
    }
    assert!(status(&runtime, PAUSE).await.unwrap().pinned);
}

#[tokio::test]
async fn users_come_from_the_image() {
    let runtime = Runtime::start().await;
    runtime.pull("gcr.io/k8s-staging-cri-tools/test-image-user-uid").await.unwrap();
    let image = status(&runtime, "gcr.io/k8s-staging-cri-tools/test-image-user-uid").await.unwrap();
    assert_eq!(image.uid.unwrap().value, 1002);
}

#[tokio::test]
async fn info_comes_only_when_asked_for() {
    let runtime = Runtime::start().await;
    let request = |verbose| v1::ImageStatusRequest { image: Some(image_spec(PAUSE)), verbose };
    let short: v1::ImageStatusResponse = runtime.image("ImageStatus", request(false)).await.unwrap();
    assert!(short.info.is_empty());
    let long: v1::ImageStatusResponse = runtime.image("ImageStatus", request(true)).await.unwrap();
    let info: serde_json::Value = serde_json::from_str(&long.info["info"]).unwrap();
    assert_eq!(info["imageSpec"]["os"], "linux");
}

#[tokio::test]
async fn images_fill_the_file_system() {
    let runtime = Runtime::start().await;
    let used = async || {
        let response: v1::ImageFsInfoResponse =
            runtime.image("ImageFsInfo", v1::ImageFsInfoRequest {}).await.unwrap();
        let usage = response.image_filesystems[0].clone();
        assert_eq!(usage.fs_id.unwrap().mountpoint, "/");
        assert!(usage.timestamp > 1_600_000_000_000_000_000);
        usage.used_bytes.unwrap().value
    };
    let before = used().await;
    runtime.pull("nginx").await.unwrap();
    assert!(used().await > before);
}
