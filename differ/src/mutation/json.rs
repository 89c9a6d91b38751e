//! JSON in texts, changed in one place.

use serde_json::{Map, Number, Value};

use super::{Change, Mutant, NEW_KEY, values};
use crate::Path;
use crate::comparing::json::document;

/// Hands out every mutant of the document that a text is, if it is one.
pub(super) fn of_text(text: &str, at: &Path, take: &mut dyn FnMut(Mutant<String>)) {
    if let Some(document) = document(text) {
        of_value(&document, at, &mut |it| take(it.within(|value| value.to_string())));
    }
}

fn of_value(value: &Value, at: &Path, take: &mut dyn FnMut(Mutant<Value>)) {
    match value {
        Value::Object(entries) => of_object(entries, at, take),
        Value::Array(items) => of_array(items, &at.each(), take),
        leaf => {
            for (change, value) in leaves(leaf) {
                take(Mutant { value, path: at.clone(), change, message: None });
            }
        }
    }
}

fn of_object(entries: &Map<String, Value>, at: &Path, take: &mut dyn FnMut(Mutant<Value>)) {
    for (key, value) in entries {
        let path = at.field(key);
        let mut left = entries.clone();
        left.remove(key);
        let change = Change::Removed;
        take(Mutant { value: Value::Object(left), path: path.clone(), change, message: None });
        of_value(value, &path, &mut |it| {
            take(it.within(|value| {
                let mut entries = entries.clone();
                entries.insert(key.clone(), value);
                Value::Object(entries)
            }));
        });
    }
    let mut more = entries.clone();
    more.insert(NEW_KEY.to_owned(), Value::from(NEW_KEY));
    let path = at.field(NEW_KEY);
    take(Mutant { value: Value::Object(more), path, change: Change::Added, message: None });
}

fn of_array(items: &[Value], at: &Path, take: &mut dyn FnMut(Mutant<Value>)) {
    for (change, items) in values::rearranged(items, Value::from(NEW_KEY)) {
        take(Mutant { value: Value::Array(items), path: at.clone(), change, message: None });
    }
    for (index, item) in items.iter().enumerate() {
        of_value(item, at, &mut |it| {
            take(it.within(|item| {
                let mut items = items.to_vec();
                items[index] = item;
                Value::Array(items)
            }));
        });
    }
}

fn leaves(leaf: &Value) -> Vec<(Change, Value)> {
    match leaf {
        Value::Null => vec![(Change::Added, Value::from(NEW_KEY))],
        Value::Bool(value) => vec![(Change::Flipped, Value::Bool(!value))],
        Value::String(text) => texts(text),
        Value::Number(number) => numbers(number),
        Value::Array(_) | Value::Object(_) => Vec::new(),
    }
}

fn texts(text: &str) -> Vec<(Change, Value)> {
    values::texts(text).into_iter().map(|(change, text)| (change, Value::String(text))).collect()
}

fn numbers(number: &Number) -> Vec<(Change, Value)> {
    if let Some(value) = number.as_i64() {
        let others = [
            (Change::Raised, value.saturating_add(1)),
            (Change::Lowered, value.saturating_sub(1)),
            (Change::Absurd, -1 - value),
            (Change::Emptied, 0),
        ];
        return others
            .into_iter()
            .filter(|(_, other)| *other != value)
            .map(|(change, other)| (change, Value::from(other)))
            .collect();
    }
    let value = number.as_f64().unwrap_or_default();
    values::fractions(value).into_iter().map(|(change, other)| (change, Value::from(other))).collect()
}
