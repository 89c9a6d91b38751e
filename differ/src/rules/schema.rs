//! The places that a rule can be about: every field of every answer, in every generation of CRI.

use std::collections::BTreeSet;

use cri::methods;
use prost_reflect::{Kind as FieldKind, MessageDescriptor};

/// How deep messages are followed; CRI's own are less deep.
const MAX_DEPTH: usize = 16;
/// Where `info` maps of answers are, below which there may be any JSON.
const JSON_MAPS: [&str; 1] = ["info"];

/// One part of a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// A field, or what is compared as if it were one.
    Named(String),
    /// The key of a map, which may be anything.
    Key,
    /// Anything below, at any depth.
    Below,
}

/// A field of the answers of one RPC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The name of the RPC, as `StopContainer`.
    pub(super) method: String,
    pub(super) parts: Vec<Part>,
}

/// All places, those of one name once.
pub(super) fn places() -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for method in methods().iter() {
        let mut walk = Walk { method: &method.name, places: &mut places };
        // A streamed list is compared as the list: its own fields are none.
        if method.list().is_none() {
            walk.message(&method.output(), &[], 0);
        }
        for pseudo in [
            &["outcome", "code"][..],
            &["outcome", "message"],
            &["outcome", "details[]"],
            &["events"],
            &["duration"],
        ] {
            walk.place(pseudo.iter().map(|name| Part::Named((*name).to_owned())).collect());
        }
    }
    places
}

struct Walk<'a> {
    method: &'a str,
    places: &'a mut BTreeSet<Place>,
}

impl Walk<'_> {
    fn place(&mut self, parts: Vec<Part>) {
        self.places.insert(Place { method: self.method.to_owned(), parts });
    }

    fn message(&mut self, message: &MessageDescriptor, above: &[Part], depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        for field in message.fields() {
            let name = if field.is_list() { format!("{}[]", field.name()) } else { field.name().to_owned() };
            let mut parts = above.to_vec();
            parts.push(Part::Named(name));
            if field.is_map() {
                parts.push(Part::Key);
                self.place(parts.clone());
                if JSON_MAPS.contains(&field.name()) {
                    parts.push(Part::Below);
                    self.place(parts);
                }
                continue;
            }
            self.place(parts.clone());
            if let FieldKind::Message(inner) = field.kind() {
                self.message(&inner, &parts, depth + 1);
            }
        }
    }
}
