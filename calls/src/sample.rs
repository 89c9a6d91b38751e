//! Calls for tests.

use crate::{Body, Call, CallId, Code, ConnectionId, Ending, Metadata, Outcome, RecordedMessage, Stamp};

/// A call of this path with these messages that ended like this; all its moments are its number.
pub(crate) fn call(id: u64, path: &str, code: Code, request: Vec<u8>, responses: &[Vec<u8>]) -> Call {
    let at = Stamp(id);
    let message = |bytes: Vec<u8>| RecordedMessage { at, compressed: false, body: Body::Kept(bytes.into()) };
    Call {
        id: CallId(id),
        connection: ConnectionId(1),
        peer: None,
        started: at,
        path: path.to_owned(),
        sent_as: None,
        metadata: Metadata::default(),
        deadline: None,
        requests: vec![message(request)],
        response_metadata: None,
        responses: responses.iter().cloned().map(message).collect(),
        ended: at,
        outcome: Outcome { code, ending: Ending::Status, ..Outcome::truncated() },
        host_paths: Vec::new(),
    }
}
