//! The form of a JSON document: its names and types, without its values.

use serde_json::{Map, Value};

/// Every name, and for every value its type. The elements of a list are one, and have what any of them has.
pub fn shape(value: &Value) -> String {
    serde_json::to_string_pretty(&form(value)).unwrap()
}

fn form(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_u64() || number.is_i64() => "integer".into(),
        Value::Number(_) => "number".into(),
        Value::String(text) if is_time(text) => "time".into(),
        Value::String(_) => "string".into(),
        Value::Array(elements) => Value::Array(elements.iter().map(form).reduce(both).into_iter().collect()),
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), form(value))).collect(),
    }
}

/// RFC 3339 in UTC with nanoseconds.
fn is_time(text: &str) -> bool {
    const FORM: &str = "0000-00-00T00:00:00.000000000Z";
    text.len() == FORM.len()
        && text.bytes().zip(FORM.bytes()).all(
            |(is, form)| {
                if form == b'0' { is.is_ascii_digit() } else { is == form }
            },
        )
}

fn both(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut all: Map<String, Value> = one;
            for (name, form) in other {
                let merged = match all.remove(&name) {
                    Some(known) => both(known, form),
                    None => form,
                };
                all.insert(name, merged);
            }
            Value::Object(all)
        }
        (Value::Array(one), Value::Array(other)) => {
            Value::Array(one.into_iter().chain(other).reduce(both).into_iter().collect())
        }
        (one, other) if one == other => one,
        (Value::String(one), Value::String(other)) if one.split(" or ").any(|it| it == other) => one.into(),
        (Value::String(one), Value::String(other)) => format!("{one} or {other}").into(),
        (one, other) => format!("{one} or {other}").into(),
    }
}
