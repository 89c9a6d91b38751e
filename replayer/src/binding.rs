//! Which live id stands for which recorded one, learnt from two answers to one request.

use cri::{IdentityKind, Method};
use critape_calls::{IdentityMap, Live, Recorded, Spelling, identities};
use prost_reflect::{DynamicMessage, Value};

use crate::images::repository;

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
    for (id, names) in recorded {
        let same = live.iter().find(|(_, others)| names.iter().any(|name| is_among(name, others, ids)));
        if let Some((live, others)) = same {
            ids.bind(IdentityKind::Image, id, live);
            bind_digests(names, others, ids);
        }
    }
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
