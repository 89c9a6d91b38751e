//! What has begun and not ended: the next segment must know it, to stand on its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use critape_calls::{Body, CallId, ConnectionId, Event, EventKind, Metadata, Peer, Side, Stamp};

/// A request is repeated in later segments only where it is this small; those of streams are.
const SMALL_REQUEST: usize = 4 * 1024;

/// Connections that are open and calls that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Ongoing {
    connections: BTreeMap<ConnectionId, (Option<Peer>, Stamp)>,
    calls: BTreeMap<CallId, Started>,
}

#[derive(Debug)]
struct Started {
    connection: ConnectionId,
    stream: u32,
    path: String,
    metadata: Metadata,
    at: Stamp,
    request: Option<Bytes>,
}

impl Ongoing {
    /// Takes the next event.
    pub(crate) fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::ConnectionOpened { connection, peer } => {
                self.connections.insert(*connection, (peer.clone(), event.at));
            }
            EventKind::ConnectionClosed { connection } => {
                self.connections.remove(connection);
            }
            EventKind::CallStarted { call, connection, stream, path, metadata } => {
                let started = Started {
                    connection: *connection,
                    stream: *stream,
                    path: path.clone(),
                    metadata: metadata.clone(),
                    at: event.at,
                    request: None,
                };
                self.calls.insert(*call, started);
            }
            EventKind::Message { call, from: Side::Client, compressed: false, body: Body::Kept(body) } => {
                if let Some(started) = self.calls.get_mut(call)
                    && body.len() <= SMALL_REQUEST
                {
                    started.request.get_or_insert_with(|| body.clone());
                }
            }
            EventKind::Trailers { call, .. }
            | EventKind::Reset { call, .. }
            | EventKind::Truncated { call } => {
                self.calls.remove(call);
            }
            _ => {}
        }
    }

    /// The request path of a call; nothing where it is not known.
    pub(crate) fn path(&self, call: CallId) -> &str {
        self.calls.get(&call).map_or("", |started| &started.path)
    }

    /// What a segment that begins now must say first.
    pub(crate) fn continued(&self, at: Stamp) -> Vec<Event> {
        let connections = self.connections.iter().map(|(connection, (peer, opened))| {
            EventKind::ConnectionContinues { connection: *connection, peer: peer.clone(), opened: *opened }
        });
        let calls = self.calls.iter().map(|(call, started)| EventKind::CallContinues {
            call: *call,
            connection: started.connection,
            stream: started.stream,
            path: started.path.clone(),
            metadata: started.metadata.clone(),
            started: started.at,
            request: started.request.clone(),
        });
        connections.chain(calls).map(|kind| Event { at, kind }).collect()
    }
}
