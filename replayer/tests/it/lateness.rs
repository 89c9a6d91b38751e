//! What is asked again because it may be late must be late, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use cri::v1;
use critape_replayer::{Config, Pace};
use prost::Message;

use crate::early::Alter;
use crate::signatures;
use crate::world::{Client, World, container_request, pod, recorded};

/// Every read is sent, and has time to become what it was.
const PATIENT: fn(Config) -> Config =
    |config| Config { pace: Pace::Max, settle: Duration::from_secs(20), every_poll: true, ..config };

/// The answer with a change.
fn with<M: Message + Default>(answer: &Bytes, change: impl FnOnce(&mut M)) -> Bytes {
    let mut message = M::decode(answer.clone()).unwrap();
    change(&mut message);
    message.encode_to_vec().into()
}

/// A pod with a container, looked at all the time.
async fn looked_at(client: &Client) {
    client.pull("registry.example/app:1").await;
    let sandbox = client.run(pod("web")).await;
    let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
    client.start(&container).await;
    for _ in 0..6 {
        client.status().await;
        client.images().await;
        client.sandboxes().await;
        client.sandbox_status(&sandbox).await;
        client.list_containers(None).await;
        client.container_status(&container).await;
        let asked = v1::ContainerStatsRequest { container_id: container.clone() };
        client.call::<v1::ContainerStatsResponse>("ContainerStats", asked).await.unwrap();
    }
    client.stop_container(&container).await;
    for _ in 0..3 {
        client.container_status(&container).await;
    }
    client.remove_pod(&sandbox).await;
}

/// A change of each third answer to the RPC.
macro_rules! each_third {
    ($rpc:literal, $message:ty, $change:expr) => {
        |rpc, count, answer| match (rpc, count % 3) {
            ($rpc, 0) => with::<$message>(&answer, $change),
            _ => answer,
        }
    };
}

#[tokio::test]
async fn what_can_not_be_is_a_finding_though_the_next_answer_is_right() {
    let tape = recorded(&World::new(&[]), looked_at).await;
    let cases: [(Alter, &str); 8] = [
        (
            each_third!("ListContainers", v1::ListContainersResponse, |it| it.containers.clear()),
            "ListContainers containers[] present→absent",
        ),
        (
            each_third!("ListPodSandbox", v1::ListPodSandboxResponse, |it| it.items.clear()),
            "ListPodSandbox items[] present→absent",
        ),
        (
            each_third!("ListImages", v1::ListImagesResponse, |it| it.images.clear()),
            "ListImages images[] present→absent",
        ),
        (
            each_third!("PodSandboxStatus", v1::PodSandboxStatusResponse, |it| {
                it.status.iter_mut().for_each(|it| it.set_state(v1::PodSandboxState::SandboxNotready));
            }),
            "PodSandboxStatus status.state SANDBOX_READY→SANDBOX_NOTREADY",
        ),
        (
            each_third!("ContainerStatus", v1::ContainerStatusResponse, |it| {
                let running = it.status.iter_mut().filter(|it| it.finished_at == 0);
                running.for_each(|it| it.set_state(v1::ContainerState::ContainerUnknown));
            }),
            "ContainerStatus status.state CONTAINER_RUNNING→CONTAINER_UNKNOWN",
        ),
        (
            each_third!("ContainerStatus", v1::ContainerStatusResponse, |it| {
                it.status.iter_mut().filter(|it| it.finished_at != 0).for_each(|it| it.exit_code = 255);
            }),
            "ContainerStatus status.exit_code ",
        ),
        (
            each_third!("ContainerStats", v1::ContainerStatsResponse, |it| {
                it.stats.iter_mut().for_each(|it| it.memory = None);
            }),
            "ContainerStats stats.memory present→absent",
        ),
        (
            each_third!("Status", v1::StatusResponse, |it| {
                let conditions = it.status.iter_mut().flat_map(|it| &mut it.conditions);
                conditions.filter(|it| it.r#type == "NetworkReady").for_each(|it| it.status = false);
            }),
            "Status status.conditions[].status ",
        ),
    ];
    for (alter, found) in cases {
        let report = World::altered(alter).replay(&tape, PATIENT).await.unwrap();
        assert_eq!(signatures(&report), [found]);
    }
    let report = World::altered(|_, _, answer| answer).replay(&tape, PATIENT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
}

/// An address that comes after the sandbox, and one that goes.
#[tokio::test]
async fn what_a_call_has_made_is_there_when_it_returns() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        let sandbox = client.run(pod("web")).await;
        client.sandbox_status(&sandbox).await;
        client.sandboxes().await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let cases: [(Alter, &str); 2] = [
        (
            |rpc, count, answer| match (rpc, count) {
                ("PodSandboxStatus", 1) => with::<v1::PodSandboxStatusResponse>(&answer, |it| {
                    it.status.iter_mut().filter_map(|it| it.network.as_mut()).for_each(|it| it.ip.clear());
                }),
                _ => answer,
            },
            "PodSandboxStatus status.network.ip present→absent",
        ),
        (
            |rpc, count, answer| match (rpc, count) {
                ("ListPodSandbox", ..3) => with::<v1::ListPodSandboxResponse>(&answer, |it| it.items.clear()),
                _ => answer,
            },
            "ListPodSandbox items[] present→absent",
        ),
    ];
    for (alter, found) in cases {
        let report = World::altered(alter).replay(&tape, PATIENT).await.unwrap();
        assert_eq!(signatures(&report), [found]);
    }
}

/// A container that starts and ends by itself, each seen late.
#[tokio::test]
async fn what_is_late_is_waited_for() {
    let world = World::new(&[]);
    let direct = world.client().await;
    let tape = recorded(&world, async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, container_request("job", "sleep 0.7; exit 3")).await;
        client.container_status(&container).await;
        client.start(&container).await;
        client.container_status(&container).await;
        client.list_containers(None).await;
        direct.until_exited(&container).await;
        client.container_status(&container).await;
        client.list_containers(None).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let slow_exit: Alter = |rpc, count, answer| match (rpc, count) {
        ("ContainerStatus", 3..9) => with::<v1::ContainerStatusResponse>(&answer, |it| {
            if let Some(it) = &mut it.status {
                it.set_state(v1::ContainerState::ContainerRunning);
                (it.finished_at, it.exit_code) = (0, 0);
                it.reason.clear();
                it.message.clear();
            }
        }),
        _ => answer,
    };
    for alter in [slow_exit, |_, _, answer| answer] {
        for pace in [Pace::Max, Pace::Recorded(1.0)] {
            let config = |config| Config { pace, ..PATIENT(config) };
            let report = World::altered(alter).replay(&tape, config).await.unwrap();
            assert_eq!(signatures(&report), Vec::<String>::new());
        }
    }
}
