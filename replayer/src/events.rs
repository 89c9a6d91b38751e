//! Streams of container events: followed beside the calls, compared when they end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cri::client::is_from_the_way;
use cri::{IdentityKind, Method};
use critape_calls::{Call, Ending, IdentityMap, Live, Outcome, Recorded, Resolution, Stamp, decode};
use critape_differ::{
    Compared, Comparer, Divergence, EVENT_SEQUENCE, EventSequences, Kind, Path, Severity, Trajectories,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::engine::{Shared, Turn};
use crate::judging::witness::{Calls, LiveSide};
use crate::schedule::streams::Stream;
use crate::sending::answer;

/// How long a stream that the recorded runtime ended may stay open here before that counts as a difference.
const END_GRACE: Duration = Duration::from_secs(2);
/// How long a runtime may take to have a listener on its list when it has answered what was asked later.
const SUBSCRIBES_WITHIN: Duration = Duration::from_millis(100);
/// The rule that lets pass that the first event of a stream went to a listener that has gone.
const FIRST_EVENT: &str = "first-event-taken";
/// How often to look whether all events have come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Follows one recorded stream on the live runtime.
pub(crate) async fn follow(shared: &Shared, turn: Turn, call: &Call) {
    let Some(stream) = shared.streams.at(turn.index) else { return };
    follow_on(shared, turn, stream, call).await;
    stream.end();
}

async fn follow_on(shared: &Shared, mut turn: Turn, watched: &Stream, call: &Call) {
    if let Some(reason) = shared.presence.why_gone() {
        shared.findings.borrow_mut().inconclusive(call.id, reason);
        return;
    }
    if shared.target.has_jealous_listeners() {
        let reason = "others may listen to this runtime's events, and it gives each to one listener alone";
        shared.findings.borrow_mut().inconclusive(call.id, reason.to_owned());
        return;
    }
    let Some(method) = call.method() else { return };
    let Some(request) = shared.request(&mut turn, call, method).await else { return };
    shared.findings.borrow_mut().calls().sent += 1;
    let path = &shared.way(call, method).path;
    let mut live = EventSequences::begun_at(now());
    let enough = async {
        if ended_by_runtime(call).is_some() {
            tokio::time::sleep(call.duration() + END_GRACE).await;
        } else {
            wait_for_recorded_end(shared, call).await;
        }
    };
    // Some runtimes send nothing, not even headers, before the first event: opening is part of the waiting.
    let opening = shared.client.for_path(path).stream(path, request, None);
    let ended = collect(shared, watched, call, method, (opening, &mut live), enough).await;
    let is_broken = ended.as_ref().is_some_and(|ended| ended.as_ref().is_err_and(is_from_the_way));
    let outcome = ended.map(|ended| ended.unwrap_or_else(|status| answer::from_status(&status)));
    if is_broken && Box::pin(is_gone(shared, watched, call, path)).await {
        shared.note_gone(call, &method.name, LiveSide::Events(&live, outcome.as_ref()));
        return;
    }
    if is_broken {
        shared.note_back(call, &method.name, LiveSide::Events(&live, outcome.as_ref()));
        let reason = "the runtime broke the connection on which its events came".to_owned();
        shared.findings.borrow_mut().inconclusive(call.id, reason);
        return;
    }
    let (recorded, ids) = (sequences(call, method), shared.ids.borrow());
    let side = LiveSide::Events(&live, outcome.as_ref());
    let calls = Calls { recorded: call, veil: &shared.script.veil, live: side, ids: Some(&shared.ids) };
    shared.oracles.borrow_mut().events((call, &calls), Recorded(&recorded), Live(&live), &ids);
    if shared.config.pace == crate::Pace::Recorded(1.0) {
        for (before, now) in EventSequences::delays_of_both(Recorded(&recorded), Live(&live), &ids) {
            shared.findings.borrow_mut().event_took(&call.path, before, now);
        }
    }
    let comparer = shared.comparer(&ids);
    let mut compared = compare(&comparer, call, method, &live, outcome.as_ref(), &shared.seen(call));
    if shared.target.gives_events_to_one() {
        let first =
            recorded.first_id(|id| matches!(ids.resolve(IdentityKind::Object, id), Resolution::Live(_)));
        let_pass_first(&mut compared, first);
    }
    if !compared.divergences.is_empty()
        && let Some(reason) = shared.follows_from_left_out(call, method)
    {
        shared.findings.borrow_mut().inconclusive(call.id, reason);
        return;
    }
    shared.findings.borrow_mut().add(&call.path, &calls, compared);
}

/// A runtime that gives each event to one listener gives the next one to who has just gone, as the replay before this one may have.
fn let_pass_first(compared: &mut Compared, first: Option<&str>) {
    let lacks_first = |it: &Divergence| {
        let (recorded, live) = (it.recorded.as_array(), it.live.as_array());
        let is_rest = recorded.zip(live).is_some_and(|(before, now)| before.get(1..) == Some(now));
        is_rest && it.rule == EVENT_SEQUENCE && it.about.as_ref().map(|about| about.id.as_str()) == first
    };
    if let Some(at) = compared.divergences.iter().position(lacks_first) {
        compared.divergences.remove(at);
        compared.merge(Compared::explained(FIRST_EVENT));
    }
}

/// Whether the runtime is gone whose stream broke. The calls beside it tell, up to its recorded end; after that it is looked for.
async fn is_gone(shared: &Shared, watched: &Stream, call: &Call, path: &str) -> bool {
    // Nothing more will come, whoever waits for it.
    watched.end();
    shared.presence.unless_gone(wait_for_recorded_end(shared, call)).await;
    shared.look_for_runtime(call, path).await;
    shared.presence.is_gone()
}

/// Until the moment at which the recorded client stopped listening has come here.
async fn wait_for_recorded_end(shared: &Shared, call: &Call) {
    shared.order.until(call.ended).await;
    if matches!(shared.config.pace, crate::Pace::Recorded(_)) {
        let due = shared.schedule.due_at(call.ended);
        tokio::time::sleep_until(shared.begun.get() + due).await;
    }
}

/// Collects events until the stream ends, or until `enough` and all that were recorded have come, or time is up. Gives how the stream
/// ended where it did.
async fn collect(
    shared: &Shared,
    watched: &Stream,
    call: &Call,
    method: &Method,
    (opening, live): (impl Future<Output = Result<Streaming<Bytes>, Status>>, &mut EventSequences),
    enough: impl Future<Output = ()>,
) -> Option<Result<Outcome, Status>> {
    let recorded = sequences(call, method);
    // Begins after the opening has been sent, on the same connection. A runtime may answer the later call first, and one that sends
    // headers at once says itself when it is ready.
    let path = call.method().map_or(&call.path, |method| &shared.way(call, method).path);
    let stands = async {
        shared.round_trip(path).await;
        tokio::time::sleep(SUBSCRIBES_WITHIN).await;
    };
    let mut knows = false;
    tokio::pin!(enough, opening, stands);
    let mut stream: Option<Streaming<Bytes>> = None;
    let mut waited: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            opened = &mut opening, if stream.is_none() => match opened {
                Ok(opened) => {
                    watched.stands();
                    stream = Some(opened);
                }
                Err(status) => return Some(Err(status)),
            },
            () = &mut stands, if !knows => {
                knows = true;
                watched.stands();
            }
            () = &mut enough, if waited.is_none() => {
                waited = Some(Instant::now());
                // Where the recorded runtime ended the stream, that moment is nothing that the live run comes to.
                if ended_by_runtime(call).is_none() {
                    live.end_at(now());
                }
            }
            Some(message) = next(&mut stream) => match message {
                Ok(Some(message)) => {
                    if let Some(event) = decode(method.output(), &message) {
                        watched.show(&event);
                        live.push_at(event, now());
                    }
                }
                Ok(None) => return Some(match stream.as_mut() {
                    Some(stream) => answer::from_end(stream).await,
                    None => Ok(Outcome::truncated()),
                }),
                Err(status) => return Some(Err(status)),
            },
            () = tokio::time::sleep(LOOK_EVERY), if waited.is_some() => {}
        }
        if let Some(since) = waited {
            let all = all_came(&recorded, live, &shared.ids.borrow());
            if all || since.elapsed() >= shared.config.settle {
                return None;
            }
        }
    }
}

/// As the runtime's clock has it, which is the same machine's.
fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The next message of a stream, if it is open.
async fn next(stream: &mut Option<Streaming<Bytes>>) -> Option<Result<Option<Bytes>, Status>> {
    match stream {
        Some(stream) => Some(stream.message().await),
        None => None,
    }
}

fn all_came(recorded: &EventSequences, live: &EventSequences, ids: &IdentityMap) -> bool {
    recorded.counts().all(|(id, count)| match ids.resolve(IdentityKind::Object, id) {
        Resolution::Live(id) => live.count(&id) >= count,
        _ => true,
    })
}

/// The recorded events of a stream, by container.
pub(crate) fn sequences(call: &Call, method: &Method) -> EventSequences {
    let mut sequences = EventSequences::begun_at(call.started);
    for message in &call.responses {
        if let Some(event) = message.body.kept().and_then(|bytes| decode(method.output(), bytes)) {
            sequences.push_at(event, message.at);
        }
    }
    sequences
}

/// What the two streams differ in. `outcome` is there where the live runtime ended its stream.
pub(crate) fn compare(
    comparer: &Comparer<'_>,
    call: &Call,
    method: &Method,
    live: &EventSequences,
    outcome: Option<&Outcome>,
    trajectories: &dyn Trajectories,
) -> Compared {
    let (mut compared, goes_on) = ends(comparer, call, method, (outcome, live.iter().count()));
    if goes_on {
        let mut recorded = sequences(call, method);
        recorded.end_at(call.ended);
        compared.merge(comparer.events(method, Recorded(&recorded), Live(live), trajectories));
    }
    compared
}

/// What differs in how a recorded stream and a live one ended, and whether there is something to compare in them. Of the live one its
/// end, where the runtime ended it, and how many events had come by then.
fn ends(
    comparer: &Comparer<'_>,
    call: &Call,
    method: &Method,
    (live, came): (Option<&Outcome>, usize),
) -> (Compared, bool) {
    // What has given events is served, however it ended.
    let ended = |recorded: &str, live: &str, came: usize| match came {
        0 => capability(recorded, live),
        _ => broken_off(comparer, method, (recorded, live), came),
    };
    let mut compared = Compared::default();
    match (ended_by_runtime(call), live) {
        (Some(recorded), Some(live)) => {
            (comparer.outcomes(&method.name, Recorded(recorded), Live(live)), true)
        }
        (Some(recorded), None) => {
            compared.divergences.push(ended(&recorded.code.to_string(), "open", call.responses.len()));
            (compared, true)
        }
        (None, Some(live)) => {
            compared.divergences.push(ended("open", &live.code.to_string(), came));
            (compared, false)
        }
        (None, None) => (compared, true),
    }
}

/// The outcome of a stream that its runtime ended.
pub(crate) fn ended_by_runtime(call: &Call) -> Option<&Outcome> {
    (call.outcome.ending == Ending::Status).then_some(&call.outcome)
}

/// One side ends a stream that it had served, after so many events; the other goes on with it.
fn broken_off(
    comparer: &Comparer<'_>,
    method: &Method,
    (recorded, live): (&str, &str),
    came: usize,
) -> Divergence {
    let side = |end: &str| match end {
        "open" => json!({ "kind": end }),
        code => json!({ "kind": "status", "code": code, "events": came }),
    };
    let path = Path::of(&["outcome", "code"]);
    let transition = format!("{recorded}→{live}");
    let severity = comparer.severity(&method.name, &path, Kind::Outcome, &transition);
    Divergence {
        path,
        kind: Kind::Outcome,
        recorded: side(recorded),
        live: side(live),
        transition: Some(transition),
        rule: "event-stream".to_owned(),
        severity: severity.unwrap_or(Severity::Breaking),
        settles: false,
        about: None,
    }
}

/// One side serves a stream that the other ends.
fn capability(recorded: &str, live: &str) -> Divergence {
    Divergence {
        path: Path::root("events"),
        kind: Kind::Capability,
        transition: Some(format!("{recorded}→{live}")),
        recorded: Value::from(recorded),
        live: Value::from(live),
        rule: "event-stream".to_owned(),
        severity: Severity::Behaviour,
        settles: false,
        about: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cri::v1;
    use critape_calls::Code;
    use critape_differ::{Memory, NoTrajectories, Rules};
    use prost::Message as _;

    use super::*;
    use crate::made_up;
    use v1::ContainerEventType::{ContainerCreatedEvent as CREATED, ContainerStartedEvent as STARTED};

    /// A stream with one event, or none, which its client ended or its runtime.
    fn stream(events: usize, ending: Ending, code: Code) -> Call {
        let event = v1::ContainerEventResponse { container_id: "c".to_owned(), ..Default::default() };
        let asked = v1::GetEventsRequest::default();
        let mut call = made_up::call(1, "GetContainerEvents", (0, 9), &asked, &event);
        call.responses.truncate(events);
        let outcome = Outcome { ending, code, ..call.outcome };
        Call { outcome, ..call }
    }

    #[test]
    fn a_listener_that_has_gone_may_take_the_first_event() {
        let (rules, memory, mut ids) = (Rules::standard(), Memory::default(), IdentityMap::default());
        ["c", "d"].into_iter().for_each(|id| ids.bind(IdentityKind::Container, id, id));
        let events = |told: &[(&str, v1::ContainerEventType)]| {
            let mut call = stream(1, Ending::Cancelled, Code(1));
            let message = call.responses.remove(0);
            for (place, (id, kind)) in told.iter().enumerate() {
                let event = v1::ContainerEventResponse {
                    container_id: (*id).to_owned(),
                    container_event_type: (*kind).into(),
                    created_at: 1 << 60,
                    ..Default::default()
                };
                let body = critape_calls::Body::Kept(event.encode_to_vec().into());
                let at = Stamp(call.started.0 + place as u64);
                call.responses.push(critape_calls::RecordedMessage { at, body, ..message.clone() });
            }
            call
        };
        let recorded = events(&[("d", CREATED), ("c", CREATED), ("d", STARTED), ("c", STARTED)]);
        let found = |told: &[(&str, v1::ContainerEventType)]| {
            let (method, live) = (recorded.method().unwrap(), events(told));
            let comparer = Comparer::new(&rules, &ids, &memory);
            let (before, live) = (sequences(&recorded, method), sequences(&live, method));
            let mut compared = compare(&comparer, &recorded, method, &live, None, &NoTrajectories);
            let_pass_first(&mut compared, before.first_id(|_| true));
            compared.divergences.len()
        };
        assert_eq!(found(&[("c", CREATED), ("d", STARTED), ("c", STARTED)]), 0);
        assert_eq!(found(&[("d", CREATED), ("d", STARTED), ("c", STARTED)]), 1, "it is not the first");
        assert_eq!(found(&[("d", CREATED), ("c", CREATED), ("c", STARTED)]), 1);
    }

    #[test]
    fn a_stream_that_gave_events_and_broke_was_served() {
        let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
        let comparer = Comparer::new(&rules, &ids, &memory);
        let found = |recorded: &Call, live: &Call| {
            let method = recorded.method().unwrap();
            let ended = ended_by_runtime(live);
            let live = sequences(live, method);
            let mut found = compare(&comparer, recorded, method, &live, ended, &NoTrajectories).divergences;
            let one = found.pop().unwrap();
            assert!(found.is_empty(), "{found:?}");
            (format!("{} {} {}", one.path, one.kind, one.transition.unwrap()), one.severity, one.live)
        };
        let open = stream(1, Ending::Cancelled, Code(1));
        let broken = |events| stream(events, Ending::Status, Code::UNAVAILABLE);
        let (told, severity, live) = found(&open, &broken(1));
        assert_eq!((told.as_str(), severity), ("outcome.code outcome open→UNAVAILABLE", Severity::Breaking));
        assert_eq!(live["events"], 1);
        let (told, severity, _) = found(&broken(1), &open);
        assert_eq!((told.as_str(), severity), ("outcome.code outcome UNAVAILABLE→open", Severity::Behaviour));
        let (told, severity, _) = found(&open, &broken(0));
        assert_eq!((told.as_str(), severity), ("events capability open→UNAVAILABLE", Severity::Behaviour));
    }
}
