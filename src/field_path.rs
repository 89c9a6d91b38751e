//! Names of fields inside a message: `containers[].metadata.name`, as reports and data files write them.

use std::fmt;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use thiserror::Error;

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A field of the message, by its proto name.
    Field(String),
    /// Every element of the list before it: `[]`.
    Each,
    /// Every value of the map before it: `{}`.
    EachValue,
}

/// What stands at the end of a [`FieldPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// A string.
    Text,
    /// Bytes.
    Bytes,
    /// Any other scalar.
    Scalar,
    /// A message, a list or a map.
    Composite,
}

/// The name of a field, from a message's root: proto field names joined by dots, `[]` after a list, `{}` after a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath {
    steps: Vec<Step>,
    text: String,
    leaf: Leaf,
}

/// Why a path does not name a field.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// The message has no such field.
    #[error("{message} has no field {field}")]
    NoField {
        /// Full name of the message.
        message: String,
        /// The name that was not found.
        field: String,
    },
    /// `[]` after something that is no list, `{}` after something that is no map, or neither after one that is.
    #[error("{0} is written with the wrong brackets: [] marks a list, {{}} a map")]
    Brackets(String),
    /// A step into something that has no fields.
    #[error("{0} has no fields")]
    NoMessage(String),
}

impl FieldPath {
    /// Reads `text` as a path from the root of `message`.
    pub fn parse(text: &str, message: &MessageDescriptor) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        let mut at = Some(message.clone());
        let mut leaf = Leaf::Composite;
        for part in text.split('.') {
            let (name, suffix) = match (part.strip_suffix("[]"), part.strip_suffix("{}")) {
                (Some(name), _) => (name, Some(Step::Each)),
                (_, Some(name)) => (name, Some(Step::EachValue)),
                _ => (part, None),
            };
            let parent = at.ok_or_else(|| PathError::NoMessage(text.to_owned()))?;
            let field = parent.get_field_by_name(name).ok_or_else(|| PathError::NoField {
                message: parent.full_name().to_owned(),
                field: name.to_owned(),
            })?;
            steps.push(Step::Field(name.to_owned()));
            let kind =
                element_kind(&field, suffix.as_ref()).ok_or_else(|| PathError::Brackets(text.to_owned()))?;
            steps.extend(suffix);
            leaf = leaf_of(&kind);
            at = kind.as_message().cloned();
        }
        Ok(Self { steps, text: text.to_owned(), leaf })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The steps, from the root.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What stands at its end.
    pub fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// Every string at this path that is not empty.
    pub fn texts(&self, message: &DynamicMessage) -> Vec<String> {
        let mut found = Vec::new();
        walk(message, &self.steps, &mut |value| {
            if let Some(text) = value.as_str()
                && !text.is_empty()
            {
                found.push(text.to_owned());
            }
        });
        found
    }

    /// Lets `change` rewrite every string at this path that is not empty; `None` leaves it as it is.
    pub fn rewrite(&self, message: &mut DynamicMessage, change: &mut dyn FnMut(&str) -> Option<String>) {
        walk_mut(message, &self.steps, &mut |value| {
            let changed = value.as_str().filter(|text| !text.is_empty()).and_then(&mut *change);
            if let Some(changed) = changed {
                *value = Value::String(changed);
            }
        });
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The kind behind the brackets, or `None` where the brackets don't fit the field. The last step may leave brackets out:
/// then the list or map as a whole is meant.
fn element_kind(field: &FieldDescriptor, suffix: Option<&Step>) -> Option<Kind> {
    match suffix {
        Some(Step::Each) => field.is_list().then(|| field.kind()),
        Some(Step::EachValue) => {
            let entry = field.is_map().then(|| field.kind())?;
            Some(entry.as_message()?.map_entry_value_field().kind())
        }
        _ => (!field.is_list() && !field.is_map()).then(|| field.kind()),
    }
}

fn leaf_of(kind: &Kind) -> Leaf {
    match kind {
        Kind::String => Leaf::Text,
        Kind::Bytes => Leaf::Bytes,
        Kind::Message(_) => Leaf::Composite,
        _ => Leaf::Scalar,
    }
}

fn walk(message: &DynamicMessage, steps: &[Step], visit: &mut dyn FnMut(&Value)) {
    let Some((Step::Field(name), rest)) = steps.split_first() else { return };
    let Some(field) = message.descriptor().get_field_by_name(name) else { return };
    if message.has_field(&field) {
        walk_value(&message.get_field(&field), rest, visit);
    }
}

fn walk_value(value: &Value, steps: &[Step], visit: &mut dyn FnMut(&Value)) {
    match (value, steps.first()) {
        (value, None) => visit(value),
        (Value::List(items), Some(Step::Each)) => {
            items.iter().for_each(|item| walk_value(item, &steps[1..], visit));
        }
        (Value::Map(entries), Some(Step::EachValue)) => {
            let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
            entries.sort_by_key(|a| map_key_text(a.0));
            entries.into_iter().for_each(|(_, value)| walk_value(value, &steps[1..], visit));
        }
        (Value::Message(message), Some(Step::Field(_))) => walk(message, steps, visit),
        _ => {}
    }
}

fn walk_mut(message: &mut DynamicMessage, steps: &[Step], visit: &mut dyn FnMut(&mut Value)) {
    let Some((Step::Field(name), rest)) = steps.split_first() else { return };
    let Some(field) = message.descriptor().get_field_by_name(name) else { return };
    if message.has_field(&field) {
        walk_value_mut(message.get_field_mut(&field), rest, visit);
    }
}

fn walk_value_mut(value: &mut Value, steps: &[Step], visit: &mut dyn FnMut(&mut Value)) {
    match (value, steps.first()) {
        (value, None) => visit(value),
        (Value::List(items), Some(Step::Each)) => {
            items.iter_mut().for_each(|item| walk_value_mut(item, &steps[1..], visit));
        }
        (Value::Map(entries), Some(Step::EachValue)) => {
            entries.values_mut().for_each(|value| walk_value_mut(value, &steps[1..], visit));
        }
        (Value::Message(message), Some(Step::Field(_))) => walk_mut(message, steps, visit),
        _ => {}
    }
}

/// The text of a map key, as it stands in JSON.
pub(crate) fn map_key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
        MapKey::String(value) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, methods};
    use prost::Message as _;

    fn output(name: &str) -> MessageDescriptor {
        methods().by_name(Generation::V1, name).unwrap().output()
    }

    #[test]
    fn paths_are_checked_against_the_schema() {
        let list = output("ListContainers");
        assert!(FieldPath::parse("containers[].metadata.name", &list).is_ok());
        assert!(FieldPath::parse("containers[].labels{}", &list).is_ok());
        assert!(matches!(FieldPath::parse("containers[].nmae", &list), Err(PathError::NoField { .. })));
        assert!(matches!(FieldPath::parse("containers.id", &list), Err(PathError::Brackets(_))));
        assert!(matches!(FieldPath::parse("containers[].id.x", &list), Err(PathError::NoMessage(_))));
    }

    #[test]
    fn strings_are_found_and_rewritten() {
        let typed = crate::v1::ListContainersResponse {
            containers: ["a", "b"]
                .map(|id| crate::v1::Container { id: id.into(), ..Default::default() })
                .to_vec(),
        };
        let list = output("ListContainers");
        let mut message = DynamicMessage::decode(list.clone(), typed.encode_to_vec().as_slice()).unwrap();
        let path = FieldPath::parse("containers[].id", &list).unwrap();
        assert_eq!(path.texts(&message), ["a", "b"]);
        path.rewrite(&mut message, &mut |id| (id == "b").then(|| "c".to_owned()));
        assert_eq!(path.texts(&message), ["a", "c"]);
    }
}
