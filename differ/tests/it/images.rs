//! Images: which id stands for which.

use cri::{IdentityKind, v1};
use critape_calls::IdentityMap;

use super::{compare, list};

/// The id of an image.
fn id(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// What is found where these lists of images, each an id with its tags, are compared.
fn listed(ids: &IdentityMap, recorded: &[(char, &[&str])], live: &[(char, &[&str])]) -> Vec<String> {
    let images = |images: &[(char, &[&str])]| {
        let image = |(letter, tags): &(char, &[&str])| {
            let repo_tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            v1::Image { id: id(*letter), repo_tags, ..Default::default() }
        };
        let images = images.iter().map(image).collect();
        list("ListImages", &v1::ListImagesResponse { images })
    };
    let ((method, recorded), (_, live)) = (images(recorded), images(live));
    let found = compare(method, ids, &recorded, &live).divergences;
    found.into_iter().map(|it| format!("{} {}", it.path, it.transition.unwrap_or_default())).collect()
}

/// What is found in the status of a container with this image on either side.
fn status(ids: &IdentityMap, recorded: char, live: char) -> Vec<String> {
    let status = |letter: char| {
        let status = v1::ContainerStatus { image_id: id(letter), ..Default::default() };
        list("ContainerStatus", &v1::ContainerStatusResponse { status: Some(status), ..Default::default() })
    };
    let ((method, recorded), (_, live)) = (status(recorded), status(live));
    compare(method, ids, &recorded, &live).divergences.into_iter().map(|it| it.path.to_string()).collect()
}

/// The tag had moved between two pulls of the recording, and leads to one image now.
#[test]
fn a_tag_that_moved_when_recorded_is_no_difference() {
    let none: [&str; 0] = [];
    for now in ['b', 'c'] {
        let mut ids = IdentityMap::default();
        ids.bind(IdentityKind::Image, &id('a'), &id(now));
        assert_eq!(listed(&ids, &[('a', &["app:1"])], &[(now, &["app:1"])]), none);
        ids.bind(IdentityKind::Image, &id('b'), &id(now));
        assert_eq!(listed(&ids, &[('a', &[]), ('b', &["app:1"])], &[(now, &["app:1"])]), none);
        assert_eq!([status(&ids, 'a', now), status(&ids, 'b', now)], [none, none]);
        assert_eq!(listed(&ids, &[('b', &["app:1"])], &[]), ["images[] present→absent"]);
    }
}
