//! An image that a user mapped to another one: what only says that it is another is no difference of runtimes.

use bytes::Bytes;
use cri::{Method, v1};
use critape_calls::{Call, IdentityMap, merged};
use critape_differ::Compared;
use prost::Message as _;
use serde_json::Value;

use crate::sending::answer::Answer;
use crate::states::binding::is_among;

/// Under which such differences are counted.
const RULE: &str = "mapped-image";
/// What follows from an image's content.
const OF_CONTENT: [&str; 4] = ["size", "uid", "username", "spec"];

/// Lets pass what differs because a mapped image has other content than the recorded one.
pub(crate) fn let_pass(
    call: &Call,
    method: &Method,
    answer: &Answer,
    ids: &IdentityMap,
    compared: &mut Compared,
) {
    let Some(recorded) = merged(call).filter(|_| !compared.divergences.is_empty()) else { return };
    let pairs = pairs(&images(method, &recorded), &images(method, &answer.message), ids);
    if pairs.is_empty() {
        return;
    }
    let before = compared.divergences.len();
    compared.divergences.retain(|divergence| {
        let values = (text(&divergence.recorded), text(&divergence.live));
        match divergence.path.segments() {
            // Of a list, the values tell whose they are.
            [_, field, ..] if OF_CONTENT.contains(&field.as_str()) => {
                !pairs.iter().flatten().any(|it| *it == values)
            }
            [first, ..] => !(first == "info" && method.name == "ImageStatus"),
            [] => true,
        }
    });
    for _ in compared.divergences.len()..before {
        compared.merge(Compared::explained(RULE));
    }
}

/// What two images say of their content, where one was mapped to the other and they are not the same.
fn pairs(recorded: &[v1::Image], live: &[v1::Image], ids: &IdentityMap) -> Vec<Vec<(String, String)>> {
    let names = |image: &v1::Image| [image.repo_tags.clone(), image.repo_digests.clone()].concat();
    let mut pairs = Vec::new();
    for before in recorded {
        let mapped =
            names(before).into_iter().filter(|name| ids.mapped_reference(name).is_some()).collect::<Vec<_>>();
        let now = live.iter().find(|now| mapped.iter().any(|name| is_among(name, &names(now), ids)));
        if let Some(now) = now.filter(|now| now.id != before.id) {
            pairs.push(content(before).into_iter().zip(content(now)).collect());
        }
    }
    pairs
}

fn content(image: &v1::Image) -> [String; 3] {
    let uid = image.uid.map(|uid| uid.value.to_string()).unwrap_or_default();
    [image.size.to_string(), uid, image.username.clone()]
}

fn images(method: &Method, answer: &Bytes) -> Vec<v1::Image> {
    match method.name.as_str() {
        "ListImages" => {
            v1::ListImagesResponse::decode(answer.as_ref()).map(|list| list.images).unwrap_or_default()
        }
        "ImageStatus" => {
            let status = v1::ImageStatusResponse::decode(answer.as_ref()).ok();
            status.and_then(|status| status.image).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// A value as reports show it, without what is around it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields.get("value").map(text).unwrap_or_default(),
        other => other.to_string(),
    }
}
