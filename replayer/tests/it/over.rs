//! What a call has stopped or removed is over when the call returns.

use std::time::Duration;

use cri::v1;
use critape_replayer::{Config, Pace};

use crate::early::{Done, Early};
use crate::signatures;
use crate::world::{Client, World, container_request, pod, recorded};

/// Reads have time to wait until all is as it was.
const PATIENT: fn(Config) -> Config =
    |config| Config { pace: Pace::Max, settle: Duration::from_secs(20), ..config };

/// A pod with a container, each stopped, removed and looked for.
async fn removed(client: &Client) {
    client.pull("registry.example/app:1").await;
    let sandbox = client.run(pod("web")).await;
    let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
    client.start(&container).await;
    client.stop_container(&container).await;
    client.list_containers(None).await;
    client.remove_container(&container).await;
    client.list_containers(None).await;
    client.stop_pod(&sandbox).await;
    client.sandboxes().await;
    client.remove_pod(&sandbox).await;
    client.sandboxes().await;
}

#[tokio::test]
async fn what_is_still_there_after_its_end_is_a_finding() {
    let tape = recorded(&World::new(&[]), removed).await;
    for (rpc, found) in [
        ("StopContainer", "ListContainers containers[].state CONTAINER_EXITED→CONTAINER_RUNNING"),
        ("RemoveContainer", "ListContainers containers[] absent→present"),
        ("StopPodSandbox", "ListPodSandbox items[].state SANDBOX_NOTREADY→SANDBOX_READY"),
        ("RemovePodSandbox", "ListPodSandbox items[] absent→present"),
    ] {
        let report =
            World::early(Early { rpc, done: Done::AfterReads(2) }).replay(&tape, PATIENT).await.unwrap();
        let all = signatures(&report);
        assert!(all.contains(&found.to_owned()), "{rpc}: {all:?}");
    }
}

/// While the list waits for another container to end, what was removed goes from it.
#[tokio::test]
async fn what_is_gone_when_a_list_has_settled_was_seen_all_the_same() {
    let world = World::new(&[]);
    let direct = world.client().await;
    let tape = recorded(&world, async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let job = client.create(&sandbox, container_request("job", "sleep 0.5")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.start(&job).await;
        direct.until_exited(&job).await;
        client.remove_container(&container).await;
        client.list_containers(None).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, PATIENT).await.unwrap();
    assert_eq!((signatures(&report), report.calls.settled), (Vec::new(), 1));
    let early = Early { rpc: "RemoveContainer", done: Done::AfterReads(2) };
    let report = World::early(early).replay(&tape, PATIENT).await.unwrap();
    assert_eq!(signatures(&report), ["ListContainers containers[] "]);
    assert_eq!(report.findings[0].rule, "removed-when-told");
}

/// The list of the recording was asked for when the event had come, and so waits for it here.
#[tokio::test]
async fn what_is_gone_when_its_event_comes_was_there_until_then() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        let mut events = client.watch().await;
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.remove_container(&container).await;
        client.until_event(&mut events, &container, v1::ContainerEventType::ContainerDeletedEvent).await;
        client.list_containers(None).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, PATIENT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    let early = Early { rpc: "RemoveContainer", done: Done::After(Duration::from_secs(1)) };
    let report = World::early(early).replay(&tape, PATIENT).await.unwrap();
    assert_eq!(signatures(&report), ["GetContainerEvents created_at "]);
    assert_eq!(report.findings[0].rule, "removed-when-told");
}

/// The program does not end until it is killed, and its stop is said to be over before that.
#[tokio::test]
async fn what_ends_after_its_stop_has_returned_is_a_finding() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, deaf("app")).await;
        client.start(&container).await;
        let stop = v1::StopContainerRequest { container_id: container.clone(), timeout: 1 };
        client.call::<v1::StopContainerResponse>("StopContainer", stop).await.unwrap();
        client.container_status(&container).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, PATIENT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    let early = Early { rpc: "StopContainer", done: Done::After(Duration::ZERO) };
    let report = World::early(early).replay(&tape, PATIENT).await.unwrap();
    assert_eq!(signatures(&report), ["ContainerStatus status.finished_at ", "ContainerStatus status.state "]);
    assert!(report.findings.iter().all(|it| it.rule == "stopped-when-told"), "{:?}", report.findings);
}

/// A container that SIGTERM does not end: the first process of a namespace does not get what it does not handle.
fn deaf(name: &str) -> v1::CreateContainerRequest {
    let mut request = container_request(name, "sleep 100");
    let options = v1::NamespaceOption { pid: v1::NamespaceMode::Container.into(), ..Default::default() };
    let security =
        v1::LinuxContainerSecurityContext { namespace_options: Some(options), ..Default::default() };
    let linux = v1::LinuxContainerConfig { security_context: Some(security), ..Default::default() };
    request.config.as_mut().unwrap().linux = Some(linux);
    request
}
