//! From events to calls.

use std::collections::BTreeMap;

use crate::call::parse_timeout;
use crate::{
    Body, Call, CallId, Connection, ConnectionId, Event, EventKind, Metadata, Outcome, RecordedMessage, Side,
    Stamp,
};

/// Collects the events of a tape into calls.
///
/// Calls come out when they end, so in the order of their ends. At the end of the tape [`Self::finish`] gives those that
/// never ended, as truncated.
#[derive(Debug, Default)]
pub struct Assembler {
    open: BTreeMap<CallId, Call>,
    connections: BTreeMap<ConnectionId, Connection>,
    last: Stamp,
}

impl Assembler {
    /// Takes the next event; gives the call that it ended, if it ended one.
    pub fn push(&mut self, event: Event) -> Option<Call> {
        let at = event.at;
        self.last = self.last.max(at);
        match event.kind {
            EventKind::ConnectionOpened { connection, peer } => {
                self.connections.insert(connection, Connection { id: connection, peer, opened: at });
            }
            EventKind::CallStarted { call, connection, path, metadata, .. } => {
                self.start(call, connection, path, metadata, at);
            }
            EventKind::ConnectionContinues { connection, peer, opened } => {
                self.connections.entry(connection).or_insert(Connection { id: connection, peer, opened });
            }
            // Known already where the segment in which it started is there.
            EventKind::CallContinues { call, .. } if self.open.contains_key(&call) => {}
            EventKind::CallContinues { call, connection, path, metadata, started, request, .. } => {
                self.start(call, connection, path, metadata, started);
                let requests = &mut self.open.get_mut(&call)?.requests;
                requests.extend(request.map(|body| RecordedMessage {
                    at: started,
                    compressed: false,
                    body: Body::Kept(body),
                }));
            }
            EventKind::HostPaths { call, paths } => {
                if let Some(call) = self.open.get_mut(&call) {
                    call.host_paths = paths;
                }
            }
            EventKind::Message { call, from, compressed, body } => {
                let call = self.open.get_mut(&call)?;
                let messages = match from {
                    Side::Client => &mut call.requests,
                    Side::Runtime => &mut call.responses,
                };
                messages.push(RecordedMessage { at, compressed, body });
            }
            EventKind::ResponseStarted { call, metadata } => {
                self.open.get_mut(&call)?.response_metadata = Some(metadata);
            }
            EventKind::Trailers { call, metadata } => {
                return self.end(call, at, |_| Outcome::from_trailers(metadata));
            }
            EventKind::Reset { call, by, code } => {
                return self.end(call, at, |call| {
                    Outcome::from_reset(by, code, at.since(call.started), call.deadline)
                });
            }
            EventKind::Truncated { call } => return self.end(call, at, |_| Outcome::truncated()),
            EventKind::HalfClosed { .. }
            | EventKind::ConnectionClosed { .. }
            | EventKind::ConnectionLost { .. }
            | EventKind::Surroundings(_)
            | EventKind::Opening(_)
            | EventKind::Gap(_)
            | EventKind::Traffic { .. }
            | EventKind::ClockAnchor { .. } => {}
        }
        None
    }

    /// The calls whose end is not on the tape, as truncated, in the order of their starts.
    pub fn finish(self) -> Vec<Call> {
        let last = self.last;
        self.open
            .into_values()
            .map(|call| Call { ended: last, outcome: Outcome::truncated(), ..call })
            .collect()
    }

    /// The connections seen so far.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values()
    }

    fn start(&mut self, id: CallId, connection: ConnectionId, path: String, metadata: Metadata, at: Stamp) {
        let call = Call {
            id,
            connection,
            peer: self.connections.get(&connection).and_then(|connection| connection.peer.clone()),
            started: at,
            path,
            sent_as: None,
            deadline: metadata.text("grpc-timeout").and_then(parse_timeout),
            metadata,
            requests: Vec::new(),
            response_metadata: None,
            responses: Vec::new(),
            ended: at,
            outcome: Outcome::truncated(),
            host_paths: Vec::new(),
        };
        self.open.insert(id, call);
    }

    fn end(&mut self, id: CallId, at: Stamp, outcome: impl FnOnce(&Call) -> Outcome) -> Option<Call> {
        let mut call = self.open.remove(&id)?;
        call.outcome = outcome(&call);
        call.ended = at;
        Some(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, Ending, Header};
    use bytes::Bytes;

    fn started(call: u64) -> EventKind {
        EventKind::CallStarted {
            call: CallId(call),
            connection: ConnectionId(1),
            stream: 1,
            path: "/runtime.v1.RuntimeService/Version".into(),
            metadata: Metadata(vec![Header { name: "grpc-timeout".into(), value: "2S".into() }]),
        }
    }

    fn push(assembler: &mut Assembler, at: u64, kind: EventKind) -> Option<Call> {
        assembler.push(Event { at: Stamp(at), kind })
    }

    #[test]
    fn a_call_ends_with_its_trailers() {
        let mut assembler = Assembler::default();
        assert!(push(&mut assembler, 10, started(1)).is_none());
        let body = Body::Kept(Bytes::from_static(b"x"));
        let message = EventKind::Message { call: CallId(1), from: Side::Runtime, compressed: false, body };
        assert!(push(&mut assembler, 15, message).is_none());
        let trailers = Metadata(vec![Header { name: "grpc-status".into(), value: "0".into() }]);
        let call =
            push(&mut assembler, 20, EventKind::Trailers { call: CallId(1), metadata: trailers }).unwrap();
        assert!(call.outcome.is_ok());
        assert_eq!(call.duration().as_nanos(), 10);
        assert_eq!(call.deadline.unwrap().as_secs(), 2);
        assert_eq!(call.responses.len(), 1);
        assert!(assembler.finish().is_empty());
    }

    #[test]
    fn a_call_without_an_end_is_truncated() {
        let mut assembler = Assembler::default();
        push(&mut assembler, 10, started(1));
        push(&mut assembler, 12, started(2));
        let calls = assembler.finish();
        assert_eq!(calls.len(), 2);
        assert!(calls.iter().all(|call| call.outcome.ending == Ending::Truncated && call.ended == Stamp(12)));
    }

    #[test]
    fn events_of_unknown_calls_change_nothing() {
        let mut assembler = Assembler::default();
        assert!(push(&mut assembler, 1, EventKind::Truncated { call: CallId(9) }).is_none());
    }
}
