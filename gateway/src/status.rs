//! gRPC statuses in HTTP: the status code, its name, and the details that come with it.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::Code;

/// The client went away: not in any RFC, but what proxies use.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The HTTP status that stands for this gRPC status.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The name of the code, as gRPC writes it.
pub(crate) fn name(code: Code) -> String {
    critape_calls::Code(code as u32).to_string()
}

/// `google.rpc.Status`, as far as it is of interest here: code and message are those of the gRPC status itself.
#[derive(prost::Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The details of a status, from the bytes of its `grpc-status-details-bin`. Their types are the runtime's own, so their
/// messages stay bytes.
pub(crate) fn details(bytes: &[u8]) -> Vec<Value> {
    let decoded = Details::decode(bytes).unwrap_or_default();
    decoded
        .details
        .into_iter()
        .map(|any| json!({"@type": any.type_url, "value": STANDARD.encode(any.value)}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_and_a_name() {
        let mut names = std::collections::BTreeSet::new();
        for number in 1..=16 {
            let code = Code::from(number);
            assert!(http_status(code).as_u16() >= 400, "{code:?}");
            names.insert(name(code));
        }
        assert_eq!(names.len(), 16);
        assert_eq!(http_status(Code::Cancelled).as_u16(), 499);
    }

    #[test]
    fn details_are_shown_by_type() {
        let any = Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(), value: vec![1, 2] };
        let bytes = Details { details: vec![any] }.encode_to_vec();
        let shown = [json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "value": "AQI="})];
        assert_eq!(details(&bytes), shown);
        assert!(details(b"").is_empty());
        assert!(details(b"\xff").is_empty());
    }
}
