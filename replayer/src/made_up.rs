//! Calls for the tests of this crate.

use std::time::Duration;

use bytes::Bytes;
use critape_calls::{
    Body, Call, CallId, Code, ConnectionId, Ending, Metadata, Outcome, Peer, RecordedMessage, Stamp,
};
use prost::Message;

/// Nanoseconds of so many milliseconds.
pub(crate) const fn ms(count: u64) -> u64 {
    count * 1_000_000
}

/// A call of v1 that went well; times in milliseconds.
pub(crate) fn call(
    id: u64,
    rpc: &str,
    (from, to): (u64, u64),
    asked: &impl Message,
    said: &impl Message,
) -> Call {
    let method = cri::methods().by_name(cri::Generation::V1, rpc);
    let (started, ended) = (Stamp(ms(from)), Stamp(ms(to)));
    let message =
        |at, bytes: Vec<u8>| RecordedMessage { at, compressed: false, body: Body::Kept(Bytes::from(bytes)) };
    Call {
        id: CallId(id),
        connection: ConnectionId(1),
        peer: Some(Peer { pid: 1, uid: 0, exe: "/kubelet".to_owned() }),
        started,
        path: method.map(|method| method.path.clone()).unwrap_or_default(),
        sent_as: None,
        metadata: Metadata::default(),
        deadline: None,
        requests: vec![message(started, asked.encode_to_vec())],
        response_metadata: None,
        responses: vec![message(ended, said.encode_to_vec())],
        ended,
        outcome: Outcome {
            ending: Ending::Status,
            code: Code::OK,
            message: String::new(),
            details: Vec::new(),
            metadata: Metadata::default(),
        },
        host_paths: Vec::new(),
    }
}

/// One that its client gave up at its deadline, though its end was seen later.
pub(crate) fn given_up(call: Call, deadline: u64) -> Call {
    let outcome = Outcome { ending: Ending::Deadline, code: Code::DEADLINE_EXCEEDED, ..call.outcome };
    Call { deadline: Some(Duration::from_millis(deadline)), responses: Vec::new(), outcome, ..call }
}
