//! Parameters of a resource: where they stand in the request line, and how they are written.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::resources::ParameterRow;

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the path, percent-encoded.
    Path,
    /// After the question mark.
    Query,
}

/// How a parameter is written. It follows from the type of its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text but the empty one, which would mean that the field is not set.
    Text,
    /// `true`, `false`, or nothing for true.
    Flag,
    /// One of these words.
    Choice(Vec<Choice>),
    /// `key=value` or `key==value` pairs separated by commas.
    Labels,
}

/// One word of [`Form::Choice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As it is written in the parameter.
    pub word: String,
    /// The name of the enum's value.
    pub value: String,
}

/// One parameter, and the field of the request that it fills.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// How it is written.
    pub form: Form,
    /// The proto names of the fields that lead to the one it fills, from the request's root.
    pub field: Vec<&'static str>,
    /// What it is for, in Markdown.
    pub description: &'static str,
}

impl Parameter {
    /// The parameter of this row, or `None` where the request has no such field, or one that can't be written as text.
    pub(crate) fn of(row: &'static ParameterRow, request: &MessageDescriptor) -> Option<Self> {
        let field: Vec<_> = row.field.split('.').collect();
        let form = form(&resolve(&field, request)?)?;
        Some(Self { name: row.name, place: row.place, form, field, description: row.description })
    }
}

fn resolve(names: &[&str], message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let (first, rest) = names.split_first()?;
    let field = message.get_field_by_name(first)?;
    if rest.is_empty() { Some(field) } else { resolve(rest, field.kind().as_message()?) }
}

fn form(field: &FieldDescriptor) -> Option<Form> {
    if field.is_map() {
        return Some(Form::Labels);
    }
    match field.kind() {
        _ if field.is_list() => None,
        Kind::String => Some(Form::Text),
        Kind::Bool => Some(Form::Flag),
        Kind::Enum(kind) => Some(Form::Choice(choices(&kind))),
        _ => None,
    }
}

/// The names of the values as JSON has them, and before each its short form: `ready` for `SANDBOX_READY`.
fn choices(kind: &EnumDescriptor) -> Vec<Choice> {
    let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
    let prefix = shared_prefix(&names);
    let mut words = BTreeMap::new();
    for name in names {
        words.insert(name[prefix..].to_lowercase(), name.clone());
        words.insert(name.clone(), name);
    }
    words.into_iter().map(|(word, value)| Choice { word, value }).collect()
}

/// The length of what all names begin with, up to an underscore.
fn shared_prefix(names: &[String]) -> usize {
    let Some(first) = names.first() else { return 0 };
    first
        .match_indices('_')
        .map(|(at, _)| at + 1)
        .filter(|length| names.iter().all(|name| name.starts_with(&first[..*length])))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_short_or_as_in_json() {
        let kind = cri::pool().get_enum_by_name("runtime.v1.PodSandboxState").unwrap();
        let words: Vec<_> = choices(&kind).into_iter().map(|choice| (choice.word, choice.value)).collect();
        let pair = |word: &str, value: &str| (word.to_owned(), value.to_owned());
        assert_eq!(
            words,
            [
                pair("SANDBOX_NOTREADY", "SANDBOX_NOTREADY"),
                pair("SANDBOX_READY", "SANDBOX_READY"),
                pair("notready", "SANDBOX_NOTREADY"),
                pair("ready", "SANDBOX_READY"),
            ]
        );
    }

    #[test]
    fn names_that_share_nothing_are_only_lowered() {
        assert_eq!(shared_prefix(&["TCP".into(), "UDP".into()]), 0);
        assert_eq!(shared_prefix(&["A_B_C".into(), "A_B_D".into()]), 4);
        assert_eq!(shared_prefix(&[]), 0);
    }
}
