//! Which part of a tape is meant.

use std::collections::BTreeSet;

use critape_calls::{Call, CallId, ConnectionId, EventKind};

/// The part of a tape that an export holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Slice {
    /// All of it.
    #[default]
    All,
    /// Some calls, with their connections and what the runtime held before them.
    Calls(Chosen),
}

/// Calls that were chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    calls: BTreeSet<CallId>,
    connections: BTreeSet<ConnectionId>,
}

impl Chosen {
    /// Chooses this call.
    pub fn add(&mut self, call: &Call) {
        self.calls.insert(call.id);
        self.connections.insert(call.connection);
    }
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is part of the slice.
    Kept,
    /// It is part of the slice where anything else of its segment is.
    Context,
    /// It is not.
    Left,
}

impl Slice {
    pub(super) fn fate(&self, event: &EventKind) -> Fate {
        let Self::Calls(chosen) = self else { return Fate::Kept };
        let kept = match event {
            EventKind::Surroundings(_)
            | EventKind::Opening(_)
            | EventKind::ClockAnchor { .. }
            // What is missing may be of these calls.
            | EventKind::Gap(_) => return Fate::Context,
            // Every later segment repeats what goes on: alone that says nothing.
            EventKind::ConnectionContinues { connection, .. } => {
                return if chosen.connections.contains(connection) { Fate::Context } else { Fate::Left };
            }
            EventKind::CallContinues { call, .. } => {
                return if chosen.calls.contains(call) { Fate::Context } else { Fate::Left };
            }
            EventKind::ConnectionOpened { connection, .. }
            | EventKind::ConnectionLost { connection, .. }
            | EventKind::ConnectionClosed { connection } => {
                chosen.connections.contains(connection)
            }
            EventKind::CallStarted { call, .. }
            | EventKind::HostPaths { call, .. }
            | EventKind::Message { call, .. }
            | EventKind::HalfClosed { call }
            | EventKind::ResponseStarted { call, .. }
            | EventKind::Trailers { call, .. }
            | EventKind::Reset { call, .. }
            | EventKind::Truncated { call } => chosen.calls.contains(call),
            // Bytes of all calls together.
            EventKind::Traffic { .. } => false,
        };
        if kept { Fate::Kept } else { Fate::Left }
    }
}
