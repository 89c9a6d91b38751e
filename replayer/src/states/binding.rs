//! Which live id stands for which recorded one, learnt from two answers to one request.

use cri::{IdentityKind, Method};
use critape_calls::{IdentityMap, Live, Recorded, Spelling, identities};
use prost_reflect::{DynamicMessage, Value};

use crate::sending::images::repository;

/// Whether answers of this method bind anything.
pub(crate) fn binds(method: &Method) -> bool {
    method.response_ids.iter().any(|id| id.produces)
        || matches!(method.name.as_str(), "ImageStatus" | "ListImages")
}

/// Binds what the answers made or described.
///
/// Ids that the call made are bound as they stand. Images are bound where both answers describe one image, because they are
/// known by reference: the id behind a tag may differ. Everything else has been bound when it was made.
pub(crate) fn bind(
    method: &Method,
    recorded: Recorded<&DynamicMessage>,
    live: Live<&DynamicMessage>,
    ids: &mut IdentityMap,
) {
    let before = identities(recorded.0, &method.response_ids);
    let now = identities(live.0, &method.response_ids);
    if before.len() == now.len() {
        for (before, now) in before.iter().zip(&now) {
            let one_image = before.kind == IdentityKind::Image && method.name == "ImageStatus";
            // Two spellings are a difference to report, not two names to take for one another.
            let alike = before.kind == now.kind && Spelling::of(&before.value) == Spelling::of(&now.value);
            if alike && (before.produced || one_image) {
                ids.bind(before.kind, &before.value, &now.value);
            }
        }
    }
    match method.name.as_str() {
        "ListImages" => bind_images(&images(recorded.0), &images(live.0), ids),
        "ImageStatus" => {
            if let Some((recorded, live)) = image(recorded.0).zip(image(live.0)) {
                note_renamed(&recorded, &live, ids);
                bind_digests(&recorded.1, &live.1, ids);
            }
        }
        _ => {}
    }
}

/// An image: its id, and its tags and digests.
type Image = (String, Vec<String>);

/// Images that share a tag or a digest are one; so are those of which one was mapped to the other.
fn bind_images(recorded: &[Image], live: &[Image], ids: &mut IdentityMap) {
    for recorded @ (id, names) in recorded {
        let same = live.iter().find(|(_, others)| names.iter().any(|name| is_among(name, others, ids)));
        if let Some(other @ (live, others)) = same {
            ids.bind(IdentityKind::Image, id, live);
            note_renamed(recorded, other, ids);
            bind_digests(names, others, ids);
        }
    }
}

/// Takes note of an image that a runtime calls by another id, though its content is the same: they share a digest.
fn note_renamed((id, names): &Image, (live, others): &Image, ids: &mut IdentityMap) {
    let has = |digest: &str| others.iter().filter_map(|it| digest_of(it)).any(|it| it == digest);
    if is_another_digest(id, live) && names.iter().filter_map(|it| digest_of(it)).any(has) {
        ids.bind_renamed(id, live);
    }
}

/// The same where two pulls asked for one digest.
pub(crate) fn note_pulled_by_digest(recorded: &DynamicMessage, live: &DynamicMessage, ids: &mut IdentityMap) {
    let pulled = |answer: &DynamicMessage| answer.get_field_by_name("image_ref")?.as_str().map(str::to_owned);
    if let Some((recorded, live)) = pulled(recorded).zip(pulled(live))
        && is_another_digest(&recorded, &live)
    {
        ids.bind_renamed(&recorded, &live);
    }
}

/// Whether the ids are two digests. Those that are none are made up in each run; two spellings are found to differ
/// anyway.
fn is_another_digest(id: &str, live: &str) -> bool {
    if id == live {
        return false;
    }
    let spelling = Spelling::of(id);
    spelling == Spelling::of(live) && matches!(spelling, Spelling::Digest | Spelling::Hexadecimal)
}

/// The digest in the name of an image, where it has one.
fn digest_of(name: &str) -> Option<&str> {
    name.split_once('@').map(|(_, digest)| digest)
}

/// Whether a name of a recorded image, or what it was mapped to, is among those of a live one.
pub(crate) fn is_among(name: &String, others: &[String], ids: &IdentityMap) -> bool {
    others.contains(name) || ids.mapped_reference(name).is_some_and(|live| others.iter().any(|it| it == live))
}

/// Which digest of an image stands for which, where one was mapped to the other: what a reference leads to may have another.
fn bind_digests(recorded: &[String], live: &[String], ids: &mut IdentityMap) {
    let repositories: Vec<(String, String)> = recorded
        .iter()
        .filter_map(|name| {
            Some((name, ids.mapped_reference(name).filter(|to| live.iter().any(|it| it == to))?))
        })
        .map(|(name, to)| (repository(name).to_owned(), repository(to).to_owned()))
        .collect();
    for name in recorded.iter().filter(|name| name.contains('@')) {
        if is_among(name, live, ids) {
            continue;
        }
        let Some((_, to)) = repositories.iter().find(|(from, _)| from == repository(name)) else { continue };
        if let Some(live) = live.iter().find(|live| live.contains('@') && repository(live) == to) {
            ids.map_reference(name, live);
        }
    }
}

/// The images of a list.
fn images(list: &DynamicMessage) -> Vec<Image> {
    let images = list.get_field_by_name("images").map(std::borrow::Cow::into_owned);
    let Some(Value::List(images)) = images else { return Vec::new() };
    images.iter().filter_map(Value::as_message).map(named).collect()
}

/// The image that a status is of.
fn image(status: &DynamicMessage) -> Option<Image> {
    let image = status.get_field_by_name("image").filter(|_| status.has_field_by_name("image"))?.into_owned();
    image.as_message().map(named)
}

fn named(image: &DynamicMessage) -> Image {
    let texts = |field: &str| -> Vec<String> {
        match image.get_field_by_name(field).as_deref() {
            Some(Value::List(items)) => {
                items.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
            }
            Some(Value::String(text)) => vec![text.clone()],
            _ => Vec::new(),
        }
    };
    let names = [texts("repo_tags"), texts("repo_digests")].concat();
    (texts("id").pop().unwrap_or_default(), names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use cri::{methods, v1};
    use critape_calls::{Resolution, decode};
    use critape_differ::{Comparer, Memory, NoTrajectories, Rules};
    use prost::Message;

    use super::*;

    fn id(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn message(rpc: &str, typed: &impl Message) -> (&'static Method, DynamicMessage) {
        let method = methods().by_name(cri::Generation::V1, rpc).unwrap();
        (method, decode(method.output(), &Bytes::from(typed.encode_to_vec())).unwrap())
    }

    /// Binds and compares; gives the paths of what was found.
    fn found(rpc: &str, recorded: &impl Message, live: &impl Message, ids: &mut IdentityMap) -> Vec<String> {
        let ((method, recorded), (_, live)) = (message(rpc, recorded), message(rpc, live));
        bind(method, Recorded(&recorded), Live(&live), ids);
        let (rules, memory) = (Rules::standard(), Memory::default());
        let compared = Comparer::new(&rules, ids, &memory).messages(
            method,
            Recorded(&recorded),
            Live(&live),
            &NoTrajectories,
        );
        compared.divergences.iter().map(|it| it.path.to_string()).collect()
    }

    #[test]
    fn an_image_of_the_same_content_has_the_same_id() {
        let image = |letter, digest: &str| v1::Image {
            id: id(letter),
            repo_tags: vec!["r.example/app:1".to_owned()],
            repo_digests: vec![format!("r.example/app@sha256:{digest}")],
            ..Default::default()
        };
        let list = |image| v1::ListImagesResponse { images: vec![image] };
        let status = |image| v1::ImageStatusResponse { image: Some(image), ..Default::default() };
        let pulled = |letter| v1::PullImageResponse { image_ref: id(letter) };
        let container = |letter| {
            let spec = v1::ImageSpec { image: id(letter), ..Default::default() };
            let status =
                v1::ContainerStatus { image: Some(spec), image_id: id(letter), ..Default::default() };
            v1::ContainerStatusResponse { status: Some(status), ..Default::default() }
        };
        let (none, mut ids): ([&str; 0], _) = ([], IdentityMap::default());
        let (one, other) = (image('a', "1"), image('b', "1"));
        assert_eq!(
            found("ImageStatus", &status(one.clone()), &status(other.clone()), &mut ids),
            ["image.id"]
        );
        assert_eq!(found("ListImages", &list(one.clone()), &list(other.clone()), &mut ids), ["images[].id"]);
        assert_eq!(found("PullImage", &pulled('a'), &pulled('b'), &mut ids), ["image_ref"]);
        assert_eq!(found("ContainerStatus", &container('a'), &container('b'), &mut ids), ["status.image_id"]);
        assert_eq!(
            ids.resolve(IdentityKind::Image, &id('a')),
            Resolution::Live(id('b')),
            "so it is asked for"
        );
        // A tag that leads to something else now.
        let mut ids = IdentityMap::default();
        let moved = image('b', "2");
        let at = found("ImageStatus", &status(one), &status(moved), &mut ids);
        assert!(!at.contains(&"image.id".to_owned()), "{at:?}");
        assert_eq!(found("ContainerStatus", &container('a'), &container('b'), &mut ids), none);
    }
}
