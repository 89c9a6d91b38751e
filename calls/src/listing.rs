//! Calls as JSON, in the form that the command line promises.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cri::json::Defaults;
use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value, json};

use crate::{Body, Call, Metadata, Outcome, RecordedMessage, Stamp, StatusDetail, decode};

/// A moment as RFC 3339 in UTC, with nanoseconds.
pub fn time_text(at: Stamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(at.0)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => at.0.to_string(),
    }
}

/// One call in full.
pub fn call_to_json(call: &Call) -> Value {
    let method = call.method();
    json!({
        "id": call.id.0,
        "connection": call.connection.0,
        "peer": call.peer.as_ref().map(|peer| json!({"pid": peer.pid, "uid": peer.uid, "exe": peer.exe})),
        "started": time_text(call.started),
        "duration": nanos(call.duration()),
        "method": call.sent_path(),
        "metadata": metadata(&call.metadata),
        "deadline": call.deadline.map(nanos),
        "requests": messages(&call.requests, method.map(cri::Method::input)),
        "responses": messages(&call.responses, method.map(cri::Method::output)),
        "outcome": outcome_to_json(&call.outcome),
        "hostPaths": call.host_paths.iter().map(|path| json!({"path": path.path, "kind": path.kind.to_string()})).collect::<Vec<_>>(),
    })
}

/// How a call ended.
pub fn outcome_to_json(outcome: &Outcome) -> Value {
    json!({
        "kind": outcome.ending.name(),
        "code": outcome.code.to_string(),
        "message": outcome.message,
        "details": outcome.details.iter().map(detail).collect::<Vec<_>>(),
        "metadata": metadata(&outcome.metadata),
    })
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn detail(detail: &StatusDetail) -> Value {
    json!({"@type": detail.type_url, "value": STANDARD.encode(&detail.value)})
}

/// Metadata as an object; a name that came more than once has a list of its values.
fn metadata(metadata: &Metadata) -> Value {
    let mut object = Map::new();
    for header in &metadata.0 {
        let name = String::from_utf8_lossy(&header.name).into_owned();
        let value = Value::String(String::from_utf8_lossy(&header.value).into_owned());
        match object.get_mut(&name) {
            None => {
                object.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    Value::Object(object)
}

/// Messages as CRI's JSON. What can't be decoded is given as `{"base64": …}`, what was not kept as `{"shed": bytes}`.
#[allow(clippy::needless_pass_by_value)]
fn messages(messages: &[RecordedMessage], descriptor: Option<MessageDescriptor>) -> Vec<Value> {
    messages
        .iter()
        .map(|message| match &message.body {
            Body::Shed(length) => json!({"shed": length}),
            Body::Kept(bytes) => descriptor
                .clone()
                .filter(|_| !message.compressed)
                .and_then(|descriptor| decode(descriptor, bytes))
                .map_or_else(
                    || json!({"base64": STANDARD.encode(bytes)}),
                    |message| cri::json::to_value(&message, Defaults::Printed),
                ),
        })
        .collect()
}
