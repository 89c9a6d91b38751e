//! What a replay does not do to a node, and what does not stop it.

use std::time::Duration;

use cri::v1::Image;
use critape_replayer::{Config, ReplayError};

use crate::image_service::{Images, Script, image};
use crate::world::{Client, World, container_request, pod, recorded, recorded_at};
use crate::{NO_WAIT, life, signatures};

fn shared(config: Config) -> Config {
    Config { share: true, ..NO_WAIT(config) }
}

/// An id that the tape never showed goes out as it is, and may be that of a pod that is here.
#[tokio::test]
async fn a_pod_that_a_call_names_by_chance_is_left_alone() {
    let node = World::new(&[]);
    let client = node.client().await;
    client.pull("registry.example/app:1").await;
    let theirs = client.run(pod("theirs")).await;
    let container = client.create(&theirs, container_request("app", "sleep 100")).await;
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        // As people type them.
        client.stop_container(&container[..7]).await;
        client.stop_container(&container).await;
        client.remove_pod(&theirs).await;
        client.remove_pod("f".repeat(64).as_str()).await;
    })
    .await;
    let report = node.replay(&tape, shared).await.unwrap();
    assert_eq!((report.calls.skipped, report.calls.compared), (4, 2), "{:?}", report.skipped);
    assert_eq!(client.sandboxes().await, [theirs]);
    assert!(client.container_status(&container).await.is_some());
}

#[tokio::test]
async fn a_call_without_a_deadline_that_never_ends_is_given_up() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.start(&container).await;
        let [one, other] = ["sleep 0.3", "sleep 0.4"].map(|script| client.exec_patiently(&container, script));
        tokio::join!(one, other);
        client.remove_pod(&sandbox).await;
    })
    .await;
    let soon = |config| Config { give_up: Duration::from_millis(300), ..NO_WAIT(config) };
    let report = World::new(&["containerd-10036"]).replay(&tape, soon).await.unwrap();
    assert_eq!(signatures(&report), ["ExecSync outcome.code OK→DEADLINE_EXCEEDED"]);
    assert_eq!(report.calls.compared, report.calls.recorded, "the replay goes on");
}

/// Old runtimes give each event to one listener: a second one would take them from the kubelet that is there.
#[tokio::test]
async fn events_are_not_taken_from_others() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        let events = client.watch().await;
        life(client).await;
        client.quiet(events).await;
    })
    .await;
    for (version, others, inconclusive) in [("1.7.24", true, 1), ("2.1.9", true, 0), ("1.7.24", false, 0)] {
        let world = World::named(&[], "containerd", version);
        if others {
            world.client().await.run(pod("theirs")).await;
        }
        let report = world.replay(&tape, shared).await.unwrap();
        assert_eq!(report.calls.inconclusive, inconclusive, "{version} {others}: {:?}", report.inconclusive);
        let foreseen = report.preflight.iter().filter(|it| it.summary.contains("events")).count();
        assert_eq!(foreseen, usize::try_from(inconclusive).unwrap());
    }
}

const APP: &str = "registry.example/app:1";

/// On a runtime with this image service.
fn with(images: &Images) -> impl Fn(Config) -> Config + '_ {
    |config| {
        let mut config = NO_WAIT(config);
        config.endpoints.image = images.endpoint();
        config
    }
}

#[tokio::test]
async fn an_image_is_not_removed_where_the_runtime_does_not_say_what_it_is() {
    let tape = recorded(&World::new(&[]), async |client: &Client| client.remove_image(APP).await).await;
    let there = || vec![image("a", &[APP])];
    let mute = Images::new(Script { before: there(), says_nothing: true, ..Script::default() });
    let report = World::new(&[]).replay(&tape, with(&mute)).await.unwrap();
    assert_eq!((report.calls.inconclusive, report.calls.sent), (1, 0), "{:?}", report.inconclusive);
    assert!(report.inconclusive[0].reason.contains("the store is locked"), "{:?}", report.inconclusive);
    assert!(mute.removals().is_empty());
    // Where it says that it is none, it may be asked to remove it.
    let empty = Images::new(Script::default());
    World::new(&[]).replay(&tape, with(&empty)).await.unwrap();
    assert_eq!(empty.removals(), [APP]);
}

#[tokio::test]
async fn an_image_that_takes_over_a_name_from_before_stays() {
    let tape = recorded(&World::new(&[]), async |client: &Client| client.pull(APP).await).await;
    let replayed = async |before: &[&str]| {
        let (before, after) = (image("a", before), image("b", &[APP]));
        let images = Images::new(Script {
            before: vec![before.clone()],
            after: vec![Image { repo_tags: Vec::new(), ..before }, after.clone()],
            ..Script::default()
        });
        World::new(&[]).replay(&tape, with(&images)).await.unwrap();
        (images.removals(), after.id)
    };
    assert_eq!(Box::pin(replayed(&[APP])).await.0, Vec::<String>::new(), "it was the node's name");
    let (removals, pulled) = Box::pin(replayed(&["registry.example/other:1"])).await;
    assert_eq!(removals, [pulled]);
}

#[tokio::test]
async fn what_a_pull_brought_that_was_broken_off_is_removed() {
    let slow =
        || Images::new(Script { after: vec![image("b", &[APP])], pulls_forever: true, ..Script::default() });
    let recorded_on = slow();
    let tape = recorded_at(recorded_on.endpoint(), async |client: &Client| {
        tokio::select! {
            () = client.pull(APP) => panic!("it has no end"),
            () = recorded_on.pulling() => {}
        }
        recorded_on.broken_off().await;
    })
    .await;
    let images = slow();
    let report = World::new(&[]).replay(&tape, with(&images)).await.unwrap();
    assert_eq!(report.calls.sent, 1);
    assert_eq!(images.removals(), [image("b", &[]).id]);
}

#[tokio::test]
async fn a_call_that_panics_ends_the_replay_and_what_was_made_is_removed() {
    let tape = recorded(&World::new(&[]), life).await;
    let world = World::new(&[]);
    let ended = world.replay_with(&tape, |progress| assert_ne!(progress.done, 3, "on purpose")).await;
    assert!(matches!(ended, Err(ReplayError::Task(_))), "{ended:?}");
    assert!(world.client().await.sandboxes().await.is_empty());
}
