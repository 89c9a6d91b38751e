//! Calls of a check, told to a report as those of a replay are: in full, and with what came before.

use std::time::Duration;

use bytes::Bytes;
use critape_calls::{
    Body, Call, CallId, ConnectionId, Metadata, Outcome, RecordedMessage, Stamp, call_to_json,
};
use critape_differ::{Evidence, Path, Witness};
use serde_json::Value;

/// What only the recording of a connection knows.
const OF_A_CONNECTION: [&str; 5] = ["connection", "peer", "metadata", "deadline", "hostPaths"];

/// A call of a check that has ended. Nothing in it is sealed: it asks for nothing that a tape would seal.
#[derive(Debug)]
pub(super) struct Noted(Call);

impl Noted {
    /// `started` and `ended` are since the epoch.
    pub(super) fn new(
        number: u64,
        path: &str,
        request: &Bytes,
        responses: impl IntoIterator<Item = Bytes>,
        outcome: &Outcome,
        (started, ended): (Duration, Duration),
    ) -> Self {
        let stamp = |at: Duration| Stamp(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        let message = |at: Duration, bytes: Bytes| RecordedMessage {
            at: stamp(at),
            compressed: false,
            body: Body::Kept(bytes),
        };
        Self(Call {
            id: CallId(number),
            connection: ConnectionId(0),
            peer: None,
            started: stamp(started),
            path: path.to_owned(),
            sent_as: None,
            metadata: Metadata::default(),
            deadline: None,
            requests: vec![message(started, request.clone())],
            response_metadata: None,
            responses: responses.into_iter().map(|bytes| message(ended, bytes)).collect(),
            ended: stamp(ended),
            outcome: outcome.clone(),
            host_paths: Vec::new(),
        })
    }

    pub(super) fn call(&self) -> &Call {
        &self.0
    }
}

impl Witness for Noted {
    fn recorded(&self) -> Option<CallId> {
        Some(self.0.id)
    }

    fn at(&self) -> Option<Stamp> {
        Some(self.0.started)
    }

    fn seal(&self, _: &Path, _: &mut Value, _: &mut Value) {}

    fn evidence(&self) -> Option<Evidence> {
        let mut live = call_to_json(&self.0);
        if let Some(call) = live.as_object_mut() {
            OF_A_CONNECTION.iter().for_each(|name| drop(call.remove(*name)));
        }
        Some(Evidence { live: Some(live), ..Evidence::default() })
    }
}
