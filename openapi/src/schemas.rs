//! Messages and enums of CRI as JSON schemas, found by a walk from the requests and responses of the operations.
//!
//! What goes in is closed: a message that occurs in a request takes no fields but its own, because the gateway refuses
//! them. What only comes out is open, since a newer runtime may say more, and requires the fields that are always printed:
//! all but messages, which may be absent.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, RefBuilder, SchemaFormat,
    Type,
};
use utoipa::openapi::{Deprecated, Ref, RefOr, Schema};

use crate::comments::comment;
use crate::operations::Operation;

/// `debug_redact` in `google.protobuf.FieldOptions`.
const DEBUG_REDACT: u32 = 16;
/// `deprecated` in `google.protobuf.FieldOptions`.
const DEPRECATED: u32 = 3;

/// In which direction a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// In a request, perhaps in a response as well.
    In,
    /// In responses only.
    Out,
}

/// The schemas of everything that occurs in requests and responses of these operations, by component name.
pub(crate) fn schemas(operations: &[Operation]) -> BTreeMap<String, Schema> {
    let mut schemas = BTreeMap::new();
    // Requests first: what occurs in both directions is closed.
    for operation in operations {
        add_message(&operation.method.input(), Direction::In, &mut schemas);
    }
    for operation in operations {
        add_message(&operation.method.output(), Direction::Out, &mut schemas);
    }
    schemas
}

/// A reference to the component that describes this message.
pub(crate) fn reference(message: &MessageDescriptor) -> Ref {
    Ref::from_schema_name(component(message.full_name(), message.package_name()))
}

/// The name of a component: the message's, without the package.
fn component(full_name: &str, package: &str) -> String {
    full_name.strip_prefix(package).unwrap_or(full_name).trim_start_matches('.').to_owned()
}

fn add_message(message: &MessageDescriptor, direction: Direction, schemas: &mut BTreeMap<String, Schema>) {
    let name = component(message.full_name(), message.package_name());
    if schemas.contains_key(&name) {
        return;
    }
    schemas.insert(name, message_schema(message, direction));
    for field in message.fields() {
        match element(&field) {
            Kind::Message(inner) => add_message(&inner, direction, schemas),
            Kind::Enum(kind) => {
                schemas
                    .entry(component(kind.full_name(), kind.package_name()))
                    .or_insert_with(|| enum_schema(&kind));
            }
            _ => {}
        }
    }
}

/// The kind of the field's elements: of a map, its values.
fn element(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    }
}

fn message_schema(message: &MessageDescriptor, direction: Direction) -> Schema {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(comment(&message.parent_file(), message.path()));
    let plain_bytes = is_environment(message);
    for field in message.fields() {
        let is_plain = plain_bytes && matches!(field.kind(), Kind::Bytes);
        object = object.property(field.json_name(), field_schema(&field, is_plain));
        if direction == Direction::Out && !field.supports_presence() && !is_plain {
            object = object.required(field.json_name());
        }
    }
    if plain_bytes {
        object =
            object.property("valueBase64", base64("The value, where it is not UTF-8, instead of `value`."));
    }
    if direction == Direction::In {
        object = object.additional_properties(Some(AdditionalProperties::FreeForm(false)));
    }
    object.into()
}

/// `KeyValue` has its bytes as plain text, as every CRI tool prints it.
fn is_environment(message: &MessageDescriptor) -> bool {
    message.name() == "KeyValue"
}

fn field_schema(field: &FieldDescriptor, plain_bytes: bool) -> RefOr<Schema> {
    let text = comment(&field.parent_file(), field.path());
    let deprecated = option(field, DEPRECATED).then_some(Deprecated::True);
    if field.is_map() {
        let values = element_schema(&element(field), None, false);
        return ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::RefOr(values)))
            .description(text)
            .deprecated(deprecated)
            .into();
    }
    if field.is_list() {
        let items = element_schema(&field.kind(), None, false);
        return ArrayBuilder::new().items(items).description(text).deprecated(deprecated).into();
    }
    match (field.kind(), element_schema(&field.kind(), text, plain_bytes)) {
        (Kind::String, _) if option(field, DEBUG_REDACT) => {
            string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Password))).description(text).into()
        }
        (_, RefOr::T(Schema::Object(object))) => ObjectBuilder::from(object).deprecated(deprecated).into(),
        (_, schema) => schema,
    }
}

fn option(field: &FieldDescriptor, number: u32) -> bool {
    field.options().get_field_by_number(number).and_then(|value| value.as_bool()).unwrap_or(false)
}

fn element_schema(kind: &Kind, text: Option<&str>, plain_bytes: bool) -> RefOr<Schema> {
    match kind {
        Kind::Message(message) => described(&component(message.full_name(), message.package_name()), text),
        Kind::Enum(kind) => described(&component(kind.full_name(), kind.package_name()), text),
        Kind::Bool => ObjectBuilder::new().schema_type(Type::Boolean).description(text).into(),
        Kind::Bytes if !plain_bytes => base64(text.unwrap_or_default()).into(),
        Kind::String | Kind::Bytes => string().description(text).into(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            integer("int32", i32::MIN.into(), i32::MAX.into(), text)
        }
        Kind::Uint32 | Kind::Fixed32 => integer("uint32", 0, u32::MAX.into(), text),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => digits("int64", "^-?[0-9]{1,19}$", text),
        Kind::Uint64 | Kind::Fixed64 => digits("uint64", "^[0-9]{1,20}$", text),
        Kind::Float => floating(KnownFormat::Float, text),
        Kind::Double => floating(KnownFormat::Double, text),
    }
}

fn described(component: &str, text: Option<&str>) -> RefOr<Schema> {
    RefBuilder::new().ref_location_from_schema_name(component).description(text).build().into()
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn base64(text: &str) -> ObjectBuilder {
    let text = (!text.is_empty()).then_some(text);
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Byte)))
        .content_encoding("base64")
        .description(text)
}

fn integer(format: &str, minimum: i64, maximum: i64, text: Option<&str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::Custom(format.to_owned())))
        .minimum(Some(minimum))
        .maximum(Some(maximum))
        .description(text)
        .into()
}

/// A 64-bit integer: a string of digits, because not every reader of JSON keeps 64 bits of a number.
fn digits(format: &str, pattern: &str, text: Option<&str>) -> RefOr<Schema> {
    string()
        .format(Some(SchemaFormat::Custom(format.to_owned())))
        .pattern(Some(pattern))
        .description(text)
        .into()
}

/// A floating-point number: JSON has no number for the last three.
fn floating(format: KnownFormat, text: Option<&str>) -> RefOr<Schema> {
    let number =
        ObjectBuilder::new().schema_type(Type::Number).format(Some(SchemaFormat::KnownFormat(format)));
    let names = string().enum_values(Some(["NaN", "Infinity", "-Infinity"]));
    AnyOfBuilder::new().item(number).item(names).description(text).into()
}

fn enum_schema(kind: &EnumDescriptor) -> Schema {
    let file = kind.parent_file();
    let values = kind
        .values()
        .filter_map(|value| comment(&file, value.path()).map(|text| format!("- `{}`: {text}", value.name())));
    let values = values.collect::<Vec<_>>().join("\n");
    let about = comment(&file, kind.path()).unwrap_or_default();
    let text = [about, values.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let names: Vec<Value> = kind.values().map(|value| json!(value.name())).collect();
    string().enum_values(Some(names)).description((!text.is_empty()).then(|| text.join("\n\n"))).into()
}
