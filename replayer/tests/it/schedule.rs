//! When calls are sent, and which.

use std::time::Duration;

use cri::endpoint::Endpoints;
use cri::v1::{self, ContainerEventType};
use critape_calls::{Call, ObjectIndex};
use critape_differ::Verdict;
use critape_replayer::{Config, Pace, Replay, Selection};
use prost::Message;

use crate::world::{Client, World, container_request, pod, recorded};
use crate::{NO_WAIT, signatures};

/// Twice as fast as recorded: how long calls take, which is compared at the recorded speed, depends on what else the machine does.
const RECORDED: fn(Config) -> Config =
    |config| Config { pace: Pace::Recorded(2.0), settle: Duration::from_millis(300), ..config };
const EVERY_POLL: fn(Config) -> Config = |config| Config { every_poll: true, ..RECORDED(config) };

/// Looks at everything so often.
async fn polls(client: &Client, container: &str, times: usize) {
    for _ in 0..times {
        client.list_containers(None).await;
        client.container_status(container).await;
        client.status().await;
    }
}

/// A pod that ends by itself, polled before and after.
async fn polled(client: &Client) {
    client.pull("registry.example/app:1").await;
    let sandbox = client.run(pod("job")).await;
    let container = client.create(&sandbox, container_request("app", "sleep 0.3; exit 6")).await;
    client.start(&container).await;
    polls(client, &container, 20).await;
    client.until_exited(&container).await;
    polls(client, &container, 20).await;
    client.remove_pod(&sandbox).await;
}

#[tokio::test]
async fn polls_collapse_at_the_recorded_pace_and_nowhere_else() {
    let tape = recorded(&World::new(&[]), polled).await;
    let report = World::new(&[]).replay(&tape, RECORDED).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    let calls = report.calls;
    assert!(calls.collapsed > 60, "{calls:?}");
    assert_eq!((calls.sent + calls.collapsed, calls.compared), (calls.recorded, calls.recorded), "{calls:?}");
    let max: fn(Config) -> Config = |config| Config { pace: Pace::Max, ..RECORDED(config) };
    for all in [EVERY_POLL, max] {
        let report = World::new(&[]).replay(&tape, all).await.unwrap();
        assert_eq!(signatures(&report), Vec::<String>::new());
        assert_eq!((report.calls.collapsed, report.calls.sent), (0, calls.recorded));
    }
}

#[tokio::test]
async fn what_shows_on_some_polls_only_is_found_where_they_collapse() {
    let tape = recorded(&World::new(&[]), polled).await;
    let report = World::new(&["containerd-12036"]).replay(&tape, RECORDED).await.unwrap();
    assert!(report.calls.collapsed > 60, "{:?}", report.calls);
    let found = signatures(&report);
    assert!(found.iter().any(|it| it.starts_with("Status runtime_handlers[]")), "{found:?}");
}

#[tokio::test]
async fn a_poll_that_collapsed_shares_the_lot_of_the_one_that_stands_for_it() {
    let world = World::new(&[]);
    let client = world.client().await;
    client.pull("registry.example/app:1").await;
    let sandbox = client.run(pod("old")).await;
    let tape = recorded(&world, async |client: &Client| {
        for _ in 0..30 {
            client.sandbox_status(&sandbox).await;
        }
    })
    .await;
    let report = World::new(&[]).replay(&tape, RECORDED).await.unwrap();
    assert_eq!((report.calls.inconclusive, report.calls.compared), (30, 0), "{:?}", report.calls);
    assert!(report.calls.collapsed > 20, "{:?}", report.calls);
    assert_eq!(report.verdict, Verdict::Inconclusive);
}

#[tokio::test]
async fn how_late_calls_were_is_told_where_they_were_due() {
    let tape = recorded(&World::new(&[]), polled).await;
    let report = World::new(&[]).replay(&tape, RECORDED).await.unwrap();
    let lateness = report.timing.unwrap().lateness.unwrap();
    assert_eq!(lateness.calls, report.calls.sent);
    assert!(lateness.p50 <= lateness.p99 && lateness.p99 <= lateness.max, "{lateness:?}");
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("job")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 2")).await;
        client.start(&container).await;
        client.until_exited(&container).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    let timing = report.timing.unwrap();
    assert_eq!((timing.lateness, timing.held_up), (None, None));
    assert_eq!(timing.settling.map_or(0, |settling| settling.calls), report.calls.settled);
}

/// A client that listens acts on what it hears, and on nothing else.
#[tokio::test]
async fn a_call_follows_the_events_that_its_client_had_seen() {
    let listens = async |client: &Client| {
        let mut events = client.watch().await;
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("job")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 0.4; exit 6")).await;
        client.start(&container).await;
        client.until_event(&mut events, &container, ContainerEventType::ContainerStoppedEvent).await;
        // Refused, because nothing runs there any more.
        client.exec(&container, "exit 0").await;
        client.remove_container(&container).await;
        client.until_event(&mut events, &container, ContainerEventType::ContainerDeletedEvent).await;
        client.remove_pod(&sandbox).await;
        client.until_event(&mut events, &sandbox, ContainerEventType::ContainerDeletedEvent).await;
    };
    let tape = recorded(&World::new(&[]), listens).await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    assert_eq!(report.calls.compared, report.calls.recorded);
}

/// It may have learnt of it where nobody recorded.
#[tokio::test]
async fn a_call_follows_the_one_that_makes_what_it_names() {
    let world = World::late("CreateContainer", "ContainerStatus");
    let unrecorded = world.client().await;
    let looks = async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let looks = async {
            let container = loop {
                match unrecorded.containers().await.pop() {
                    Some(container) => break container,
                    None => tokio::task::yield_now().await,
                }
            };
            client.container_status(&container).await.unwrap();
        };
        tokio::join!(client.create(&sandbox, container_request("app", "sleep 100")), looks);
        client.remove_pod(&sandbox).await;
    };
    let tape = recorded(&world, looks).await;
    for way in [NO_WAIT, RECORDED] {
        let report = World::new(&[]).replay(&tape, way).await.unwrap();
        assert_eq!(signatures(&report), Vec::<String>::new());
        assert_eq!((report.calls.inconclusive, report.calls.compared), (0, report.calls.recorded));
    }
    // Of a part of the tape it is not left out.
    let knows = |call: &Call, objects: &ObjectIndex| {
        let asked = call.method().filter(|method| method.name == "ContainerStatus").and(call.request());
        let asked = asked.map(|asked| v1::ContainerStatusRequest::decode(asked.as_ref()).unwrap());
        asked.is_none_or(|asked| objects.name(&asked.container_id).is_some())
    };
    let world = World::new(&[]);
    let config = NO_WAIT(Config::new(Endpoints::both_at(world.endpoint("runtime.sock"))));
    let selection = Selection { calls: &knows, since: None, until: None };
    let replay = Replay::of_selected(&tape.open(), &selection, config).unwrap();
    assert_eq!(replay.calls(), 6);
    let report = replay.run(std::future::pending(), |_| {}, |_| {}).await.unwrap();
    assert_eq!((signatures(&report), report.calls.compared), (Vec::new(), 6));
}

/// On a runtime that hands each event to one listener only.
#[tokio::test]
async fn there_are_never_more_listeners_than_there_were() {
    let steals = || World::new(&["containerd-7318"]);
    let tape = recorded(&steals(), async |client: &Client| {
        for name in ["web", "job"] {
            let events = client.watch().await;
            client.pull("registry.example/app:1").await;
            let sandbox = client.run(pod(name)).await;
            let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
            client.start(&container).await;
            client.stop_container(&container).await;
            client.remove_pod(&sandbox).await;
            client.quiet(events).await;
        }
    })
    .await;
    for way in [NO_WAIT, RECORDED] {
        let report = steals().replay(&tape, way).await.unwrap();
        assert_eq!(signatures(&report), Vec::<String>::new());
        assert_eq!(report.calls.compared, report.calls.recorded);
    }
}

#[tokio::test]
async fn a_read_waits_as_long_as_the_recording_took_whatever_else_was_done_meanwhile() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("job")).await;
        let server = client.create(&sandbox, container_request("server", "sleep 100")).await;
        client.start(&server).await;
        let job = client.create(&sandbox, container_request("app", "sleep 1.5; exit 6")).await;
        client.start(&job).await;
        // Probes go on, and other pods come and go.
        while client.container_status(&job).await.unwrap().finished_at == 0 {
            client.exec(&server, "exit 0").await;
            let other = client.run(pod("other")).await;
            client.remove_pod(&other).await;
        }
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
}
