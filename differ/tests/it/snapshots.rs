//! Streams of events: the states that each event carries.

use cri::v1::{ContainerEventType as Event, ContainerState, ContainerStatus, PodSandboxState};
use cri::{Generation, IdentityKind, methods, v1};
use critape_calls::{IdentityMap, Live, Recorded, Stamp};
use critape_differ::{Comparer, EventSequences, Memory, Rules};
use prost::Message as _;
use prost_reflect::DynamicMessage;

use ContainerState::{ContainerCreated as CREATED, ContainerExited as EXITED, ContainerRunning as RUNNING};
use Event::{ContainerStartedEvent as STARTED, ContainerStoppedEvent as STOPPED};
use PodSandboxState::{SandboxNotready as NOTREADY, SandboxReady as READY};

use super::Changing;

/// When the streams begin, in nanoseconds since the epoch.
const BEGUN: u64 = 1_790_000_000_000_000_000;
const MILLISECOND: u64 = 1_000_000;

fn status(id: &str, state: ContainerState, exit_code: i32) -> ContainerStatus {
    let is_over = state == EXITED;
    ContainerStatus {
        id: id.into(),
        state: state.into(),
        exit_code,
        reason: if is_over { "Error".into() } else { String::new() },
        finished_at: if is_over { BEGUN as i64 } else { 0 },
        ..Default::default()
    }
}

/// An event so many milliseconds after the stream began.
fn event(kind: Event, id: &str, at: u64, pod: PodSandboxState, statuses: &[ContainerStatus]) -> Vec<u8> {
    let pod = v1::PodSandboxStatus { id: "p".into(), state: pod.into(), ..Default::default() };
    let event = v1::ContainerEventResponse {
        container_id: id.into(),
        container_event_type: kind.into(),
        created_at: (BEGUN + at * MILLISECOND) as i64,
        pod_sandbox_status: Some(pod),
        containers_statuses: statuses.to_vec(),
    };
    event.encode_to_vec()
}

/// What is found, as path and transition or live value.
fn found(recorded: &[Vec<u8>], live: &[Vec<u8>]) -> Vec<String> {
    let (rules, memory, mut ids) = (Rules::standard(), Memory::default(), IdentityMap::default());
    ids.bind(IdentityKind::Sandbox, "p", "p");
    ["c", "d"].into_iter().for_each(|id| ids.bind(IdentityKind::Container, id, id));
    let method = methods().by_name(Generation::V1, "GetContainerEvents").unwrap();
    let [recorded, live] = [recorded, live].map(|events| {
        let mut stream = EventSequences::begun_at(Stamp(BEGUN));
        let read = |bytes: &Vec<u8>| DynamicMessage::decode(method.output(), bytes.as_slice()).unwrap();
        events.iter().map(read).for_each(|event| stream.push(event));
        stream
    });
    let comparer = Comparer::new(&rules, &ids, &memory);
    let compared = comparer.events(method, Recorded(&recorded), Live(&live), &Changing);
    let shown = |it: &critape_differ::Divergence| {
        let what = it.transition.clone().unwrap_or_else(|| it.live.to_string());
        format!("{} {what}", it.path)
    };
    compared.divergences.iter().map(shown).collect()
}

#[test]
fn how_a_container_ended_is_compared() {
    let stopped = |change: fn(&mut ContainerStatus)| {
        let mut status = status("c", EXITED, 137);
        change(&mut status);
        [event(STOPPED, "c", 0, READY, &[status])]
    };
    let recorded = stopped(|_| ());
    let differs = |change| found(&recorded, &stopped(change));
    assert!(differs(|_| ()).is_empty());
    assert_eq!(differs(|it| it.exit_code = 0), ["containers_statuses[].exit_code 0"]);
    assert_eq!(differs(|it| it.reason.clear()), ["containers_statuses[].reason present→absent"]);
    assert_eq!(differs(|it| it.message = "killed".into()), ["containers_statuses[].message absent→present"]);
    assert_eq!(differs(|it| it.finished_at = 0), ["containers_statuses[].finished_at \"0\""]);
    assert!(differs(|it| it.finished_at += 5).is_empty(), "every run has its own time");
}

#[test]
fn a_state_that_no_such_event_shows_is_found() {
    let stopped = |pod, state| {
        let code = if state == EXITED { 137 } else { 0 };
        [
            event(STOPPED, "c", 0, READY, &[status("c", state, code)]),
            event(STOPPED, "p", 9, pod, &[status("c", EXITED, 137)]),
        ]
    };
    let recorded = stopped(NOTREADY, EXITED);
    assert_eq!(
        found(&recorded, &stopped(NOTREADY, RUNNING)),
        ["containers_statuses[].state CONTAINER_EXITED→CONTAINER_RUNNING"]
    );
    assert_eq!(
        found(&recorded, &stopped(NOTREADY, ContainerState::ContainerUnknown)),
        ["containers_statuses[].state CONTAINER_EXITED→CONTAINER_UNKNOWN"]
    );
    assert_eq!(
        found(&recorded, &stopped(READY, EXITED)),
        ["pod_sandbox_status.state SANDBOX_NOTREADY→SANDBOX_READY"]
    );
}

#[test]
fn a_state_that_its_times_do_not_fit_is_found_with_them() {
    let torn = ContainerStatus { finished_at: 0, ..status("c", EXITED, 0) };
    let [started, stopped] = beside(RUNNING, RUNNING, 100);
    let torn = event(STARTED, "c", 0, READY, &[torn, status("d", RUNNING, 0)]);
    assert_eq!(
        found(&[started, stopped.clone()], &[torn, stopped]),
        [
            "containers_statuses[].state CONTAINER_RUNNING→CONTAINER_EXITED",
            "containers_statuses[].finished_at \"0\""
        ]
    );
}

/// A container starts beside another one, and stops so many milliseconds later; in its first event the two have these
/// states.
fn beside(own: ContainerState, other: ContainerState, stops: u64) -> [Vec<u8>; 2] {
    [
        event(STARTED, "c", 0, READY, &[status("c", own, 0), status("d", other, 0)]),
        event(STOPPED, "c", stops, READY, &[status("c", EXITED, 0), status("d", RUNNING, 0)]),
    ]
}

#[test]
fn a_state_of_a_moment_before_or_after_is_none() {
    let none: [&str; 0] = [];
    let brief = beside(RUNNING, RUNNING, 100);
    assert_eq!(found(&brief, &beside(EXITED, RUNNING, 100)), none, "it ended as it was told to have started");
    let long = beside(RUNNING, RUNNING, 2000);
    assert_eq!(found(&long, &beside(EXITED, RUNNING, 2000)).len(), 1, "this one ran on");
    let created = beside(RUNNING, CREATED, 100);
    assert_eq!(found(&created, &beside(RUNNING, RUNNING, 100)), none, "it was being started");
    let unknown = ContainerState::ContainerUnknown;
    assert_eq!(found(&brief, &beside(RUNNING, unknown, 100)).len(), 1, "no event shows that of any");
}
