//! Which fields are sealed: `leaves.toml`, bound to the descriptors of every generation.

use std::collections::HashMap;
use std::sync::LazyLock;

use cri::{FieldPath, generations, pool};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::Deserialize;

use super::SealPolicy;

const ROWS: &str = include_str!("leaves.toml");

/// What of a leaf's content is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Seals {
    /// All of it.
    All,
    /// Known secrets, and credentials in URLs.
    Text,
    /// The last part of a URL.
    Token,
    /// What stands before the registry of an image.
    Userinfo,
}

/// What a request lacks where a leaf of it is sealed and the key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lacks {
    Command,
    Credentials,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum At {
    #[default]
    Default,
    Strict,
}

/// A field that carries secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) seals: Seals,
    pub(crate) learn: bool,
    pub(crate) needed: Option<Lacks>,
    at: At,
}

impl Leaf {
    /// Whether this policy seals it.
    pub(crate) fn is_sealed_by(self, policy: SealPolicy) -> bool {
        match self.at {
            At::Default => policy >= SealPolicy::Default,
            At::Strict => policy >= SealPolicy::Strict,
        }
    }
}

/// A field of a message, as far as sealing needs to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// A message, by the number of its shape.
    Message(usize),
    /// A field of the data file.
    Leaf(Leaf),
    /// Another string, or bytes.
    Plain,
    /// A number.
    Scalar,
}

/// The messages of all generations.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// Of each message its fields, in the order of their numbers.
    fields: Vec<Vec<(u32, Field)>>,
    by_name: HashMap<String, usize>,
    secret_headers: Vec<String>,
    protocol_headers: Vec<String>,
}

impl Shapes {
    pub(crate) fn by_name(&self, full_name: &str) -> Option<usize> {
        self.by_name.get(full_name).copied()
    }

    /// `None` where the message has no such field.
    pub(crate) fn field(&self, shape: usize, number: u32) -> Option<Field> {
        let fields = self.fields.get(shape)?;
        // Most messages number theirs from 1 on without a gap.
        let usual = fields.get((number as usize).wrapping_sub(1)).filter(|field| field.0 == number);
        let found = usual.or_else(|| {
            fields.binary_search_by_key(&number, |field| field.0).ok().map(|index| &fields[index])
        });
        found.map(|field| field.1)
    }

    /// Whether a header of this name is a secret.
    pub(crate) fn is_secret_header(&self, name: &[u8]) -> bool {
        self.secret_headers.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
    }

    /// Whether a header of this name belongs to the protocol and says nothing else.
    pub(crate) fn is_protocol_header(&self, name: &[u8]) -> bool {
        self.protocol_headers.iter().any(|plain| name.eq_ignore_ascii_case(plain.as_bytes()))
    }

    fn add(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(shape) = self.by_name(message.full_name()) {
            return shape;
        }
        let shape = self.fields.len();
        self.fields.push(Vec::new());
        self.by_name.insert(message.full_name().to_owned(), shape);
        for field in message.fields() {
            let known = match field.kind() {
                // The entries of a map are messages too.
                Kind::Message(inner) => Field::Message(self.add(&inner)),
                Kind::String | Kind::Bytes => Field::Plain,
                _ => Field::Scalar,
            };
            self.put(shape, field.number(), known);
        }
        shape
    }

    fn put(&mut self, shape: usize, number: u32, known: Field) {
        let fields = &mut self.fields[shape];
        match fields.binary_search_by_key(&number, |field| field.0) {
            Ok(index) => fields[index].1 = known,
            Err(index) => fields.insert(index, (number, known)),
        }
    }

    fn mark(&mut self, message: &str, field: &FieldDescriptor, leaf: Leaf) {
        let entry = field.kind().as_message().filter(|_| field.is_map()).cloned();
        let (message, number) = match &entry {
            Some(entry) => (entry.full_name(), entry.map_entry_value_field().number()),
            None => (message, field.number()),
        };
        if let Some(shape) = self.by_name(message) {
            self.put(shape, number, Field::Leaf(leaf));
        }
    }
}

/// All messages with their leaves, built once.
pub(crate) fn shapes() -> &'static Shapes {
    static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
        // A test reads the file.
        build(toml::from_str(ROWS).unwrap_or_default())
    });
    &SHAPES
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    leaf: Vec<Row>,
    headers: Headers,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    path: String,
    seals: Seals,
    #[serde(default)]
    at: At,
    #[serde(default)]
    learn: bool,
    needed: Option<Lacks>,
    #[allow(dead_code)]
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Headers {
    secret: Vec<String>,
    protocol: Vec<String>,
}

impl Row {
    /// The field in this generation; `None` where that one lacks it.
    fn field(&self, package: &str) -> Option<(String, FieldDescriptor)> {
        let (message, path) = self.path.split_once('.')?;
        let message = pool().get_message_by_name(&format!("{package}.{message}"))?;
        FieldPath::parse(path, &message).ok()?;
        let field = message.get_field_by_name(path.trim_end_matches(['[', ']', '{', '}']))?;
        Some((message.full_name().to_owned(), field))
    }

    fn leaf(&self) -> Leaf {
        Leaf { seals: self.seals, learn: self.learn, needed: self.needed, at: self.at }
    }
}

fn build(rows: Rows) -> Shapes {
    let mut shapes = Shapes::default();
    for message in pool().all_messages() {
        shapes.add(&message);
    }
    for generation in generations() {
        for row in &rows.leaf {
            if let Some((message, field)) = row.field(generation.package()) {
                shapes.mark(&message, &field, row.leaf());
            }
        }
    }
    shapes.secret_headers = rows.headers.secret;
    shapes.protocol_headers = rows.headers.protocol;
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::Leaf as Ending;

    fn rows() -> Rows {
        toml::from_str(ROWS).unwrap()
    }

    #[test]
    fn every_row_is_a_string_or_bytes_of_v1_and_says_why() {
        for row in rows().leaf {
            let (message, path) = row.path.split_once('.').unwrap();
            let message = pool().get_message_by_name(&format!("runtime.v1.{message}")).unwrap();
            let parsed =
                FieldPath::parse(path, &message).unwrap_or_else(|error| panic!("{}: {error}", row.path));
            assert!(matches!(parsed.leaf(), Ending::Text | Ending::Bytes), "{}", row.path);
            assert!(!row.reason.is_empty(), "{}", row.path);
        }
    }

    /// Every field of every generation for which `wanted` holds is sealed by this policy.
    fn all_sealed(policy: SealPolicy, wanted: impl Fn(&FieldDescriptor) -> bool) -> usize {
        let mut found = 0;
        for message in pool().all_messages().filter(|message| !message.is_map_entry()) {
            if !generations().iter().any(|generation| message.package_name() == generation.package()) {
                continue;
            }
            for field in message.fields().filter(|field| wanted(field)) {
                let entry = field.kind().as_message().filter(|_| field.is_map()).cloned();
                let (owner, number) = entry
                    .map_or((message.full_name().to_owned(), field.number()), |entry| {
                        (entry.full_name().to_owned(), 2)
                    });
                let known = shapes().field(shapes().by_name(&owner).unwrap(), number);
                let sealed = matches!(known, Some(Field::Leaf(leaf)) if leaf.is_sealed_by(policy));
                assert!(sealed, "{}", field.full_name());
                found += 1;
            }
        }
        found
    }

    #[test]
    fn every_field_that_the_schema_marks_is_sealed() {
        // `debug_redact` is field 16 of google.protobuf.FieldOptions.
        let marked = |field: &FieldDescriptor| {
            field.options().get_field_by_number(16).is_some_and(|value| value.as_bool() == Some(true))
        };
        assert_eq!(all_sealed(SealPolicy::Default, marked), 12);
    }

    #[test]
    fn fields_with_telling_names_are_sealed() {
        let named = |names: &'static [&str]| move |field: &FieldDescriptor| names.contains(&field.name());
        let scalar = |field: &FieldDescriptor| matches!(field.kind(), Kind::Bool);
        let default =
            ["info", "cmd", "command", "args", "stdout", "stderr", "url", "credential_spec", "password"];
        let leaked = |field: &FieldDescriptor| default.contains(&field.name()) && !scalar(field);
        assert!(all_sealed(SealPolicy::Default, leaked) > 30);
        assert!(all_sealed(SealPolicy::Strict, named(&["labels", "annotations", "label_selector"])) > 40);
    }

    #[test]
    fn the_policies_include_one_another() {
        let leaf = |at| Leaf { seals: Seals::All, learn: false, needed: None, at };
        let sealed = |at| {
            [SealPolicy::None, SealPolicy::Default, SealPolicy::Strict]
                .map(|policy| leaf(at).is_sealed_by(policy))
        };
        assert_eq!(sealed(At::Default), [false, true, true]);
        assert_eq!(sealed(At::Strict), [false, false, true]);
    }
}
