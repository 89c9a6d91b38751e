//! How a call ended. Never absent, never invented: what was not seen is called truncated.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost::Message;

use crate::{Metadata, Side};

/// A gRPC status code. Numbers that gRPC doesn't define are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Code {
    /// Success.
    pub const OK: Self = Self(0);
    /// The client no longer wanted the answer.
    pub const CANCELLED: Self = Self(1);
    /// Time was up.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// No such object.
    pub const NOT_FOUND: Self = Self(5);
    /// No such RPC.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// The runtime is not there.
    pub const UNAVAILABLE: Self = Self(14);

    /// Its name, as `NOT_FOUND`, where gRPC defines one.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(self.0 as usize).copied()
    }

    /// The code of this name, as `NOT_FOUND`; case and underscores don't matter.
    pub fn by_name(name: &str) -> Option<Self> {
        let plain = |text: &str| text.replace('_', "").to_ascii_uppercase();
        NAMES.iter().position(|known| plain(known) == plain(name)).map(|index| Self(index as u32))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "CODE_{}", self.0),
        }
    }
}

/// One detail of a status, as `google.protobuf.Any` carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusDetail {
    /// Which message it is.
    pub type_url: String,
    /// The message's bytes.
    pub value: Bytes,
}

/// The way a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The runtime gave a status.
    Status,
    /// The client broke it off.
    Cancelled,
    /// The client broke it off when its deadline had come.
    Deadline,
    /// The runtime broke it off; the HTTP/2 error code is kept.
    Reset(u32),
    /// The end was not seen.
    Truncated,
}

impl Ending {
    /// The word for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Reset(_) => "reset",
            Self::Truncated => "truncated",
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The way it ended.
    pub ending: Ending,
    /// The status, where the runtime gave one; else the one that a client library makes of this ending.
    pub code: Code,
    /// The status message, as text.
    pub message: String,
    /// The status details.
    pub details: Vec<StatusDetail>,
    /// The trailers.
    pub metadata: Metadata,
}

/// HTTP/2's error code for a stream that is no longer wanted.
const HTTP2_CANCEL: u32 = 8;

/// Timers of two sides don't fire at the same moment: a client's may fire a little before we see its effect, and the header was sent
/// after the timer had begun.
pub const DEADLINE_SLACK: Duration = Duration::from_millis(20);

impl Outcome {
    /// The runtime ended the call with these trailers. Without a `grpc-status` the call counts as truncated: a success is
    /// never invented.
    pub fn from_trailers(metadata: Metadata) -> Self {
        let Some(code) = metadata.text("grpc-status").and_then(|text| text.parse().ok()) else {
            return Self { metadata, ..Self::truncated() };
        };
        let message = metadata
            .get("grpc-message")
            .map(|value| percent_encoding::percent_decode(value).decode_utf8_lossy().into_owned())
            .unwrap_or_default();
        let details = metadata.get("grpc-status-details-bin").map(parse_details).unwrap_or_default();
        Self { ending: Ending::Status, code: Code(code), message, details, metadata }
    }

    /// One side broke the call off after `lasted`.
    pub fn from_reset(by: Side, code: u32, lasted: Duration, deadline: Option<Duration>) -> Self {
        let late = deadline.is_some_and(|deadline| lasted + DEADLINE_SLACK >= deadline);
        let ending = match by {
            // Runtimes know the deadline too, and may give up a moment before the client does.
            Side::Runtime if late && code == HTTP2_CANCEL => Ending::Deadline,
            Side::Runtime => Ending::Reset(code),
            Side::Client if late => Ending::Deadline,
            Side::Client => Ending::Cancelled,
        };
        let code = match ending {
            Ending::Deadline => Code::DEADLINE_EXCEEDED,
            Ending::Reset(code) if code != HTTP2_CANCEL => reset_code(code),
            _ => Code::CANCELLED,
        };
        Self { ending, code, message: String::new(), details: Vec::new(), metadata: Metadata::default() }
    }

    /// The end was not seen.
    pub fn truncated() -> Self {
        Self {
            ending: Ending::Truncated,
            code: Code::UNAVAILABLE,
            message: String::new(),
            details: Vec::new(),
            metadata: Metadata::default(),
        }
    }

    /// Whether the runtime said that all went well.
    pub fn is_ok(&self) -> bool {
        self.ending == Ending::Status && self.code == Code::OK
    }
}

/// The status that gRPC's clients make of an HTTP/2 error code (gRPC over HTTP/2, "Errors").
fn reset_code(code: u32) -> Code {
    match code {
        7 => Code::UNAVAILABLE,
        8 => Code::CANCELLED,
        11 => Code(8),
        12 => Code(7),
        _ => Code(13),
    }
}

/// `google.rpc.Status`, the content of `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// Details from the header's value. A value that can't be read gives none: the raw header is kept in the metadata.
fn parse_details(value: &[u8]) -> Vec<StatusDetail> {
    let engine = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let status = engine.decode(value).ok().and_then(|bytes| RpcStatus::decode(bytes.as_slice()).ok());
    status
        .map(|status| status.details)
        .unwrap_or_default()
        .into_iter()
        .map(|any| StatusDetail { type_url: any.type_url, value: any.value.into() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;

    fn metadata(headers: &[(&str, &str)]) -> Metadata {
        Metadata(
            headers
                .iter()
                .map(|(name, value)| Header {
                    name: Bytes::copy_from_slice(name.as_bytes()),
                    value: Bytes::copy_from_slice(value.as_bytes()),
                })
                .collect(),
        )
    }

    #[test]
    fn a_status_is_read_from_trailers() {
        let outcome =
            Outcome::from_trailers(metadata(&[("grpc-status", "5"), ("grpc-message", "no %22x%22%20here")]));
        assert_eq!(outcome.ending, Ending::Status);
        assert_eq!(outcome.code, Code::NOT_FOUND);
        assert_eq!(outcome.message, "no \"x\" here");
    }

    #[test]
    fn trailers_without_a_status_are_no_success() {
        for headers in [&[][..], &[("grpc-status", "x")], &[("content-type", "text/html")]] {
            assert_eq!(Outcome::from_trailers(metadata(headers)).ending, Ending::Truncated);
        }
    }

    #[test]
    fn details_are_decoded_with_and_without_padding() {
        let status = RpcStatus {
            code: 5,
            message: "m".into(),
            details: vec![prost_types::Any { type_url: "type/x".into(), value: vec![1, 2] }],
        };
        let padded = base64::engine::general_purpose::STANDARD.encode(status.encode_to_vec());
        for text in [padded.as_str(), padded.trim_end_matches('=')] {
            let outcome =
                Outcome::from_trailers(metadata(&[("grpc-status", "5"), ("grpc-status-details-bin", text)]));
            assert_eq!(outcome.details.len(), 1);
            assert_eq!(outcome.details[0].type_url, "type/x");
        }
    }

    #[test]
    fn a_reset_by_the_client_is_a_deadline_only_when_time_was_up() {
        let second = Duration::from_secs(1);
        let reset = |lasted| Outcome::from_reset(Side::Client, HTTP2_CANCEL, lasted, Some(second)).ending;
        assert_eq!(reset(Duration::from_millis(500)), Ending::Cancelled);
        assert_eq!(reset(Duration::from_millis(999)), Ending::Deadline);
        assert_eq!(Outcome::from_reset(Side::Client, HTTP2_CANCEL, second, None).ending, Ending::Cancelled);
        assert_eq!(Outcome::from_reset(Side::Runtime, 7, second, None).code, Code::UNAVAILABLE);
    }

    #[test]
    fn codes_are_found_by_name() {
        assert_eq!(Code::by_name("NOT_FOUND"), Some(Code::NOT_FOUND));
        assert_eq!(Code::by_name("NotFound"), Some(Code::NOT_FOUND));
        assert_eq!(Code::by_name("nope"), None);
        assert_eq!(Code(99).to_string(), "CODE_99");
    }
}
