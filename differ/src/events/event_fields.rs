//! The fields of an event by which it is known.

use critape_calls::Stamp;
use prost_reflect::{DynamicMessage, Value};

/// The text of a field; empty where it is not there.
pub(crate) fn text(message: &DynamicMessage, path: &[&str]) -> String {
    let Some((first, rest)) = path.split_first() else { return String::new() };
    match message.get_field_by_name(first).as_deref() {
        Some(Value::String(found)) => found.clone(),
        Some(Value::Message(inner)) => text(inner, rest),
        _ => String::new(),
    }
}

/// When it was made, in nanoseconds since the epoch, as the runtime says.
pub(crate) fn created_at(event: &DynamicMessage) -> i64 {
    event.get_field_by_name("created_at").and_then(|at| at.as_i64()).unwrap_or_default()
}

/// The same; the epoch where it says nothing.
pub(crate) fn made_at(event: &DynamicMessage) -> Stamp {
    Stamp(u64::try_from(created_at(event)).unwrap_or_default())
}

/// The kind of an event, as `CREATED`.
pub fn event_kind(event: &DynamicMessage) -> String {
    use prost_reflect::ReflectMessage as _;
    let Some(field) = event.descriptor().get_field_by_name("container_event_type") else {
        return String::new();
    };
    let number = event.get_field(&field).as_enum_number().unwrap_or(-1);
    let kind = field.kind();
    match kind.as_enum().and_then(|names| names.get_value(number)) {
        Some(value) => {
            let name = value.name();
            name.trim_start_matches("CONTAINER_").trim_end_matches("_EVENT").to_owned()
        }
        None => number.to_string(),
    }
}
