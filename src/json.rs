//! Messages as JSON, the way crictl prints them: lowerCamel names, 64-bit integers as strings, enum names, fields that were
//! not set with their defaults, and the value of an environment variable as plain text.
//!
//! Canonical protobuf JSON would print that last one in base64, because its type is `bytes`; every CRI tool prints text.
//! Where it is not UTF-8 it stands in `valueBase64` instead.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage,
    SerializeOptions,
};
use serde_json::Value;
use thiserror::Error;

/// Why a JSON document is not this message.
#[derive(Debug, Error)]
#[error("not a {message}: {reason}")]
pub struct JsonError {
    /// Full name of the message.
    pub message: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How fields that were not set are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defaults {
    /// With their default value, as crictl does.
    Printed,
    /// Not at all.
    LeftOut,
}

/// The message as JSON.
pub fn to_value(message: &DynamicMessage, defaults: Defaults) -> Value {
    let options = SerializeOptions::new().skip_default_fields(defaults == Defaults::LeftOut);
    // Serializing fails only for well-known types out of range, and CRI uses none.
    let mut value =
        message.serialize_with_options(serde_json::value::Serializer, &options).unwrap_or(Value::Null);
    plain_environment(&message.descriptor(), &mut value);
    value
}

/// The message that this JSON stands for. Names are taken in lowerCamel or as in the schema, enums by name or number.
/// Fields that the message doesn't have are refused.
pub fn from_value(descriptor: &MessageDescriptor, mut value: Value) -> Result<DynamicMessage, JsonError> {
    encoded_environment(descriptor, &mut value);
    DynamicMessage::deserialize_with_options(descriptor.clone(), value, &DeserializeOptions::new())
        .map_err(|error| JsonError { message: descriptor.full_name().to_owned(), reason: error.to_string() })
}

fn is_environment(descriptor: &MessageDescriptor) -> bool {
    descriptor.name() == "KeyValue" && descriptor.parent_message().is_none()
}

fn plain_environment(descriptor: &MessageDescriptor, value: &mut Value) {
    each_message(descriptor, value, &mut |object| {
        let Some(Value::String(encoded)) = object.get("value") else { return };
        match STANDARD.decode(encoded).map(String::from_utf8) {
            Ok(Ok(text)) => {
                object.insert("value".to_owned(), Value::String(text));
            }
            _ => {
                let encoded = object.remove("value").unwrap_or_default();
                object.insert("valueBase64".to_owned(), encoded);
            }
        }
    });
}

fn encoded_environment(descriptor: &MessageDescriptor, value: &mut Value) {
    each_message(descriptor, value, &mut |object| {
        if let Some(Value::String(text)) = object.get("value") {
            let encoded = STANDARD.encode(text);
            object.insert("value".to_owned(), Value::String(encoded));
        } else if let Some(encoded) = object.remove("valueBase64") {
            object.insert("value".to_owned(), encoded);
        }
    });
}

/// Lets `change` at every `KeyValue` object in `value`.
fn each_message(
    descriptor: &MessageDescriptor,
    value: &mut Value,
    change: &mut dyn FnMut(&mut serde_json::Map<String, Value>),
) {
    let Value::Object(object) = value else { return };
    if is_environment(descriptor) {
        change(object);
        return;
    }
    for field in descriptor.fields() {
        let Some(inner) = message_of(&field) else { continue };
        for name in [field.json_name(), field.name()] {
            let Some(value) = object.get_mut(name) else { continue };
            match value {
                Value::Array(items) => items.iter_mut().for_each(|item| each_message(&inner, item, change)),
                Value::Object(entries) if field.is_map() => {
                    entries.values_mut().for_each(|item| each_message(&inner, item, change));
                }
                other => each_message(&inner, other, change),
            }
            if field.json_name() == field.name() {
                break;
            }
        }
    }
}

fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind =
        if field.is_map() { field.kind().as_message()?.map_entry_value_field().kind() } else { field.kind() };
    match kind {
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, methods, v1};
    use prost::Message as _;
    use serde_json::json;

    fn create() -> MessageDescriptor {
        methods().by_name(Generation::V1, "CreateContainer").unwrap().input()
    }

    fn message(value: &[u8]) -> DynamicMessage {
        let typed = v1::CreateContainerRequest {
            config: Some(v1::ContainerConfig {
                envs: vec![v1::KeyValue { key: "A".into(), value: value.to_vec().into() }],
                ..Default::default()
            }),
            ..Default::default()
        };
        DynamicMessage::decode(create(), typed.encode_to_vec().as_slice()).unwrap()
    }

    #[test]
    fn environment_values_are_plain_text_both_ways() {
        let value = to_value(&message(b"/usr/bin"), Defaults::LeftOut);
        assert_eq!(value, json!({"config": {"envs": [{"key": "A", "value": "/usr/bin"}]}}));
        let back = from_value(&create(), value).unwrap();
        assert_eq!(back.encode_to_vec(), message(b"/usr/bin").encode_to_vec());
    }

    #[test]
    fn environment_values_that_are_no_text_survive() {
        let value = to_value(&message(b"\xff\x00"), Defaults::LeftOut);
        assert_eq!(value, json!({"config": {"envs": [{"key": "A", "valueBase64": "/wA="}]}}));
        let back = from_value(&create(), value).unwrap();
        assert_eq!(back.encode_to_vec(), message(b"\xff\x00").encode_to_vec());
    }

    #[test]
    fn both_spellings_are_taken_and_unknown_fields_refused() {
        let snake = from_value(&create(), json!({"pod_sandbox_id": "x"})).unwrap();
        let camel = from_value(&create(), json!({"podSandboxId": "x"})).unwrap();
        assert_eq!(snake, camel);
        assert!(from_value(&create(), json!({"podSandbox": "x"})).is_err());
    }

    #[test]
    fn defaults_are_printed_as_crictl_does() {
        let typed = v1::Container { created_at: 1, ..Default::default() };
        let list = methods().by_name(Generation::V1, "ListContainers").unwrap().output();
        let bytes = v1::ListContainersResponse { containers: vec![typed] }.encode_to_vec();
        let value = to_value(&DynamicMessage::decode(list, bytes.as_slice()).unwrap(), Defaults::Printed);
        assert_eq!(value["containers"][0]["createdAt"], json!("1"));
        assert_eq!(value["containers"][0]["state"], json!("CONTAINER_CREATED"));
        assert_eq!(value["containers"][0]["labels"], json!({}));
    }
}
