//! What a connection's bytes mean, written down as events.

mod state;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use critape_calls::{ConnectionId, Event, EventKind, Peer, Side, Stamp};
use critape_wire::{Limits, Observer};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::counters::Counters;
use crate::queue::Queue;
use state::{Counts, State};

/// How often the bytes of a connection that is not understood are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Numbers and ways that all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) next_call: Cell<u64>,
    pub(crate) next_connection: Cell<u64>,
    /// Bytes forwarded since the last time they were noted.
    pub(crate) traffic: Cell<u64>,
    pub(crate) counters: Arc<Counters>,
    /// What is being looked up on other threads.
    pub(crate) lookups: RefCell<JoinSet<()>>,
}

impl Shared {
    fn take(counter: &Cell<u64>) -> u64 {
        counter.replace(counter.get() + 1)
    }

    fn push(&self, at: Stamp, kind: EventKind) {
        self.queue.push(Event { at, kind });
    }

    /// Writes down how many bytes crossed since the last time.
    pub(crate) fn note_traffic(&self) {
        while self.lookups.borrow_mut().try_join_next().is_some() {}
        let bytes = self.traffic.replace(0);
        if bytes > 0 {
            self.push(self.clock.now(), EventKind::Traffic { bytes });
        }
    }
}

/// Watches one connection. When it is dropped, what had not ended is truncated.
#[derive(Debug)]
pub(crate) struct Tap {
    /// None after an error of its own.
    observer: Option<Observer>,
    state: State,
}

impl Tap {
    pub(crate) fn new(shared: Rc<Shared>, peer: Option<Peer>) -> Self {
        let connection = ConnectionId(Shared::take(&shared.next_connection));
        let at = shared.clock.now();
        shared.counters.connected();
        let mut state = State::new(shared, connection, peer, at);
        state.announce(|connection, peer, _| EventKind::ConnectionOpened { connection, peer });
        Self { observer: Some(Observer::new(Limits::default())), state }
    }

    /// Bytes that one side sent, read at `at`.
    pub(crate) fn feed(&mut self, from: Side, at: Stamp, bytes: &[u8]) {
        let traffic = &self.state.shared.traffic;
        traffic.set(traffic.get() + bytes.len() as u64);
        self.state.shared.counters.forwarded(from, bytes.len() as u64);
        self.state.at = at;
        let from = match from {
            Side::Client => critape_wire::Side::Client,
            Side::Runtime => critape_wire::Side::Server,
        };
        if let Some(lost) = &mut self.state.lost {
            lost.bytes += bytes.len() as u64;
            self.state.count_lost(COUNT_EVERY);
            return;
        }
        let (Some(observer), state) = (&mut self.observer, &mut self.state) else { return };
        // A bug of ours may cost the recording, never a call.
        if catch_unwind(AssertUnwindSafe(|| observer.feed(from, bytes, state))).is_err() {
            self.observer = None;
            self.state.lose("an error of critape's own".to_owned(), Counts::Yes);
        }
        if let Some(lost) = &mut self.state.lost {
            // Which of them were still understood is not known.
            lost.bytes = bytes.len() as u64;
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let (Some(observer), state) = (&mut self.observer, &mut self.state) {
            let _ = catch_unwind(AssertUnwindSafe(|| observer.end(state)));
        }
        self.state.close();
    }
}
