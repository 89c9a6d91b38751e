//! One operation, from the HTTP request to the HTTP response.

use axum::RequestExt as _;
use axum::extract::{RawPathParams, Request};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use cri::json::{self, Defaults};
use critape_openapi::{Input, Operation};
use prost::Message as _;
use prost_reflect::DynamicMessage;
use serde_json::Value;

use crate::problem::{Kind, Problem};
use crate::upstream::Upstream;
use crate::{body, parameters};

/// Answers a request for this operation.
pub(crate) async fn answer(
    upstream: &Upstream,
    operation: &Operation,
    request: Request,
) -> Result<Response, Problem> {
    let of_rpc = |problem: Problem| problem.of_rpc(&operation.method.path);
    let message = message(operation, request).await.map_err(of_rpc)?;
    let extra = seconds_of(&message);
    let bytes = upstream
        .call(operation.method, message.encode_to_vec().into(), extra)
        .await
        .map_err(|status| of_rpc(Problem::status(&status)))?;
    reply(operation, &bytes).map_err(of_rpc)
}

async fn message(operation: &Operation, mut request: Request) -> Result<DynamicMessage, Problem> {
    let descriptor = operation.method.input();
    match &operation.input {
        Input::Body => {
            parameters::refuse(request.uri())?;
            let (parts, stream) = request.into_parts();
            body::read(&descriptor, &parts.headers, stream).await
        }
        Input::Parameters(known) => {
            let in_path = path_parameters(&mut request).await?;
            let value = parameters::read(known, &in_path, request.uri())?;
            json::from_value(&descriptor, value)
                .map_err(|error| Problem::new(Kind::InvalidParameters, error.to_string()))
        }
    }
}

async fn path_parameters(request: &mut Request) -> Result<Vec<(String, String)>, Problem> {
    let found: RawPathParams = request
        .extract_parts()
        .await
        .map_err(|_| Problem::new(Kind::InvalidParameters, "a parameter in the path is not UTF-8"))?;
    Ok(found.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
}

/// The seconds that the request itself gives the runtime.
fn seconds_of(message: &DynamicMessage) -> i64 {
    message.get_field_by_name("timeout").and_then(|value| value.as_i64()).unwrap_or(0)
}

fn reply(operation: &Operation, bytes: &Bytes) -> Result<Response, Problem> {
    let output = operation.method.output();
    let message = DynamicMessage::decode(output.clone(), bytes.clone()).map_err(|error| {
        Problem::new(Kind::UnreadableAnswer, format!("the runtime sent no {}: {error}", output.full_name()))
    })?;
    if let Some(field) = operation.found_if
        && !message.has_field_by_name(field)
    {
        let detail = format!(
            "the runtime's answer has no {field}, which means that it does not have what was asked for"
        );
        return Err(Problem::new(Kind::Missing, detail));
    }
    Ok(json_response(&json::to_value(&message, Defaults::Printed)))
}

fn json_response(value: &Value) -> Response {
    let mut response = value.to_string().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
