//! Streams of events: what is compared of each container's.

use cri::v1::{ContainerEventType as Kind, ContainerStatus};
use cri::{Generation, IdentityKind, methods, v1};
use critape_calls::{IdentityMap, Live, Recorded, Stamp};
use critape_differ::{Compared, Comparer, EventSequences, Memory, NoTrajectories, Rules, Subject};
use prost::Message as _;
use prost_reflect::DynamicMessage;

use Kind::{ContainerCreatedEvent as CREATED, ContainerDeletedEvent as DELETED};
use Kind::{ContainerStartedEvent as STARTED, ContainerStoppedEvent as STOPPED};

/// When the streams begin, in nanoseconds since the epoch; events come a second apart from then on.
const BEGUN: u64 = 1_790_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A stream with events of one container; the first are of the time before it.
fn stream(before: &[Kind], since: &[Kind], with_status: bool) -> EventSequences {
    let mut events = EventSequences::begun_at(Stamp(BEGUN));
    let times = (0..before.len()).map(|index| BEGUN - SECOND * (before.len() - index) as u64);
    let times = times.chain((0..since.len()).map(|index| BEGUN + SECOND * index as u64));
    let descriptor = methods().by_name(Generation::V1, "GetContainerEvents").unwrap().output();
    for (kind, at) in before.iter().chain(since).zip(times) {
        let status = ContainerStatus { id: "c".into(), ..Default::default() };
        let event = v1::ContainerEventResponse {
            container_id: "c".into(),
            container_event_type: (*kind).into(),
            created_at: at as i64,
            containers_statuses: if with_status { vec![status] } else { Vec::new() },
            ..Default::default()
        };
        let bytes = event.encode_to_vec();
        events.push(DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap());
    }
    events
}

fn compare(recorded: &EventSequences, live: &EventSequences) -> Compared {
    let (rules, memory, mut ids) = (Rules::standard(), Memory::default(), IdentityMap::default());
    ids.bind(IdentityKind::Container, "c", "c");
    let method = methods().by_name(Generation::V1, "GetContainerEvents").unwrap();
    let comparer = Comparer::new(&rules, &ids, &memory);
    comparer.events(method, Recorded(recorded), Live(live), &NoTrajectories)
}

/// What is found, or else the rules that let it pass.
fn said(recorded: &EventSequences, live: &EventSequences) -> Vec<String> {
    let compared = compare(recorded, live);
    let found: Vec<String> = compared.divergences.iter().map(|it| it.path.to_string()).collect();
    if found.is_empty() { compared.passed.into_keys().collect() } else { found }
}

#[test]
fn an_event_that_is_missing_is_found() {
    let all = [CREATED, STARTED, STOPPED, DELETED];
    let none: [&str; 0] = [];
    assert_eq!(said(&stream(&[], &all, true), &stream(&[], &all, true)), none);
    for missing in 0..4 {
        let mut left = all.to_vec();
        left.remove(missing);
        assert_eq!(said(&stream(&[], &all, true), &stream(&[], &left, true)), ["events"], "{missing}");
    }
}

/// It came where the missing one was to come, or with the last that came.
#[test]
fn what_is_found_says_of_which_container_and_when() {
    let all = [CREATED, STARTED, STOPPED, DELETED];
    let mut recorded = EventSequences::begun_at(Stamp(BEGUN));
    for (place, event) in stream(&[], &all, true).iter().enumerate() {
        recorded.push_at(event.clone(), Stamp(BEGUN + SECOND * place as u64 + 7));
    }
    let about = |live: &EventSequences| {
        let [found] = compare(&recorded, live).divergences.try_into().unwrap();
        found.about.unwrap()
    };
    let at = |place: u64| Subject {
        id: "c".to_owned(),
        live_id: "c".to_owned(),
        event_of: None,
        at: Some(Stamp(BEGUN + SECOND * place + 7)),
    };
    assert_eq!(about(&stream(&[], &[CREATED, STARTED, DELETED], true)), at(2));
    assert_eq!(about(&stream(&[], &[CREATED, STARTED, STOPPED, DELETED, STARTED], true)), at(3));
}

#[test]
fn what_was_before_the_stream_may_be_told_or_not() {
    let more = stream(&[CREATED, STARTED], &[STOPPED, DELETED], true);
    let less = stream(&[], &[STOPPED, DELETED], true);
    for (recorded, live) in [(&more, &less), (&less, &more)] {
        assert_eq!(said(recorded, live), ["events-before-the-stream"]);
    }
    assert_eq!(said(&more, &stream(&[CREATED, STARTED], &[DELETED], true)), ["events"]);
}

#[test]
fn a_container_removed_while_it_runs_may_stop_afterwards() {
    let first = stream(&[], &[CREATED, STARTED, STOPPED, DELETED], true);
    let other = stream(&[], &[CREATED, STARTED, DELETED, STOPPED], true);
    assert_eq!(said(&first, &other), ["removed-while-running"]);
    assert_eq!(said(&first, &stream(&[], &[STARTED, CREATED, STOPPED, DELETED], true)), ["events"]);
}

#[test]
fn an_event_without_its_containers_status_is_found() {
    let (with, without) = (stream(&[], &[CREATED], true), stream(&[], &[CREATED], false));
    for (recorded, live) in [(&with, &without), (&without, &with)] {
        assert_eq!(said(recorded, live), ["containers_statuses[]"]);
    }
}

/// The same container on both sides; the recorded client stopped listening so many seconds after the stream began,
/// and that moment came so many seconds after it in the live run. Gives whether the live events beyond the recorded
/// ones are a finding.
fn is_found(recorded: (&[Kind], u64), live: (&[Kind], u64)) -> bool {
    let [recorded, live] = [recorded, live].map(|(events, ended)| {
        let mut stream = stream(&[], events, true);
        stream.end_at(Stamp(BEGUN + SECOND * ended));
        stream
    });
    match said(&recorded, &live).as_slice() {
        [one] if one == "events" => true,
        [one] if one == "events-after-the-end" => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_events_are_none_where_the_client_had_stopped_listening() {
    let (begins, ends) = ([CREATED, STARTED], [CREATED, STARTED, STOPPED]);
    assert!(!is_found((&begins, 9), (&ends, 2)), "it came after that");
    assert!(is_found((&begins, 9), (&ends, 3)), "the recorded one ran on");
    assert!(!is_found((&begins, 2), (&ends, 9)), "a slower run: by then the client had stopped listening");
    assert!(is_found((&[], 9), (&begins, 9)), "nothing was told of it");
    assert!(!is_found((&[], 1), (&begins, 0)), "all of it came later");
}

#[test]
fn a_container_begins_once() {
    for again in [CREATED, STARTED] {
        assert!(is_found((&[CREATED, STARTED], 1), (&[CREATED, STARTED, again], 1)), "{again:?}");
    }
    let [recorded, live] =
        [&[CREATED, STARTED][..], &[CREATED, STARTED, STARTED]].map(|it| stream(&[], it, true));
    assert_eq!(said(&recorded, &live), ["events"], "between two tapes as well");
}
