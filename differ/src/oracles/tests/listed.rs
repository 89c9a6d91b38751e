//! Images that a list has and a status has not.

use super::*;

const LIST: &str = "ListImages";

fn list(talk: &mut Talk) {
    let image =
        v1::Image { id: "sha256:a".into(), repo_tags: vec!["x:1".into()], size: 5, ..Default::default() };
    talk.ok(LIST, &v1::ListImagesRequest::default(), &v1::ListImagesResponse { images: vec![image] });
}

fn deny(talk: &mut Talk, asked: &str) {
    let image = v1::ImageSpec { image: asked.into(), ..Default::default() };
    let status = v1::ImageStatusRequest { image: Some(image), verbose: false };
    talk.ok("ImageStatus", &status, &v1::ImageStatusResponse::default());
}

fn remove(talk: &mut Talk) {
    talk.ok("RemoveImage", &v1::RemoveImageRequest::default(), &v1::RemoveImageResponse {});
}

fn broken(calls: &[&dyn Fn(&mut Talk)]) -> Vec<String> {
    let mut talk = Talk::default();
    calls.iter().for_each(|call| call(&mut talk));
    talk.broken().into_iter().map(|(.., path)| path).collect()
}

#[test]
fn a_status_has_every_image_that_was_listed() {
    for name in ["sha256:a", "x:1"] {
        assert_eq!(broken(&[&list, &|talk| deny(talk, name)]), ["image"], "{name}");
    }
    let none: [&str; 0] = [];
    assert_eq!(broken(&[&list, &|talk| deny(talk, "y:1")]), none);
    assert_eq!(broken(&[&list, &remove, &|talk| deny(talk, "x:1")]), none);
}

#[test]
fn an_image_that_was_being_removed_may_be_there_or_not() {
    let deny = |talk: &mut Talk| deny(talk, "x:1");
    // A call that begins before the last one has ended, and ends after it.
    let meanwhile = |talk: &mut Talk| talk.at -= Duration::from_micros(500);
    assert!(broken(&[&list, &deny, &meanwhile, &remove]).is_empty());
    assert!(broken(&[&remove, &meanwhile, &list, &deny]).is_empty());
    assert_eq!(broken(&[&list, &deny, &remove]), ["image"]);
}
