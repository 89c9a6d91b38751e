//! Tapes replayed on simulators: what is sent, what is found, what is left behind.

#![allow(clippy::unwrap_used, clippy::panic)]

mod early;
mod image_service;
mod lateness;
mod over;
mod safety;
mod schedule;
mod transient;
mod world;

use std::time::Duration;

use cri::v1;
use critape_differ::{Report, Verdict};
use critape_replayer::{Config, Pace, ReplayError};
use world::{Client, World, config, container_request, pod, recorded};

pub(crate) const NO_WAIT: fn(Config) -> Config =
    |config| Config { pace: Pace::Max, settle: Duration::from_millis(300), ..config };

pub(crate) fn signatures(report: &Report) -> Vec<String> {
    report
        .findings
        .iter()
        .map(|it| {
            format!(
                "{} {} {}",
                it.method.rsplit('/').next().unwrap(),
                it.path,
                it.transition.clone().unwrap_or_default()
            )
        })
        .collect()
}

/// A pod with one container, looked at and removed.
async fn life(client: &Client) {
    client.pull("registry.example/app:1").await;
    let sandbox = client.run(pod("web")).await;
    let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
    client.start(&container).await;
    client.container_status(&container).await;
    // A prefix, as people type it.
    client.container_status(&container[..9]).await;
    client.list_containers(Some(&sandbox)).await;
    client.exec(&container, "echo $HOSTNAME; exit 4").await;
    client.stop_container(&container).await;
    client.container_status(&container).await;
    client.remove_pod(&sandbox).await;
    client.stop_container(&container).await;
}

#[tokio::test]
async fn the_same_runtime_gives_no_divergence_and_nothing_stays() {
    let tape = recorded(&World::new(&[]), life).await;
    let world = World::new(&[]);
    let report = world.replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    assert_eq!(report.verdict, Verdict::Same);
    assert_eq!(report.calls.compared, report.calls.recorded);
    let client = world.client().await;
    assert!(client.sandboxes().await.is_empty());
    let images = client.images().await;
    assert!(!images.iter().any(|image| image.contains("app")), "what the replay pulled is gone: {images:?}");
}

#[tokio::test]
async fn every_pace_gives_the_same_answer() {
    let tape = recorded(&World::new(&[]), life).await;
    for pace in [Pace::Recorded(1.0), Pace::Recorded(5.0), Pace::Serial] {
        let config = move |config| Config { pace, ..config };
        let report = World::new(&[]).replay(&tape, config).await.unwrap();
        assert_eq!(signatures(&report), Vec::<String>::new(), "{pace:?}");
    }
}

#[tokio::test]
async fn a_regression_is_found_where_it_is() {
    let tape = recorded(&World::new(&[]), life).await;
    let report = World::new(&["containerd-10527"]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), ["StopContainer outcome.code OK→NOT_FOUND"]);
    assert_eq!(report.verdict, Verdict::Different);
    let report = World::new(&["cri-dockerd-299"]).replay(&tape, NO_WAIT).await.unwrap();
    assert!(report.findings.is_empty(), "nothing on the tape looks at an image's size");
}

#[tokio::test]
async fn a_finding_names_the_change_that_lies_between_the_two_versions() {
    let before = || World::named(&["containerd-10527"], "containerd", "v1.7.20");
    let after = |version| World::named(&[], "containerd", version);
    let named = async |client: &Client| {
        client.version_in("runtime.v1").await;
        life(client).await;
    };
    let tape = recorded(&before(), named).await;
    let report = after("v2.1.4").replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), ["StopContainer outcome.code NOT_FOUND→OK"]);
    let known = report.findings[0].known.as_ref().unwrap();
    assert_eq!(
        (known.reference.as_str(), known.since.as_str(), known.undone),
        ("containerd#10521", "2.0.0", false)
    );
    // Neither is old enough to lack it, or new enough to have it.
    let report = after("v1.7.20").replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!((report.findings.len(), report.findings[0].known.as_ref()), (1, None));
    let tape = recorded(&after("v1.7.21"), named).await;
    let report = before().replay(&tape, NO_WAIT).await.unwrap();
    let known = report.findings[0].known.as_ref().unwrap();
    assert_eq!((known.since.as_str(), known.undone), ("1.7.21", true));
}

#[tokio::test]
async fn a_call_about_something_older_than_the_tape_is_inconclusive() {
    let world = World::new(&[]);
    let client = world.client().await;
    client.pull("registry.example/app:1").await;
    let sandbox = client.run(pod("old")).await;
    let tape = recorded(&world, async |client: &Client| {
        client.sandbox_status(&sandbox).await;
        client.sandbox_status("cafe").await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", signatures(&report));
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert_eq!((report.calls.inconclusive, report.calls.compared), (1, 1), "a made-up id goes out as it is");
    assert!(report.inconclusive[0].reason.contains("older than the tape"), "{:?}", report.inconclusive);
}

#[tokio::test]
async fn what_could_not_be_made_here_makes_its_calls_inconclusive() {
    let world = World::new(&[]);
    let client = world.client().await;
    // The image is there when the recording begins, and nothing on the tape pulls it.
    client.pull("registry.example/app:1").await;
    let tape = recorded(&world, async |client: &Client| {
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.start(&container).await;
        client.container_status(&container).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    // That it can't be made was known before, and the rest follows.
    assert_eq!(signatures(&report), Vec::<String>::new());
    assert_eq!(report.calls.inconclusive, 3, "{:?}", report.inconclusive);
    let reasons: Vec<_> = report.inconclusive.iter().map(|it| (it.count, it.reason.as_str())).collect();
    assert!(
        reasons.contains(&(1, "its image is not on the runtime, and the recording does not pull it")),
        "{reasons:?}"
    );
    assert!(
        reasons.iter().any(|(count, reason)| *count == 2 && reason.contains("was not made here")),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn reads_wait_for_the_recorded_state_whatever_the_speed() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("job")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 0.4; exit 6")).await;
        client.start(&container).await;
        client.container_status(&container).await;
        client.until_exited(&container).await;
        client.list_containers(None).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    assert!(report.calls.settled >= 1, "{:?}", report.calls);
}

#[tokio::test]
async fn a_state_that_is_never_reached_is_a_divergence() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("job")).await;
        let container = client.create(&sandbox, container_request("app", "exit 0")).await;
        client.start(&container).await;
        client.until_exited(&container).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&["cri-o-9846"]).replay(&tape, NO_WAIT).await.unwrap();
    assert!(
        signatures(&report).contains(&"ContainerStatus status.exit_code ".to_owned()),
        "{:?}",
        signatures(&report)
    );
}

#[tokio::test]
async fn events_are_compared_container_by_container() {
    let watched = async |client: &Client| {
        let events = client.watch().await;
        life(client).await;
        client.quiet(events).await;
    };
    let tape = recorded(&World::new(&[]), watched).await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    let report = World::new(&["cri-o-9663"]).replay(&tape, NO_WAIT).await.unwrap();
    assert!(
        signatures(&report).iter().any(|it| it.starts_with("GetContainerEvents containers_statuses[].image")),
        "{:?}",
        signatures(&report)
    );
}

#[tokio::test]
async fn a_generation_that_is_gone_is_translated_and_reported() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.version_in("runtime.v1alpha2").await;
        client.version_in("runtime.v1alpha2").await;
    })
    .await;
    let report = World::new(&["containerd-8276"]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), ["Version outcome.code OK→UNIMPLEMENTED"]);
    assert_eq!(report.calls.compared, 2);
}

#[tokio::test]
async fn what_was_refused_when_recorded_goes_where_it_went() {
    let refused = async |client: &Client| client.version_in("runtime.v1alpha2").await;
    let tape = recorded(&World::new(&["containerd-8276"]), refused).await;
    let report = World::new(&["containerd-8276"]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), ["Version outcome.code UNIMPLEMENTED→OK"]);
}

#[tokio::test]
async fn pods_of_others_are_refused_unless_shared() {
    let tape = recorded(&World::new(&[]), life).await;
    let world = World::new(&[]);
    let client = world.client().await;
    client.run(pod("foreign")).await;
    assert!(matches!(world.replay(&tape, NO_WAIT).await, Err(ReplayError::InUse { count: 1, .. })));
    let shared = |config| Config { share: true, ..NO_WAIT(config) };
    let report = world.replay(&tape, shared).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    assert_eq!(client.sandboxes().await.len(), 1, "the other's pod is still there");
}

#[tokio::test]
async fn an_interrupted_replay_removes_what_it_made() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.start(&container).await;
        client.exec(&container, "sleep 1").await;
    })
    .await;
    let world = World::new(&[]);
    let client = world.client().await;
    let made = async {
        while client.sandboxes().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let ended = Box::pin(world.replay_until(&tape, NO_WAIT, made)).await;
    assert!(matches!(ended, Err(ReplayError::Interrupted { removed: 1 })), "{ended:?}");
    assert!(client.sandboxes().await.is_empty());
}

#[tokio::test]
async fn two_recordings_of_one_workload_are_the_same() {
    let (first, second) = (recorded(&World::new(&[]), life).await, recorded(&World::new(&[]), life).await);
    let report = first.diff(&second);
    assert_eq!(signatures(&report), Vec::<String>::new());
    assert_eq!(report.verdict, Verdict::Same, "{:?}", report.inconclusive);
    let other = recorded(&World::new(&["containerd-10527"]), life).await;
    let report = first.diff(&other);
    assert_eq!(signatures(&report), ["StopContainer outcome.code OK→NOT_FOUND"]);
    assert!(report.findings[0].examples[0].live_call.is_some());
    let back = other.diff(&first);
    assert_eq!(signatures(&back), ["StopContainer outcome.code NOT_FOUND→OK"], "the sides are not swapped");
}

#[tokio::test]
async fn images_of_the_node_are_left_alone() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        client.remove_image("registry.example/app:1").await;
    })
    .await;
    let world = World::new(&[]);
    let client = world.client().await;
    client.pull("registry.example/app:1").await;
    let report = world.replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(report.calls.skipped, 1, "{:?}", report.skipped);
    assert!(client.images().await.iter().any(|image| image.contains("app")));
}

/// What runs from it is called by its id from then on.
#[tokio::test]
async fn what_follows_from_an_image_that_was_left_alone_is_no_finding() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.start(&container).await;
        client.remove_image("registry.example/app:1").await;
        client.container_status(&container).await.unwrap();
        client.remove_pod(&sandbox).await;
    })
    .await;
    let world = World::new(&[]);
    world.client().await.pull("registry.example/app:1").await;
    let report = world.replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!((signatures(&report), report.calls.skipped), (Vec::new(), 1), "{:?}", report.inconclusive);
    assert_eq!(report.calls.inconclusive, 1);
}

/// What else differs there is a finding.
#[tokio::test]
async fn what_does_not_follow_from_an_image_that_was_left_alone_is_found() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let container = client.create(&sandbox, container_request("app", "exit 3")).await;
        client.start(&container).await;
        client.until_exited(&container).await;
        client.remove_image("registry.example/app:1").await;
        client.container_status(&container).await.unwrap();
        client.remove_pod(&sandbox).await;
    })
    .await;
    let world = World::new(&["cri-o-9846"]);
    world.client().await.pull("registry.example/app:1").await;
    let report = world.replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), ["ContainerStatus status.exit_code "], "{:?}", report.inconclusive);
    assert!(report.suppressed.rules.iter().any(|rule| rule.rule == "image-left-alone" && rule.count > 0));
}

/// Kubelet calls the folder of a pod's logs by its uid, and gives static pods uids of another form.
#[tokio::test]
async fn the_folder_of_logs_is_found_again_whatever_the_form_of_the_uid() {
    for uid in ["0f3a1c9e-1111-4222-8333-444455556666", "8f4d0a1b2c3e4f5061728394a5b6c7d8"] {
        let tape = recorded(&World::new(&[]), async |client: &Client| {
            client.pull("registry.example/app:1").await;
            let mut config = config("web", uid);
            config.log_directory = format!("/var/log/pods/default_web_{uid}");
            let request = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
            let sandbox = client.run(request).await;
            let mut request = container_request("app", "sleep 100");
            request.sandbox_config = Some(config);
            request.config.as_mut().unwrap().log_path = "app/0.log".to_owned();
            let container = client.create(&sandbox, request).await;
            assert!(client.container_status(&container).await.unwrap().log_path.contains(uid));
            client.remove_pod(&sandbox).await;
        })
        .await;
        let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
        assert_eq!(signatures(&report), Vec::<String>::new(), "{uid}");
    }
}

#[tokio::test]
async fn labels_and_paths_with_the_uid_in_them_are_found_again() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        let uid = "0f3a1c9e-1111-4222-8333-444455556666";
        let mut config = config("web", uid);
        config.labels = [("io.kubernetes.pod.uid".to_owned(), uid.to_owned())].into();
        config.annotations = [("path".to_owned(), format!("/var/lib/kubelet/pods/{uid}/volumes"))].into();
        let request = v1::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let sandbox = client.run(request).await;
        client.sandbox_status(&sandbox).await;
        client.list_sandboxes_labelled("io.kubernetes.pod.uid", uid).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
}

#[tokio::test]
async fn without_its_key_a_sealed_tape_replays_what_does_not_need_it() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.pull("registry.example/app:1").await;
        let sandbox = client.run(pod("web")).await;
        let mut plain = container_request("plain", "");
        let config = plain.config.as_mut().unwrap();
        config.command.clear();
        config.envs = vec![v1::KeyValue { key: "TOKEN".into(), value: "env-secret-1".into() }];
        let container = client.create(&sandbox, plain).await;
        client.container_status(&container).await;
        let commanded = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.start(&commanded).await;
        client.exec(&commanded, "echo secret").await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(
        (signatures(&report), report.calls.inconclusive),
        (Vec::new(), 0),
        "{:?}",
        report.inconclusive
    );
    tape.lose_key();
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    assert_eq!(signatures(&report), Vec::<String>::new());
    let reasons: Vec<_> = report.inconclusive.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(report.calls.inconclusive, 3, "{reasons:?}");
    assert!(reasons.contains(&"its command is sealed, and the tape's key is not here"), "{reasons:?}");
}

#[tokio::test]
async fn what_follows_from_a_call_that_could_not_be_sent_is_no_finding() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        let image = Some(world::spec("registry.example/app:1"));
        let auth = Some(v1::AuthConfig { password: "password-1".into(), ..Default::default() });
        let pull = v1::PullImageRequest { image: image.clone(), auth, ..Default::default() };
        client.call::<v1::PullImageResponse>("PullImage", pull).await;
        let status = v1::ImageStatusRequest { image, verbose: false };
        client.call::<v1::ImageStatusResponse>("ImageStatus", status).await;
        let sandbox = client.run(pod("web")).await;
        let commanded = client.create(&sandbox, container_request("app", "sleep 100")).await;
        client.container_status(&commanded[..12]).await;
        client.remove_pod(&sandbox).await;
    })
    .await;
    tape.lose_key();
    let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
    let reasons: Vec<_> = report.inconclusive.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!((signatures(&report), report.calls.inconclusive), (Vec::new(), 4), "{reasons:?}");
    assert!(reasons.contains(&"its image, which call 1 pulled, was not pulled here"), "{reasons:?}");
    assert!(reasons.contains(&"it names what call 4 made, which was not made here"), "{reasons:?}");
}

#[tokio::test]
async fn short_uids_are_told_apart_from_the_fresh_ones_made_of_them() {
    for uid in ["1", "web-1", "left-1", "web-uid"] {
        let tape = recorded(&World::new(&[]), async |client: &Client| {
            let request = v1::RunPodSandboxRequest { config: Some(config("web", uid)), ..Default::default() };
            let sandbox = client.run(request).await;
            client.sandbox_status(&sandbox).await;
            client.remove_pod(&sandbox).await;
        })
        .await;
        let report = World::new(&[]).replay(&tape, NO_WAIT).await.unwrap();
        assert_eq!(signatures(&report), Vec::<String>::new(), "{uid}");
    }
}
