//! Images: pulled, looked at, removed, and whatever can't be.

use cri::v1;

use super::{BUSYBOX, PAUSE, USER, image, need};
use crate::driver::Driver;

pub(super) async fn run(driver: &mut Driver) {
    list(driver, "images before any", None).await;
    for name in [
        "",
        "UPPER/Case:1",
        "localhost:5000/busybox::1",
        "localhost:5000/no-such:1.0",
        "localhost:1/gone:1.0",
    ] {
        status(driver, &format!("status of '{name}'"), name, false).await;
        let _ = pull(driver, &format!("pull of '{name}'"), Some(image(name))).await;
    }
    let _ = pull(driver, "pull of nothing", None).await;
    let _ = driver
        .call::<_, v1::ImageStatusResponse>(
            "status of nothing",
            "ImageStatus",
            &v1::ImageStatusRequest::default(),
        )
        .await;
    let id = need("pull of busybox", pull(driver, "pull of busybox", Some(image(BUSYBOX))).await).image_ref;
    for name in [PAUSE, USER, BUSYBOX] {
        need(name, pull(driver, &format!("pull of {name}"), Some(image(name))).await);
    }
    let found = status(driver, "status of busybox", BUSYBOX, true).await;
    let digest = found.and_then(|i| i.repo_digests.first().cloned()).unwrap_or_default();
    let hex = id.rsplit(':').next().unwrap_or_default().to_owned();
    for (what, name) in [
        ("id", id.as_str()),
        ("id without its algorithm", &hex),
        ("a prefix of the id", &hex[..hex.len().min(12)]),
        ("digest", &digest),
        ("name without its tag", "localhost:5000/busybox"),
        ("an id of none", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    ] {
        status(driver, &format!("status by {what}"), name, false).await;
        list(driver, &format!("images by {what}"), Some(name)).await;
    }
    need("pull by digest", pull(driver, "pull by digest", Some(image(&digest))).await);
    list(driver, "all images", None).await;
    let _ = driver
        .call::<_, v1::ImageFsInfoResponse>("image file system", "ImageFsInfo", &v1::ImageFsInfoRequest {})
        .await;
    for name in ["", "localhost:5000/no-such:1.0", "UPPER/Case:1"] {
        remove_one(driver, &format!("removal of '{name}'"), Some(image(name))).await;
    }
    remove_one(driver, "removal of nothing", None).await;
}

pub(super) async fn remove(driver: &mut Driver) {
    for name in [BUSYBOX, BUSYBOX, USER, PAUSE] {
        remove_one(driver, &format!("removal of {name}"), Some(image(name))).await;
    }
    list(driver, "images at the end", None).await;
}

async fn pull(
    driver: &mut Driver,
    what: &str,
    image: Option<v1::ImageSpec>,
) -> Result<v1::PullImageResponse, tonic::Status> {
    driver.call(what, "PullImage", &v1::PullImageRequest { image, ..Default::default() }).await
}

async fn status(driver: &mut Driver, what: &str, name: &str, verbose: bool) -> Option<v1::Image> {
    let request = v1::ImageStatusRequest { image: Some(image(name)), verbose };
    let answer = driver.call::<_, v1::ImageStatusResponse>(what, "ImageStatus", &request).await;
    answer.ok().and_then(|a| a.image)
}

async fn list(driver: &mut Driver, what: &str, name: Option<&str>) {
    let filter = name.map(|name| v1::ImageFilter { image: Some(image(name)) });
    let _ =
        driver.call::<_, v1::ListImagesResponse>(what, "ListImages", &v1::ListImagesRequest { filter }).await;
}

async fn remove_one(driver: &mut Driver, what: &str, image: Option<v1::ImageSpec>) {
    let _ = driver
        .call::<_, v1::RemoveImageResponse>(what, "RemoveImage", &v1::RemoveImageRequest { image })
        .await;
}
