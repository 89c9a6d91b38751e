//! Numbers of calls and connections that were given before the tape was opened, and so began at 1.

use critape_calls::{CallId, ConnectionId, Event, EventKind};
use critape_tape::Writer;

/// What is added to them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    calls: u64,
    connections: u64,
}

impl Numbers {
    /// So that they follow those on the tape.
    pub(crate) fn following(tape: &Writer) -> Self {
        Self { calls: tape.first_call().0 - 1, connections: tape.first_connection().0 - 1 }
    }

    pub(crate) fn shift(self, events: &mut [Event]) {
        if self.calls == 0 && self.connections == 0 {
            return;
        }
        for event in events {
            let (call, connection) = named(&mut event.kind);
            call.into_iter().for_each(|call| call.0 += self.calls);
            connection.into_iter().for_each(|connection| connection.0 += self.connections);
        }
    }
}

/// The call and the connection that an event names.
fn named(kind: &mut EventKind) -> (Option<&mut CallId>, Option<&mut ConnectionId>) {
    match kind {
        EventKind::CallStarted { call, connection, .. }
        | EventKind::CallContinues { call, connection, .. } => (Some(call), Some(connection)),
        EventKind::HostPaths { call, .. }
        | EventKind::Message { call, .. }
        | EventKind::HalfClosed { call }
        | EventKind::ResponseStarted { call, .. }
        | EventKind::Trailers { call, .. }
        | EventKind::Reset { call, .. }
        | EventKind::Truncated { call } => (Some(call), None),
        EventKind::ConnectionOpened { connection, .. }
        | EventKind::ConnectionLost { connection, .. }
        | EventKind::ConnectionContinues { connection, .. }
        | EventKind::ConnectionClosed { connection } => (None, Some(connection)),
        EventKind::Surroundings(_)
        | EventKind::Opening(_)
        | EventKind::Gap(_)
        | EventKind::Traffic { .. }
        | EventKind::ClockAnchor { .. } => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use critape_calls::Stamp;

    #[test]
    fn numbers_follow_those_that_are_there() {
        let numbers = Numbers { calls: 10, connections: 2 };
        let event = |kind| Event { at: Stamp(0), kind };
        let mut events = [
            event(EventKind::ConnectionClosed { connection: ConnectionId(1) }),
            event(EventKind::HalfClosed { call: CallId(3) }),
        ];
        numbers.shift(&mut events);
        assert_eq!(events[0].kind, EventKind::ConnectionClosed { connection: ConnectionId(3) });
        assert_eq!(events[1].kind, EventKind::HalfClosed { call: CallId(13) });
    }
}
