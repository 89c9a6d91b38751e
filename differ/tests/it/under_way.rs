//! Streams of events: what a call that is under way explains in an event, and what it does not.

use cri::v1::{ContainerEventType as Event, ContainerState, ContainerStatus, PodSandboxState};
use cri::{Generation, IdentityKind, methods, v1};
use critape_calls::{IdentityMap, Live, Recorded, Stamp};
use critape_differ::{Change, Comparer, EventSequences, Memory, Rules, Trajectories};
use prost::Message as _;
use prost_reflect::DynamicMessage;

use Event::{ContainerCreatedEvent as CREATED, ContainerStoppedEvent as STOPPED};

/// When the streams begin, in nanoseconds since the epoch.
const BEGUN: i64 = 1_790_000_000_000_000_000;
const NONE: [&str; 0] = [];

/// Calls are under way that do this to these.
#[derive(Clone, Copy)]
struct UnderWay(&'static [(Change, &'static str)]);

impl Trajectories for UnderWay {
    fn later(&self, _id: &str, _message_type: &str) -> Vec<DynamicMessage> {
        Vec::new()
    }

    fn is_changing(&self, id: &str) -> bool {
        self.0.iter().any(|(_, it)| *it == id)
    }

    fn is_under(&self, change: Change, id: &str) -> bool {
        self.0.contains(&(change, id))
    }
}

const NOTHING: UnderWay = UnderWay(&[]);
const MADE: UnderWay = UnderWay(&[(Change::Makes, "p"), (Change::Makes, "c"), (Change::Makes, "d")]);
const STOPS: UnderWay = UnderWay(&[(Change::Ends, "p"), (Change::Ends, "c"), (Change::Ends, "d")]);
const GOES: UnderWay = UnderWay(&[(Change::Removes, "c"), (Change::Removes, "d")]);

type Told = v1::ContainerEventResponse;

fn running(id: &str) -> ContainerStatus {
    let state = ContainerState::ContainerRunning.into();
    ContainerStatus { id: id.into(), state, started_at: BEGUN, ..Default::default() }
}

/// An event of the first of two containers in a pod.
fn told(kind: Event) -> Told {
    let network = v1::PodSandboxNetworkStatus { ip: "10.88.0.2".into(), ..Default::default() };
    let pod = v1::PodSandboxStatus {
        id: "p".into(),
        state: PodSandboxState::SandboxReady.into(),
        network: Some(network),
        ..Default::default()
    };
    v1::ContainerEventResponse {
        container_id: "c".into(),
        container_event_type: kind.into(),
        created_at: BEGUN,
        pod_sandbox_status: Some(pod),
        containers_statuses: vec![running("c"), running("d")],
    }
}

fn pod(event: &mut Told) -> &mut v1::PodSandboxStatus {
    event.pod_sandbox_status.as_mut().unwrap()
}

/// What is found between two streams, as path and transition or live value.
fn between(recorded: &[Told], live: &[Told], under_way: UnderWay) -> Vec<String> {
    let (rules, memory, mut ids) = (Rules::standard(), Memory::default(), IdentityMap::default());
    ids.bind(IdentityKind::Sandbox, "p", "p");
    ["c", "d"].into_iter().for_each(|id| ids.bind(IdentityKind::Container, id, id));
    let method = methods().by_name(Generation::V1, "GetContainerEvents").unwrap();
    let [recorded, live] = [recorded, live].map(|events| {
        let mut stream = EventSequences::begun_at(Stamp(BEGUN.unsigned_abs()));
        let read = |it: &Told| DynamicMessage::decode(method.output(), it.encode_to_vec().as_slice());
        events.iter().map(read).for_each(|event| stream.push(event.unwrap()));
        stream
    });
    let comparer = Comparer::new(&rules, &ids, &memory);
    let compared = comparer.events(method, Recorded(&recorded), Live(&live), &under_way);
    let shown = |it: &critape_differ::Divergence| {
        let what = it.transition.clone().unwrap_or_else(|| it.live.to_string());
        format!("{} {what}", it.path)
    };
    compared.divergences.iter().map(shown).collect()
}

/// The same of one event that is changed in the live stream.
fn found(kind: Event, under_way: UnderWay, change: impl Fn(&mut Told)) -> Vec<String> {
    let mut live = told(kind);
    change(&mut live);
    between(&[told(kind)], &[live], under_way)
}

#[test]
fn a_network_is_gone_only_where_its_sandbox_ends() {
    let gone = |under_way| found(STOPPED, under_way, |it| pod(it).network = None);
    for under_way in [NOTHING, MADE, GOES] {
        assert_eq!(gone(under_way), ["pod_sandbox_status.network present→absent"]);
    }
    assert_eq!(gone(STOPS), NONE);
    let addressed = |under_way, ip: &str| {
        found(STOPPED, under_way, |it| pod(it).network.as_mut().unwrap().ip = ip.into())
    };
    assert_eq!(addressed(STOPS, ""), NONE);
    for under_way in [NOTHING, MADE, STOPS] {
        assert_eq!(addressed(under_way, "fd00::7"), ["pod_sandbox_status.network.ip \"fd00::7\""]);
    }
}

#[test]
fn a_network_that_was_about_to_go_is_the_one_that_it_had() {
    let mut gone = told(STOPPED);
    pod(&mut gone).network = None;
    let recorded = [told(CREATED), gone];
    let live = |ip: &str| {
        let mut stopped = told(STOPPED);
        pod(&mut stopped).network.as_mut().unwrap().ip = ip.into();
        [told(CREATED), stopped]
    };
    assert_eq!(between(&recorded, &live("10.88.7.7"), STOPS), NONE);
    assert_eq!(
        between(&recorded, &live("fd00::7"), STOPS),
        ["pod_sandbox_status.network absent→present"],
        "it had no such"
    );
    assert_eq!(between(&recorded, &live("10.88.7.7"), NOTHING).len(), 1, "nothing took it away");
}

#[test]
fn a_sandbox_is_not_ready_only_where_it_ends() {
    let mut over = told(STOPPED);
    pod(&mut over).state = PodSandboxState::SandboxNotready.into();
    let recorded = [told(CREATED), over.clone()];
    let mut early = told(CREATED);
    pod(&mut early).state = PodSandboxState::SandboxNotready.into();
    let live = [early, over];
    let not_ready = |under_way| between(&recorded, &live, under_way);
    assert_eq!(not_ready(MADE), ["pod_sandbox_status.state SANDBOX_READY→SANDBOX_NOTREADY"]);
    assert_eq!(not_ready(STOPS), NONE);
}

#[test]
fn a_status_is_missing_only_while_its_container_is_made_or_removed() {
    let lacks = |kind, under_way, id: &str| {
        found(kind, under_way, |it| it.containers_statuses.retain(|status| status.id != id))
    };
    let missing = ["containers_statuses[] present→absent"];
    for (under_way, expected) in [(NOTHING, &missing[..]), (STOPS, &missing), (MADE, &NONE), (GOES, &NONE)] {
        assert_eq!(lacks(CREATED, under_way, "d"), expected);
    }
    assert_eq!(lacks(CREATED, MADE, "c"), missing, "it is what the event tells of");
    assert_eq!(lacks(STOPPED, STOPS, "c"), missing);
    assert_eq!(lacks(STOPPED, GOES, "c"), NONE);
}

#[test]
fn the_times_of_a_container_fit_its_state() {
    let first = |it: &mut Told, change: fn(&mut ContainerStatus)| change(&mut it.containers_statuses[0]);
    assert_eq!(
        found(CREATED, STOPS, |it| first(it, |status| status.started_at = 0)),
        ["containers_statuses[].started_at \"0\""]
    );
    assert_eq!(
        found(CREATED, STOPS, |it| first(it, |status| status.finished_at = BEGUN)),
        [format!("containers_statuses[].finished_at \"{BEGUN}\"")]
    );
    // It may be seen running where it was about to be started, as one that runs.
    let about_to_start = |status: &mut ContainerStatus| {
        status.state = ContainerState::ContainerCreated.into();
        status.started_at = 0;
    };
    let mut before = told(CREATED);
    about_to_start(&mut before.containers_statuses[1]);
    let recorded = [before, told(STOPPED)];
    let mut live = [told(CREATED), told(STOPPED)];
    let found = |live: &[Told]| between(&recorded, live, MADE);
    assert_eq!(found(&live), NONE);
    live[0].containers_statuses[1].started_at = 0;
    assert_eq!(
        found(&live),
        [
            "containers_statuses[].state CONTAINER_CREATED→CONTAINER_RUNNING",
            "containers_statuses[].started_at \"0\""
        ]
    );
}
