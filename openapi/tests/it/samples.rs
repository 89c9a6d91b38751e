//! Messages with every field filled.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// The message with something in every field, two elements in every list and map.
pub fn filled(message: &MessageDescriptor) -> DynamicMessage {
    let mut out = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let value = if field.is_map() {
            let entry = field.kind().as_message().unwrap().clone();
            let entries: HashMap<_, _> = ["a", "b"]
                .map(|key| (MapKey::String(key.to_owned()), sample(&entry.map_entry_value_field().kind())))
                .into();
            Value::Map(entries)
        } else if field.is_list() {
            Value::List(vec![sample(&field.kind()), sample(&field.kind())])
        } else {
            sample(&field.kind())
        };
        out.set_field(&field, value);
    }
    out
}

/// The type of the field's elements, where it is a message.
pub fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    kind.as_message().cloned()
}

fn sample(kind: &Kind) -> Value {
    match kind {
        Kind::Message(message) => Value::Message(filled(message)),
        Kind::Enum(kind) => Value::EnumNumber(kind.values().last().unwrap().number()),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String("text ü".to_owned()),
        // Not UTF-8.
        Kind::Bytes => Value::Bytes(vec![0xff, 0x00].into()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::MIN),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::MAX),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::MIN),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::MAX),
        Kind::Float => Value::F32(1.5),
        Kind::Double => Value::F64(f64::NAN),
    }
}
