//! Errors as RFC 9457 problem details.
//!
//! A handler returns a [`Problem`]; it travels through the layers as an extension of a response without body, and the
//! outermost layer ([`crate::exchange`]), which knows the request's path and id, writes it out.

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::status;

/// How long a client should wait before it asks again for a runtime that is not there, in seconds.
const RETRY_SECONDS: &str = "1";

/// What kind of error it is. Programs tell it by its slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidParameters,
    InvalidBody,
    Unauthorized,
    ForeignHost,
    ForeignOrigin,
    UnknownPath,
    WrongVerb,
    BodyTooLarge,
    UnsupportedMediaType,
    StreamingRpc,
    UnreadableAnswer,
    /// The runtime answered, and what was asked for is not in the answer.
    Missing,
    /// The runtime ended the call with this status, or there is none to call.
    Grpc(Code),
}

impl Kind {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidParameters | Self::InvalidBody => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::UnknownPath | Self::Missing => StatusCode::NOT_FOUND,
            Self::WrongVerb => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::StreamingRpc => StatusCode::NOT_IMPLEMENTED,
            Self::UnreadableAnswer => StatusCode::BAD_GATEWAY,
            Self::Grpc(code) => status::http_status(code),
        }
    }

    fn slug(self) -> String {
        let slug = match self {
            Self::InvalidParameters => "invalid-parameters",
            Self::InvalidBody => "invalid-body",
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign-host",
            Self::ForeignOrigin => "foreign-origin",
            Self::UnknownPath => "unknown-path",
            Self::WrongVerb => "wrong-verb",
            Self::BodyTooLarge => "body-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::StreamingRpc => "streaming-rpc",
            Self::UnreadableAnswer => "unreadable-answer",
            Self::Missing => "missing",
            Self::Grpc(code) => {
                return format!("grpc-{}", status::name(code).to_lowercase().replace('_', "-"));
            }
        };
        slug.to_owned()
    }

    fn title(self) -> String {
        let title = match self {
            Self::InvalidParameters => "The parameters are not those of this operation",
            Self::InvalidBody => "The body is not the request message",
            Self::Unauthorized => "The token is missing or wrong",
            Self::ForeignHost => "The host name is not a local one",
            Self::ForeignOrigin => "The request comes from another web page",
            Self::UnknownPath => "Nothing is at this path",
            Self::WrongVerb => "This path is not used with this method",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body is not declared as JSON",
            Self::StreamingRpc => "This RPC answers with a stream",
            Self::UnreadableAnswer => "The runtime's answer can't be read",
            Self::Missing => "The runtime does not have it",
            Self::Grpc(code) => return format!("The call ended with {}", status::name(code)),
        };
        title.to_owned()
    }

    /// Headers that go with it.
    fn headers(self) -> Option<(HeaderName, HeaderValue)> {
        match self.status() {
            StatusCode::UNAUTHORIZED => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"critape\"")))
            }
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS))),
            _ => None,
        }
    }
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub at: Place,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// The part of a request that a [`Violation`] concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The parameter of this name.
    Parameter(String),
    /// The part of the body to which this JSON pointer leads.
    Pointer(String),
}

impl Violation {
    fn to_json(&self) -> Value {
        match &self.at {
            Place::Parameter(name) => json!({"parameter": name, "detail": self.detail}),
            Place::Pointer(pointer) => json!({"pointer": pointer, "detail": self.detail}),
        }
    }
}

/// An error, before it is known to which request it belongs.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    details: Vec<Value>,
    violations: Vec<Violation>,
    rpc: Option<String>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), details: Vec::new(), violations: Vec::new(), rpc: None }
    }

    /// A request that is wrong in these ways.
    pub fn violations(kind: Kind, violations: Vec<Violation>) -> Self {
        let details: Vec<_> = violations.iter().map(|violation| violation.detail.as_str()).collect();
        let detail = details.join("; ");
        Self { violations, ..Self::new(kind, detail) }
    }

    /// A call that the runtime did not end with OK.
    pub fn status(status: &Status) -> Self {
        let detail =
            if status.message().is_empty() { "the runtime gave no reason" } else { status.message() };
        Self { details: status::details(status.details()), ..Self::new(Kind::Grpc(status.code()), detail) }
    }

    /// The same, of this RPC.
    pub fn of_rpc(mut self, path: &str) -> Self {
        self.rpc = Some(path.to_owned());
        self
    }

    /// What goes into a log: never values of the request.
    pub fn slug(&self) -> String {
        self.kind.slug()
    }

    /// The document and its response, for the request with this path and id.
    pub fn render(&self, instance: &str, request_id: &str) -> Response {
        let status = self.kind.status();
        let mut document = json!({
            "type": format!("urn:critape:problem:{}", self.kind.slug()),
            "title": self.kind.title(),
            "status": status.as_u16(),
            "detail": self.detail,
            "instance": instance,
            "requestId": request_id,
        });
        if let Kind::Grpc(code) = self.kind {
            document["grpc"] =
                json!({"code": i32::from(code), "status": status::name(code), "details": self.details});
        }
        if let Some(rpc) = &self.rpc {
            document["rpc"] = json!(rpc);
        }
        if !self.violations.is_empty() {
            document["errors"] = self.violations.iter().map(Violation::to_json).collect();
        }
        let mut response = (status, document.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.kind.headers());
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A path that is not in the table.
pub(crate) fn unknown_path(path: &str) -> Problem {
    Problem::new(Kind::UnknownPath, format!("nothing is at {path}: /docs lists what there is"))
}

/// A path of the table with another verb.
pub(crate) fn wrong_verb(verb: &Method, path: &str) -> Problem {
    Problem::new(
        Kind::WrongVerb,
        format!("{path} is not used with {verb}: the header Allow names what it takes"),
    )
}
