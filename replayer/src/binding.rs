//! Which live id stands for which recorded one, learnt from two answers to one request.

use cri::{IdentityKind, Method};
use critape_calls::{IdentityMap, Live, Recorded, Spelling, identities};
use prost_reflect::{DynamicMessage, Value};

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
    if method.name == "ListImages" {
        bind_images(recorded.0, live.0, ids);
    }
}

/// Images that share a tag or a digest are one.
fn bind_images(recorded: &DynamicMessage, live: &DynamicMessage, ids: &mut IdentityMap) {
    let live: Vec<(String, Vec<String>)> = images(live);
    for (id, names) in images(recorded) {
        let same = live.iter().find(|(_, others)| names.iter().any(|name| others.contains(name)));
        if let Some((live, _)) = same {
            ids.bind(IdentityKind::Image, &id, live);
        }
    }
}

fn images(list: &DynamicMessage) -> Vec<(String, Vec<String>)> {
    let images = list.get_field_by_name("images").map(std::borrow::Cow::into_owned);
    let Some(Value::List(images)) = images else { return Vec::new() };
    images
        .iter()
        .filter_map(Value::as_message)
        .map(|image| {
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
        })
        .collect()
}
