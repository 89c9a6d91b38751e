//! The OpenAPI document, written from the table of operations.

use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, ParameterStyle, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, Info, InfoBuilder, LicenseBuilder, OpenApiBuilder, Required,
    Response, ResponseBuilder, Schema, Server,
};

use crate::operations::{Input, Operation, Tag, Verb, operations};
use crate::parameters::{Form, Parameter, Place};
use crate::{DOCUMENT_PATH, HEALTH_PATH, comments, problem, schemas};

const JSON: &str = "application/json";

/// The name of the security scheme.
const TOKEN: &str = "token";

/// What [`Form::Labels`] takes.
const LABELS: &str = "^[^=!,]+==?[^=!,]*(,[^=!,]+==?[^=!,]*)*$";

const ABOUT: &str = "The Container Runtime Interface as JSON over HTTP.\n\n\
    Messages are JSON as crictl prints it: names in lowerCamel, 64-bit integers as strings, enums by name, fields that \
    were not set with their defaults, and the value of an environment variable as plain text. In requests, names as in \
    the schema and enums by number are taken too; fields and parameters that are not known are refused. Errors are \
    problem details (RFC 9457) with the gRPC status inside.";

/// The OpenAPI 3.1 document of the API: the same bytes for the same schema.
pub fn document() -> Value {
    let mut paths = PathsBuilder::new();
    for operation in operations() {
        paths = paths.path(&operation.path, PathItem::new(verb(operation.verb), describe(operation)));
    }
    for (path, operation) in own_paths() {
        paths = paths.path(path, PathItem::new(HttpMethod::Get, operation));
    }
    let document = OpenApiBuilder::new()
        .info(info())
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components()))
        .security(Some([SecurityRequirement::new(TOKEN, [] as [&str; 0])]))
        .tags(Some(
            Tag::ALL
                .map(|tag| TagBuilder::new().name(tag.name()).description(Some(tag.description())).build()),
        ))
        .build();
    // Serializing fails only for maps whose keys are not text, and there are none.
    serde_json::to_value(document).unwrap_or_default()
}

fn info() -> Info {
    InfoBuilder::new()
        .title("critape gateway")
        .version("1")
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build()
}

fn verb(verb: Verb) -> HttpMethod {
    match verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
    }
}

fn describe(operation: &Operation) -> OperationBuilder {
    let rpc = operation.method.descriptor();
    let mut described = OperationBuilder::new()
        .operation_id(Some(&operation.id))
        .tag(operation.tag.name())
        .summary(Some(&operation.summary))
        .description(comments::comment(&rpc.parent_file(), rpc.path()))
        .response("200", answer(operation));
    match &operation.input {
        Input::Body => described = described.request_body(Some(body(operation))),
        Input::Parameters(parameters) => {
            for parameter in parameters {
                described = described.parameter(describe_parameter(parameter));
            }
        }
    }
    for (status, response) in problem::responses_of(&operation.input) {
        described = described.response(status, response);
    }
    described
}

fn answer(operation: &Operation) -> Response {
    let schema = schemas::reference(&operation.method.output());
    let text = match operation.found_if {
        Some(field) => format!("The answer of the runtime. `{field}` is always there."),
        None => "The answer of the runtime.".to_owned(),
    };
    ResponseBuilder::new().description(text).content(JSON, Content::new(Some(schema))).build()
}

fn body(operation: &Operation) -> RequestBody {
    let schema = schemas::reference(&operation.method.input());
    RequestBodyBuilder::new()
        .description(Some("The request message. `{}` is one without any field set."))
        .content(JSON, Content::new(Some(schema)))
        .required(Some(Required::True))
        .build()
}

fn describe_parameter(parameter: &Parameter) -> ParameterBuilder {
    let (place, required) = match parameter.place {
        Place::Path => (ParameterIn::Path, Required::True),
        Place::Query => (ParameterIn::Query, Required::False),
    };
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(place)
        .required(required)
        .description(Some(parameter.description))
        .schema(Some(parameter_schema(parameter)))
        .style((parameter.place == Place::Query).then_some(ParameterStyle::Form))
}

fn parameter_schema(parameter: &Parameter) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String);
    match &parameter.form {
        Form::Text => text.min_length(Some(1)).into(),
        Form::Flag => ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false))).into(),
        Form::Choice(choices) => {
            text.enum_values(Some(choices.iter().map(|choice| choice.word.as_str()))).into()
        }
        Form::Labels => text.pattern(Some(LABELS)).examples([json!("app=web,tier=front")]).into(),
    }
}

/// What the gateway answers by itself.
fn own_paths() -> [(&'static str, OperationBuilder); 2] {
    let own = |id: &str, summary: &str, schema: ObjectBuilder| {
        let content = Content::new(Some(schema));
        OperationBuilder::new()
            .operation_id(Some(id))
            .tag(Tag::Gateway.name())
            .summary(Some(summary))
            .securities(Some([SecurityRequirement::default()]))
            .response("200", ResponseBuilder::new().description("Always.").content(JSON, content))
    };
    let health = ObjectBuilder::new()
        .property("status", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["ok"])))
        .required("status");
    [
        (HEALTH_PATH, own("getHealth", "Whether the gateway runs; the runtime is not asked", health)),
        (DOCUMENT_PATH, own("getDocument", "This document", ObjectBuilder::new())),
    ]
}

fn components() -> Components {
    let mut components = ComponentsBuilder::new().schemas_from_iter(schemas::schemas(operations()));
    for (name, schema) in problem::schemas() {
        components = components.schema(name, schema);
    }
    for (name, response) in problem::responses() {
        components = components.response(name, response);
    }
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "The token that the gateway printed when it started, or was given. A unix socket needs none.",
    ));
    components.security_scheme(TOKEN, SecurityScheme::Http(token.build())).build()
}
