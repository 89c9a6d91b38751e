//! The places that a rule can be about: every field of every answer, in every generation of CRI.

use std::collections::BTreeSet;
use std::fmt;

use cri::methods;
use prost_reflect::{FieldDescriptor, Kind as FieldKind, MessageDescriptor};

use crate::Relation;

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

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    Text,
    Bytes,
    Flag,
    Whole,
    Fraction,
    Enum,
    Message,
    /// Not known, or no value at all.
    Anything,
}

impl Holds {
    fn of(field: &FieldDescriptor) -> Self {
        match field.kind() {
            FieldKind::String => Self::Text,
            FieldKind::Bytes => Self::Bytes,
            FieldKind::Bool => Self::Flag,
            FieldKind::Enum(_) => Self::Enum,
            FieldKind::Double | FieldKind::Float => Self::Fraction,
            FieldKind::Message(_) => Self::Message,
            _ => Self::Whole,
        }
    }

    /// Whether there are two different values of this kind that relate as asked.
    pub(super) fn is_for(self, relation: &Relation) -> bool {
        if matches!(relation, Relation::Ignore | Relation::Optional) {
            return true;
        }
        match self {
            Self::Anything => true,
            Self::Text => !matches!(relation, Relation::Counter | Relation::Port),
            Self::Bytes => *relation == Relation::Presence,
            Self::Flag => matches!(relation, Relation::OneOf(_)),
            Self::Enum => matches!(relation, Relation::OneOf(_) | Relation::Presence),
            Self::Fraction => matches!(
                relation,
                Relation::Presence | Relation::Counter | Relation::Range { .. } | Relation::Number(_)
            ),
            Self::Whole => matches!(
                relation,
                Relation::Presence
                    | Relation::Timestamp
                    | Relation::Sometime
                    | Relation::Counter
                    | Relation::Port
                    | Relation::Range { .. }
                    | Relation::Number(_)
                    | Relation::OneOf(_)
            ),
            Self::Message => false,
        }
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::Flag => "true or false",
            Self::Whole => "a whole number",
            Self::Fraction => "a fraction",
            Self::Enum => "the name of an enum's value",
            Self::Message => "a message, whose fields have paths of their own",
            Self::Anything => "anything",
        })
    }
}

/// A field of the answers of one RPC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The name of the RPC, as `StopContainer`.
    pub(super) method: String,
    pub(super) parts: Vec<Part>,
    pub(super) holds: Holds,
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
            let parts = pseudo.iter().map(|name| Part::Named((*name).to_owned())).collect();
            walk.place(parts, Holds::Anything);
        }
    }
    places
}

struct Walk<'a> {
    method: &'a str,
    places: &'a mut BTreeSet<Place>,
}

impl Walk<'_> {
    fn place(&mut self, parts: Vec<Part>, holds: Holds) {
        self.places.insert(Place { method: self.method.to_owned(), parts, holds });
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
                self.place(parts.clone(), Holds::Text);
                if JSON_MAPS.contains(&field.name()) {
                    parts.push(Part::Below);
                    self.place(parts, Holds::Anything);
                }
                continue;
            }
            self.place(parts.clone(), Holds::of(&field));
            if let FieldKind::Message(inner) = field.kind() {
                self.message(&inner, &parts, depth + 1);
            }
        }
    }
}
