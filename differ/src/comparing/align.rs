//! Which element of one list is which of another.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use serde_json::Value as Json;

use crate::ListRule;

/// How two lists fit: pairs by index, and what is left on each side.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Alignment {
    pub(crate) pairs: Vec<(usize, usize)>,
    pub(crate) recorded_only: Vec<usize>,
    pub(crate) live_only: Vec<usize>,
}

impl Alignment {
    /// Whether paired elements stand in the same order on both sides.
    pub(crate) fn in_order(&self) -> bool {
        let mut pairs = self.pairs.clone();
        pairs.sort_unstable();
        pairs.is_sorted_by_key(|(_, live)| *live)
    }
}

/// What lists are made of, as far as keys are concerned.
pub(crate) trait Element {
    /// The text of a field, which may lie deeper; `.` is the element itself.
    fn part(&self, field: &str) -> String;
}

impl Element for Value {
    fn part(&self, field: &str) -> String {
        part_of(field, self)
    }
}

impl Element for Json {
    fn part(&self, field: &str) -> String {
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match field {
            "." => text(self),
            _ => field.split('.').try_fold(self, |value, name| value.get(name)).map(text).unwrap_or_default(),
        }
    }
}

/// Aligns by the rule's keys; `normal` puts text of the live side into the recording's terms. Without keys, equal elements find
/// each other by place.
pub(crate) fn align<E: Element>(
    rule: Option<&ListRule>,
    recorded: &[E],
    live: &[E],
    normal: &dyn Fn(&str) -> String,
) -> Alignment {
    let keys = rule.map_or(&[][..], |rule| rule.keys.as_slice());
    if keys.is_empty() {
        return by_place(recorded.len(), live.len());
    }
    let mut alignment = Alignment {
        pairs: Vec::new(),
        recorded_only: (0..recorded.len()).collect(),
        live_only: (0..live.len()).collect(),
    };
    let same = |text: &str| text.to_owned();
    for key in keys {
        let recorded_keys = keyed(key, recorded, &alignment.recorded_only, &same);
        let live_keys = keyed(key, live, &alignment.live_only, normal);
        let mut waiting: HashMap<&Vec<String>, Vec<usize>> = HashMap::new();
        for (index, key) in live_keys.iter().rev() {
            waiting.entry(key).or_default().push(*index);
        }
        for (index, key) in &recorded_keys {
            if let Some(partner) = waiting.get_mut(key).and_then(Vec::pop) {
                alignment.pairs.push((*index, partner));
            }
        }
        let Alignment { pairs, recorded_only, live_only } = &mut alignment;
        recorded_only.retain(|index| !pairs.iter().any(|(recorded, _)| recorded == index));
        live_only.retain(|index| !pairs.iter().any(|(_, live)| live == index));
    }
    alignment.pairs.sort_unstable();
    alignment
}

fn by_place(recorded: usize, live: usize) -> Alignment {
    let common = recorded.min(live);
    Alignment {
        pairs: (0..common).map(|index| (index, index)).collect(),
        recorded_only: (common..recorded).collect(),
        live_only: (common..live).collect(),
    }
}

fn keyed<E: Element>(
    key: &[String],
    elements: &[E],
    indices: &[usize],
    normal: &dyn Fn(&str) -> String,
) -> Vec<(usize, Vec<String>)> {
    indices.iter().filter_map(|index| Some((*index, key_of(key, elements.get(*index)?, normal)?))).collect()
}

/// The key of an element; `None` where all its parts are empty, which tells nothing apart.
pub(crate) fn key_of(
    key: &[String],
    element: &impl Element,
    normal: &dyn Fn(&str) -> String,
) -> Option<Vec<String>> {
    let parts: Vec<String> = key.iter().map(|field| normal(&element.part(field))).collect();
    // The element itself may be empty and still be itself.
    let told =
        key.iter().any(|field| field == "." || field == "name") || parts.iter().any(|part| !part.is_empty());
    told.then_some(parts)
}

fn part_of(field: &str, element: &Value) -> String {
    if field == "." {
        return scalar_text(element);
    }
    let (head, tail) = field.split_once('.').unwrap_or((field, ""));
    let Value::Message(message) = element else { return String::new() };
    let Some(value) = field_value(message, head.trim_end_matches("[]")) else { return String::new() };
    match value {
        Value::List(items) => {
            let mut texts: Vec<String> = items.iter().map(scalar_text).collect();
            texts.sort();
            texts.join("\u{0}")
        }
        value if tail.is_empty() => scalar_text(&value),
        value => part_of(tail, &value),
    }
}

fn field_value(message: &DynamicMessage, name: &str) -> Option<Value> {
    let field = message.descriptor().get_field_by_name(name)?;
    Some(message.get_field(&field).into_owned())
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::I32(value) | Value::EnumNumber(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
