//! Values as reports show them.

use prost_reflect::{FieldDescriptor, MapKey, Value};

pub(crate) fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A value as reports show it.
pub(crate) fn to_json(value: &Value, field: Option<&FieldDescriptor>) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::I64(value) => value.to_string().into(),
        Value::U64(value) => value.to_string().into(),
        Value::F32(value) => f64::from(*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(text) => text.clone().into(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => base64_text(bytes).into(),
        },
        Value::EnumNumber(number) => {
            let kind = field.map(FieldDescriptor::kind);
            let known = kind.as_ref().and_then(|kind| kind.as_enum()?.get_value(*number));
            known.map_or_else(|| (*number).into(), |value| value.name().into())
        }
        Value::Message(message) => cri::json::to_value(message, cri::json::Defaults::LeftOut),
        Value::List(items) => items.iter().map(|item| to_json(item, field)).collect::<Vec<_>>().into(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key_text(key), to_json(value, None))).collect()
        }
    }
}
