//! What the live streams of events have shown, for the calls that follow from it.
//!
//! A client that listens acts on what it hears. So a call waits until the live stream has shown what the client had seen on the recorded
//! one before, each event by its container and kind, as long as the recording took and `--settle` beyond. An event that does not come is
//! not waited for twice, and a stream that goes its own way not at all; what differs is found when streams are compared.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use cri::{IdentityKind, methods};
use critape_calls::{Call, IdentityMap, Resolution, Stamp, decode};
use critape_differ::event_kind;
use prost_reflect::DynamicMessage;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::Shared;
use crate::recording::script::{Client, Script};

/// How long to wait at most for a subscription to stand.
const STANDS_WITHIN: Duration = Duration::from_secs(1);
/// After so many events that did not come, none is waited for any more.
const MOST_MISSED: u32 = 3;

/// A container, and what happened to it.
type Happening = (String, String);

/// All streams of a replay, by their places in the script.
#[derive(Debug)]
pub(crate) struct Streams(Vec<(usize, Stream)>);

/// One stream, recorded and live.
#[derive(Debug)]
pub(crate) struct Stream {
    client: Client,
    from: Stamp,
    to: Stamp,
    recorded: Vec<Awaited>,
    /// What the live one has shown, how often.
    shown: RefCell<HashMap<Happening, usize>>,
    /// How many of the recorded events need not be waited for any more.
    passed: Cell<usize>,
    missed: Cell<u32>,
    state: watch::Sender<State>,
}

/// A recorded event.
#[derive(Debug)]
struct Awaited {
    at: Stamp,
    happening: Happening,
    /// How many like it there were up to here.
    count: usize,
    /// How long it took in the recording, from the last change on.
    took: Duration,
}

/// How far the live stream has come.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    stands: bool,
    is_over: bool,
    /// Grows with each event.
    events: usize,
}

impl Streams {
    pub(crate) fn of(script: &Script) -> Self {
        let streams = script.event_streams();
        Self(streams.map(|(index, call)| (index, Stream::of(call, |at| script.since_change(at)))).collect())
    }

    /// The stream at this place of the script.
    pub(crate) fn at(&self, index: usize) -> Option<&Stream> {
        self.0.iter().find(|(place, _)| *place == index).map(|(_, stream)| stream)
    }

    /// Waits until what the client of this call had seen has been seen here. Says whether it had to.
    pub(crate) async fn follow(&self, shared: &Shared, index: usize) -> bool {
        let call = &shared.script.calls[index];
        let mut waited = false;
        for (_, stream) in &self.0 {
            if stream.client == call.client && stream.from < call.started && call.started <= stream.to {
                let seen = stream.recorded.partition_point(|event| event.at < call.started);
                waited |= stream.until_shown(seen, shared).await;
            }
        }
        waited
    }

    /// Waits until those have ended here that had ended before this one began: two at once would take events from one another on
    /// runtimes that hand each to one listener only.
    pub(crate) async fn turn(&self, index: usize) {
        let Some(own) = self.at(index) else { return };
        for (_, stream) in self.0.iter().filter(|(place, it)| *place < index && it.to <= own.from) {
            let _ = stream.state.subscribe().wait_for(|state| state.is_over).await;
        }
    }
}

impl Stream {
    /// `took` says how long before a moment the last change was.
    fn of(call: &Call, took: impl Fn(Stamp) -> Duration) -> Self {
        let mut counts: HashMap<Happening, usize> = HashMap::new();
        let events = call.responses.iter().filter_map(|message| {
            let event = decode(call.method()?.output(), message.body.kept()?)?;
            Some((message.at, happening(&event)))
        });
        let recorded = events.map(|(at, happening)| {
            let count = counts.entry(happening.clone()).or_default();
            *count += 1;
            Awaited { at, happening, count: *count, took: took(at) }
        });
        Self {
            client: Client::of(call),
            from: call.started,
            to: call.ended,
            recorded: recorded.collect(),
            shown: RefCell::default(),
            passed: Cell::new(0),
            missed: Cell::new(0),
            state: watch::Sender::default(),
        }
    }

    /// Takes note of a live event.
    pub(crate) fn show(&self, event: &DynamicMessage) {
        *self.shown.borrow_mut().entry(happening(event)).or_default() += 1;
        self.state.send_modify(|state| state.events += 1);
    }

    /// Takes note that the runtime knows of the live subscription, as far as that can be seen.
    pub(crate) fn stands(&self) {
        self.state.send_modify(|state| state.stands = true);
    }

    /// Takes note that nothing more will come.
    pub(crate) fn end(&self) {
        self.state.send_modify(|state| *state = State { stands: true, is_over: true, ..*state });
    }

    /// Waits until it stands, but not for long: not every runtime lets it be seen.
    pub(crate) async fn until_it_stands(&self) {
        let mut state = self.state.subscribe();
        let _ = timeout(STANDS_WITHIN, state.wait_for(|state| state.stands)).await;
    }

    async fn until_shown(&self, seen: usize, shared: &Shared) -> bool {
        let mut state = self.state.subscribe();
        let mut waiting: Option<(usize, Instant)> = None;
        loop {
            state.mark_unchanged();
            self.pass(seen, &shared.ids.borrow());
            let next = self.passed.get();
            if next >= seen || state.borrow().is_over || self.missed.get() >= MOST_MISSED {
                return waiting.is_some();
            }
            let until = match waiting {
                Some((event, until)) if event == next => until,
                _ => Instant::now() + shared.patience(self.recorded[next].took),
            };
            waiting = Some((next, until));
            if timeout_at(until, state.changed()).await.is_err() && self.passed.get() == next {
                self.passed.set(next + 1);
                self.missed.set(self.missed.get() + 1);
            }
        }
    }

    /// Passes over those of the first `seen` recorded events that the live stream has shown, or can't show.
    fn pass(&self, seen: usize, ids: &IdentityMap) {
        let shown = self.shown.borrow();
        let has_come = |event: &Awaited| match ids.resolve(IdentityKind::Object, &event.happening.0) {
            Resolution::Live(id) => {
                shown.get(&(id, event.happening.1.clone())).is_some_and(|count| *count >= event.count)
            }
            _ => true,
        };
        let passed = self.passed.get();
        let more = self.recorded[passed..seen.max(passed)].iter().take_while(|event| has_come(event)).count();
        self.passed.set(passed + more);
    }
}

impl Shared {
    /// Until the runtime has seen all that was sent before: it takes the calls of a connection in order, and answers this one.
    pub(crate) async fn round_trip(&self, path: &str) {
        let method = methods().by_path(path);
        let Some(version) = method.and_then(|it| methods().by_name(it.generation, "Version")) else { return };
        let client = self.client.for_path(path);
        // Whatever it says.
        let _ = client.unary(&version.path, bytes::Bytes::new(), Some(STANDS_WITHIN)).await;
    }
}

fn happening(event: &DynamicMessage) -> Happening {
    let id = event.get_field_by_name("container_id").and_then(|id| id.as_str().map(str::to_owned));
    (id.unwrap_or_default(), event_kind(event))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cri::v1;

    use super::*;
    use crate::made_up::call;

    fn stream(id: u64, from: u64, to: u64) -> Stream {
        let said = v1::ContainerEventResponse::default();
        let call = call(id, "GetContainerEvents", (from, to), &v1::GetEventsRequest::default(), &said);
        Stream::of(&call, |_| Duration::ZERO)
    }

    async fn may_begin(streams: &Streams, index: usize) -> bool {
        timeout(Duration::ZERO, streams.turn(index)).await.is_ok()
    }

    /// Where runtimes hand each event to one listener only, a second one would take the first one's.
    #[tokio::test]
    async fn a_stream_begins_when_those_have_ended_that_had_ended_before_it() {
        let streams = Streams(vec![(0, stream(1, 0, 50)), (3, stream(2, 10, 200)), (7, stream(3, 60, 90))]);
        assert!(may_begin(&streams, 0).await && may_begin(&streams, 3).await, "two at once, as they were");
        assert!(!may_begin(&streams, 7).await, "the first is still open");
        streams.at(0).unwrap().end();
        assert!(may_begin(&streams, 7).await);
    }

    #[tokio::test]
    async fn a_subscription_stands_when_the_runtime_knows_of_it() {
        let stream = stream(1, 0, 50);
        let stands = async || timeout(Duration::from_millis(1), stream.until_it_stands()).await.is_ok();
        assert!(!stands().await);
        stream.stands();
        assert!(stands().await);
    }
}
