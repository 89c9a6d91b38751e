//! Which part of a JSON document keeps it from being a message.

use cri::json::from_value;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

/// The JSON pointer (RFC 6901) to the innermost part that is wrong; empty where it is the whole. Every part is tried by
/// itself, so this is for documents that are known to be wrong.
pub(crate) fn pointer(message: &MessageDescriptor, value: &Value) -> String {
    let Value::Object(fields) = value else { return String::new() };
    let wrong = fields.iter().find(|(name, value)| !fits(message, name, (*value).clone()));
    let Some((name, value)) = wrong else { return String::new() };
    let known = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
    format!(
        "/{}{}",
        escaped(name),
        known.map_or_else(String::new, |field| inside(message, &field, name, value))
    )
}

/// Whether the message takes this value for the field of this name.
fn fits(message: &MessageDescriptor, name: &str, value: Value) -> bool {
    let alone = Map::from_iter([(name.to_owned(), value)]);
    from_value(message, Value::Object(alone)).is_ok()
}

/// The way from a field to what is wrong in it.
fn inside(message: &MessageDescriptor, field: &FieldDescriptor, name: &str, value: &Value) -> String {
    match value {
        Value::Array(items) if field.is_list() => {
            let wrong = items
                .iter()
                .enumerate()
                .find(|(_, item)| !fits(message, name, Value::Array(vec![(*item).clone()])));
            wrong.map_or_else(String::new, |(at, item)| format!("/{at}{}", deeper(&field.kind(), item)))
        }
        Value::Object(entries) if field.is_map() => {
            let one = |(key, value): (&String, &Value)| {
                Value::Object(Map::from_iter([(key.clone(), value.clone())]))
            };
            let wrong = entries.iter().find(|entry| !fits(message, name, one(*entry)));
            wrong.map_or_else(String::new, |(key, _)| format!("/{}", escaped(key)))
        }
        value => deeper(&field.kind(), value),
    }
}

fn deeper(kind: &Kind, value: &Value) -> String {
    kind.as_message().map_or_else(String::new, |message| pointer(message, value))
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_innermost_wrong_part_is_found() {
        let message = cri::pool().get_message_by_name("runtime.v1.CreateContainerRequest").unwrap();
        for (value, expected) in [
            (json!([]), ""),
            (json!({"podSandboxId": 1}), "/podSandboxId"),
            (json!({"podSandboxID": "x"}), "/podSandboxID"),
            (json!({"config": 1}), "/config"),
            (json!({"config": {"a/b~": 1}}), "/config/a~1b~0"),
            (json!({"config": {"envs": [{"key": "A"}, {"key": "B", "value": 1}]}}), "/config/envs/1/value"),
            (json!({"config": {"command": ["sh", 1]}}), "/config/command/1"),
            (json!({"config": {"labels": {"a": "b", "c": 1}}}), "/config/labels/c"),
            (
                json!({"sandbox_config": {"linux": {"security_context": {"run_as_user": {"value": "x"}}}}}),
                "/sandbox_config/linux/security_context/run_as_user/value",
            ),
        ] {
            assert!(from_value(&message, value.clone()).is_err(), "{value}");
            assert_eq!(pointer(&message, &value), expected, "{value}");
        }
    }
}
