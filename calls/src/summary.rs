//! What a stretch of a tape holds, counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::{CallId, ConnectionId, Event, EventKind, Gap, Peer, Stamp};

/// Calls of one kind of client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSummary {
    /// Executable; empty where it is not known.
    pub exe: String,
    /// User id; `None` where the kernel did not say.
    pub uid: Option<u32>,
    /// Calls it made.
    pub calls: u64,
}

/// Counts over events. The writer keeps one for the segment's footer; a reader makes one where a footer is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// First and last moment.
    pub span: Option<(Stamp, Stamp)>,
    /// Connections opened.
    pub connections: u64,
    /// Calls started.
    pub calls: u64,
    /// Events.
    pub events: u64,
    /// Bytes that crossed the client's side of all connections.
    pub traffic: u64,
    /// The highest number of a call.
    pub last_call: Option<CallId>,
    /// The highest number of a connection.
    pub last_connection: Option<ConnectionId>,
    /// Packages of the calls, as `runtime.v1`.
    pub generations: BTreeSet<String>,
    /// What is missing, and when it was noticed.
    pub gaps: Vec<(Stamp, Gap)>,
    /// Calls by client: (exe, uid) → calls.
    pub peers: BTreeMap<(String, Option<u32>), u64>,
    /// Name and version of the runtime, from the last `Version` answer.
    pub runtime: Option<(String, String)>,
    peer_of: BTreeMap<ConnectionId, (String, Option<u32>)>,
}

impl Summary {
    /// Counts one event.
    pub fn add(&mut self, event: &Event) {
        self.events += 1;
        let (first, last) = self.span.unwrap_or((event.at, event.at));
        self.span = Some((first.min(event.at), last.max(event.at)));
        match &event.kind {
            EventKind::ConnectionOpened { connection, peer } => {
                self.connections += 1;
                self.last_connection = self.last_connection.max(Some(*connection));
                self.note_peer(*connection, peer.as_ref());
            }
            EventKind::ConnectionContinues { connection, peer, .. } => {
                self.note_peer(*connection, peer.as_ref());
            }
            EventKind::ConnectionClosed { connection } => {
                self.peer_of.remove(connection);
            }
            EventKind::CallStarted { call, connection, path, .. } => {
                self.calls += 1;
                self.last_call = self.last_call.max(Some(*call));
                if let Some(method) = cri::methods().by_path(path) {
                    self.generations.insert(method.generation.to_string());
                }
                let peer = self.peer_of.get(connection).cloned().unwrap_or_default();
                *self.peers.entry(peer).or_default() += 1;
            }
            EventKind::Traffic { bytes } => self.traffic += bytes,
            EventKind::Gap(gap) => self.gaps.push((event.at, *gap)),
            EventKind::Opening(opening) => {
                self.runtime = opening.runtime().or_else(|| self.runtime.take());
            }
            _ => {}
        }
    }

    fn note_peer(&mut self, connection: ConnectionId, peer: Option<&Peer>) {
        let (exe, uid) = peer.map_or((String::new(), None), |peer| (peer.exe.clone(), Some(peer.uid)));
        self.note_connection(connection, exe, uid);
    }

    /// Notes who calls on a connection that opened before the counting began.
    pub fn note_connection(&mut self, connection: ConnectionId, exe: String, uid: Option<u32>) {
        self.peer_of.insert(connection, (exe, uid));
    }

    /// The connections that have not been closed, each with its client's executable and user id.
    pub fn open_connections(&self) -> impl Iterator<Item = (ConnectionId, &str, Option<u32>)> {
        self.peer_of.iter().map(|(connection, (exe, uid))| (*connection, exe.as_str(), *uid))
    }

    /// Adds what a later stretch holds.
    pub fn merge(&mut self, later: &Summary) {
        self.span = match (self.span, later.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.connections += later.connections;
        self.calls += later.calls;
        self.events += later.events;
        self.traffic += later.traffic;
        self.last_call = self.last_call.max(later.last_call);
        self.last_connection = self.last_connection.max(later.last_connection);
        self.generations.extend(later.generations.iter().cloned());
        self.gaps.extend(later.gaps.iter().copied());
        for (peer, calls) in &later.peers {
            *self.peers.entry(peer.clone()).or_default() += calls;
        }
        if later.runtime.is_some() {
            self.runtime.clone_from(&later.runtime);
        }
    }

    /// The clients, those with most calls first.
    pub fn peers_by_calls(&self) -> Vec<PeerSummary> {
        let mut peers: Vec<_> = self
            .peers
            .iter()
            .map(|((exe, uid), calls)| PeerSummary { exe: exe.clone(), uid: *uid, calls: *calls })
            .collect();
        peers.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.exe.cmp(&b.exe)));
        peers
    }
}
