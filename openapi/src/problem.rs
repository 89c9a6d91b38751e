//! How errors are described: RFC 9457 problem details, with the gRPC status inside.

use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder, Schema};

use crate::operations::Input;

/// The media type of errors.
const MEDIA_TYPE: &str = "application/problem+json";

/// The name of the schema of errors.
const PROBLEM: &str = "Problem";

/// One status that an error can have.
struct Failure {
    status: u16,
    component: &'static str,
    description: &'static str,
    /// Whether only an operation with a body has it.
    of_bodies: bool,
}

const fn failure(status: u16, component: &'static str, description: &'static str) -> Failure {
    Failure { status, component, description, of_bodies: false }
}

const fn of_bodies(status: u16, component: &'static str, description: &'static str) -> Failure {
    Failure { status, component, description, of_bodies: true }
}

const FAILURES: [Failure; 12] = [
    failure(
        400,
        "BadRequest",
        "The request is not one that this operation takes, or the runtime refused it as wrong.",
    ),
    failure(401, "Unauthorized", "The token is missing or is not the gateway's."),
    failure(403, "Forbidden", "The request comes from a foreign web page, or the runtime denied it."),
    failure(404, "NotFound", "What was asked for is not there."),
    failure(409, "Conflict", "The name is taken, or the call ran into another one."),
    of_bodies(413, "ContentTooLarge", "The body is larger than the largest CRI message, 16 MiB."),
    of_bodies(415, "UnsupportedMediaType", "The body is not declared as `application/json`."),
    failure(429, "TooManyRequests", "The runtime is out of something."),
    failure(500, "InternalServerError", "The runtime failed, or said nothing about why."),
    failure(501, "NotImplemented", "The runtime does not have this RPC."),
    failure(503, "ServiceUnavailable", "No runtime answers. `Retry-After` says when to try again."),
    failure(504, "GatewayTimeout", "The runtime did not answer in time."),
];

/// The shared error responses, by component name.
pub(crate) fn responses() -> impl Iterator<Item = (&'static str, Response)> {
    FAILURES
        .iter()
        .map(|failure| (failure.component, response(failure.description)))
        .chain([("Error", response("Any other error."))])
}

/// The error responses of an operation: status, or `default`, and the shared response.
pub(crate) fn responses_of(input: &Input) -> impl Iterator<Item = (String, RefOr<Response>)> {
    let has_body = matches!(input, Input::Body);
    FAILURES
        .iter()
        .filter(move |failure| has_body || !failure.of_bodies)
        .map(|failure| (failure.status.to_string(), failure.component))
        .chain([("default".to_owned(), "Error")])
        .map(|(status, component)| (status, RefOr::Ref(Ref::from_response_name(component))))
}

fn response(description: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name(PROBLEM)));
    ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build()
}

/// The schemas of errors, by component name.
pub(crate) fn schemas() -> [(&'static str, Schema); 3] {
    [(PROBLEM, problem()), ("GrpcStatus", grpc_status()), ("Violation", violation())]
}

fn problem() -> Schema {
    ObjectBuilder::new()
        .description(Some("An error, as RFC 9457 has it."))
        .property(
            "type",
            text("What kind of error this is: stable, for programs.").format(Some(custom("uri"))),
        )
        .property("title", text("What kind of error this is, for people."))
        .property("status", integer("The HTTP status.", 400, 599))
        .property("detail", text("What happened here, and what to do."))
        .property("instance", text("The path that was asked.").format(Some(custom("uri-reference"))))
        .property(
            "rpc",
            text("The RPC that the request stands for, as `/runtime.v1.RuntimeService/Version`."),
        )
        .property(
            "requestId",
            text("The request's id, as in the header `x-request-id` and in the gateway's log."),
        )
        .property("grpc", Ref::from_schema_name("GrpcStatus"))
        .property(
            "errors",
            ArrayBuilder::new()
                .items(Ref::from_schema_name("Violation"))
                .description(Some("What is wrong with the request, one by one.")),
        )
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("instance")
        .required("requestId")
        .into()
}

fn grpc_status() -> Schema {
    let detail = ObjectBuilder::new()
        .property("@type", text("The type of the detail, as `type.googleapis.com/google.rpc.ErrorInfo`."))
        .property("value", text("The detail's message in base64.").content_encoding("base64"))
        .required("@type")
        .required("value");
    ObjectBuilder::new()
        .description(Some("How the call to the runtime ended."))
        .property("code", integer("The gRPC status code.", 0, i32::MAX))
        .property("status", text("Its name.").examples([json!("NOT_FOUND")]))
        .property(
            "details",
            ArrayBuilder::new().items(detail).description(Some("What the runtime attached to the status.")),
        )
        .required("code")
        .required("status")
        .required("details")
        .into()
}

fn violation() -> Schema {
    ObjectBuilder::new()
        .description(Some("One thing that is wrong with a request."))
        .property("parameter", text("The parameter that it concerns."))
        .property(
            "pointer",
            text("The JSON pointer to the part of the body that it concerns.")
                .format(Some(custom("json-pointer"))),
        )
        .property("detail", text("What is wrong, and what would be right."))
        .required("detail")
        .into()
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn custom(format: &str) -> utoipa::openapi::SchemaFormat {
    utoipa::openapi::SchemaFormat::Custom(format.to_owned())
}

fn integer(description: &str, minimum: i32, maximum: i32) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(minimum))
        .maximum(Some(maximum))
        .description(Some(description))
}
