//! The body of a request: a message as JSON.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::Bytes;
use cri::json;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;

use crate::blame;
use crate::problem::{Kind, Place, Problem, Violation};

/// The largest body, in bytes: as large as the largest CRI message.
const LARGEST: usize = cri::MAX_MESSAGE_BYTES;

/// The request message that a body is.
pub(crate) async fn read(
    descriptor: &MessageDescriptor,
    headers: &HeaderMap,
    body: Body,
) -> Result<DynamicMessage, Problem> {
    is_json(headers)?;
    let bytes = collect(body).await?;
    json::from_value(descriptor, parse(&bytes)?).map_err(|error| {
        let at = parse(&bytes).map(|value| blame::pointer(descriptor, &value)).unwrap_or_default();
        let detail = if at.is_empty() { error.to_string() } else { format!("{error}, at {at}") };
        Problem::violations(Kind::InvalidBody, vec![Violation { at: Place::Pointer(at), detail }])
    })
}

async fn collect(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, LARGEST).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is larger than {LARGEST} bytes, the largest message of CRI");
            Err(Problem::new(Kind::BodyTooLarge, detail))
        }
        Err(error) => Err(Problem::new(Kind::InvalidBody, format!("the body ended early: {error}"))),
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.is_empty() {
        let detail = "the body is empty: send {} for a request without any field set";
        return Err(Problem::new(Kind::InvalidBody, detail));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Kind::InvalidBody, format!("the body is not JSON: {error}")))
}

/// Whether the body is declared as plain JSON. A browser can't send that to another host without asking first, and a
/// profile would mean JSON of another form.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = declared.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let only_utf8 = parts.all(|parameter| parameter.is_empty() || is_utf8(parameter));
    let encoded = headers.contains_key(CONTENT_ENCODING);
    if media_type.eq_ignore_ascii_case("application/json") && only_utf8 && !encoded {
        return Ok(());
    }
    let detail = "send the body as it is with `Content-Type: application/json`";
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

fn is_utf8(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_plain_json_is_taken() {
        let mut headers = HeaderMap::new();
        assert!(is_json(&headers).is_err());
        for (declared, taken) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/json; profile=protojson", false),
            ("application/x-www-form-urlencoded", false),
            ("text/plain", false),
        ] {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(declared));
            assert_eq!(is_json(&headers).is_ok(), taken, "{declared}");
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(is_json(&headers).is_err());
    }
}
