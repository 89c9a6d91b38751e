//! The stream of events.

use std::time::Duration;

use bytes::Bytes;
use cri::v1;
use cri::v1::ContainerEventType::{
    ContainerCreatedEvent as Created, ContainerDeletedEvent as Deleted, ContainerStartedEvent as Started,
    ContainerStoppedEvent as Stopped,
};
use prost::Message;
use tonic::{Code, Streaming};

use crate::harness::{Runtime, container};

pub async fn subscribe(runtime: &Runtime) -> Streaming<Bytes> {
    let path = "/runtime.v1.RuntimeService/GetContainerEvents";
    runtime.client.stream(path, Bytes::new(), None).await.unwrap()
}

pub async fn next(events: &mut Streaming<Bytes>) -> v1::ContainerEventResponse {
    let event =
        tokio::time::timeout(Duration::from_secs(20), events.message()).await.expect("an event comes");
    v1::ContainerEventResponse::decode(event.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn everything_that_happens_is_told_in_order_to_everyone() {
    let runtime = Runtime::start().await;
    let (mut one, mut other) = (subscribe(&runtime).await, subscribe(&runtime).await);
    let pod_id = runtime.run_pod("web").await;
    let id = runtime.create(&pod_id, "web", container("app", &["sh", "-c", "exit 3"])).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    runtime.exited(&id).await;
    runtime.remove_container(&id).await.unwrap();
    runtime.stop_pod(&pod_id).await.unwrap();
    runtime.remove_pod(&pod_id).await.unwrap();
    let expected = [
        (&pod_id, Created),
        (&pod_id, Started),
        (&id, Created),
        (&id, Started),
        (&id, Stopped),
        (&id, Deleted),
        (&pod_id, Stopped),
        (&pod_id, Deleted),
    ];
    for (subject, kind) in expected {
        let event = next(&mut one).await;
        assert_eq!((&event.container_id, event.container_event_type()), (subject, kind));
        assert_eq!(next(&mut other).await, event);
    }
}

#[tokio::test]
async fn an_event_shows_the_pod_as_it_then_was() {
    let runtime = Runtime::start().await;
    let mut events = subscribe(&runtime).await;
    let pod_id = runtime.run_pod("web").await;
    let id = runtime.create(&pod_id, "web", container("app", &["sh", "-c", "exit 3"])).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    let mut last = 0;
    loop {
        let event = next(&mut events).await;
        assert!(event.created_at >= last);
        last = event.created_at;
        let pod = event.pod_sandbox_status.as_ref().unwrap();
        assert_eq!((&pod.id, pod.state()), (&pod_id, v1::PodSandboxState::SandboxReady));
        if event.container_event_type() == Stopped {
            let status = &event.containers_statuses[0];
            assert_eq!((&status.id, status.exit_code), (&id, 3));
            assert!(status.image.is_some());
            break;
        }
    }
}

#[tokio::test]
async fn the_first_subscriber_hears_of_what_nobody_heard() {
    let runtime = Runtime::start().await;
    let pod_id = runtime.run_pod("web").await;
    let mut first = subscribe(&runtime).await;
    assert_eq!(next(&mut first).await.container_id, pod_id);
    assert_eq!(next(&mut first).await.container_event_type(), Started);
    let mut second = subscribe(&runtime).await;
    let other = runtime.run_pod("other").await;
    assert_eq!(next(&mut second).await.container_id, other);
    assert_eq!(next(&mut first).await.container_id, other);
}

#[tokio::test]
async fn a_subscription_ends_at_its_deadline_and_with_the_server() {
    let mut runtime = Runtime::start().await;
    let path = "/runtime.v1.RuntimeService/GetContainerEvents";
    let mut short = runtime.client.stream(path, Bytes::new(), Some(Duration::from_millis(50))).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), short.message()).await.expect("it ends");
    assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);

    let mut long = subscribe(&runtime).await;
    runtime.begin_stop();
    let ended = tokio::time::timeout(Duration::from_secs(20), long.message()).await.expect("it ends");
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    runtime.stop().await;
}
