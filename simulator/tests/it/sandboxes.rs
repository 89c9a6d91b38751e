//! Pod sandboxes.

use std::collections::BTreeSet;

use cri::v1;
use critape_simulator::Config;
use tonic::Code;

use crate::harness::{Runtime, assert_fails, labels, pod};

async fn list(runtime: &Runtime, filter: v1::PodSandboxFilter) -> Vec<String> {
    let request = v1::ListPodSandboxRequest { filter: Some(filter) };
    let response: v1::ListPodSandboxResponse = runtime.runtime("ListPodSandbox", request).await.unwrap();
    response.items.into_iter().map(|item| item.id).collect()
}

#[tokio::test]
async fn a_pod_lives_and_dies() {
    let runtime = Runtime::start().await;
    let id = runtime.run_pod("web").await;
    let status = runtime.pod_status(&id).await.unwrap();
    assert_eq!(status.id, id);
    assert_eq!(status.metadata, pod("web").metadata);
    assert_eq!(
        (status.labels.clone(), status.annotations.clone()),
        (pod("web").labels, pod("web").annotations)
    );
    assert_eq!(status.state(), v1::PodSandboxState::SandboxReady);
    assert!(status.created_at > 1_600_000_000_000_000_000);
    assert!(status.network.unwrap().ip.starts_with("10.88."));
    assert!(status.linux.is_some());

    runtime.stop_pod(&id).await.unwrap();
    let stopped = runtime.pod_status(&id).await.unwrap();
    assert_eq!(stopped.state(), v1::PodSandboxState::SandboxNotready);
    assert_eq!(stopped.network.unwrap().ip, "");
    assert_eq!(stopped.created_at, status.created_at);

    runtime.remove_pod(&id).await.unwrap();
    assert_fails(
        runtime.pod_status(&id).await,
        Code::NotFound,
        "an error occurred when try to find sandbox: not found",
    );
    assert!(list(&runtime, v1::PodSandboxFilter::default()).await.is_empty());
}

#[tokio::test]
async fn stopping_and_removing_may_be_repeated() {
    let runtime = Runtime::start().await;
    let id = runtime.run_pod("web").await;
    for _ in 0..2 {
        runtime.stop_pod(&id).await.unwrap();
    }
    for _ in 0..2 {
        runtime.remove_pod(&id).await.unwrap();
        runtime.stop_pod(&id).await.unwrap();
    }
    assert_fails(
        runtime.stop_pod("").await,
        Code::Unknown,
        "an error occurred when try to find sandbox \"\": prefix can't be empty",
    );
}

#[tokio::test]
async fn a_name_belongs_to_one_pod() {
    let runtime = Runtime::start().await;
    let id = runtime.run_pod("web").await;
    assert_fails(
        runtime.try_run_pod(pod("web")).await,
        Code::FailedPrecondition,
        &format!(
            "failed to reserve sandbox name \"web_default_uid-of-web_0\": \
             name \"web_default_uid-of-web_0\" is reserved for \"{id}\""
        ),
    );
    let mut next = pod("web");
    next.metadata.as_mut().unwrap().attempt = 1;
    runtime.try_run_pod(next).await.unwrap();
    runtime.stop_pod(&id).await.unwrap();
    assert!(runtime.try_run_pod(pod("web")).await.is_err(), "stopped, it still holds the name");
    runtime.remove_pod(&id).await.unwrap();
    runtime.try_run_pod(pod("web")).await.unwrap();
}

#[tokio::test]
async fn a_pod_needs_metadata_and_a_known_handler() {
    let runtime = Runtime::start().await;
    let nameless = v1::PodSandboxConfig::default();
    assert_fails(runtime.try_run_pod(nameless).await, Code::Unknown, "sandbox config must include metadata");
    let request = |handler: &str| v1::RunPodSandboxRequest {
        config: Some(pod("web")),
        runtime_handler: handler.to_owned(),
    };
    let refused = runtime.runtime::<v1::RunPodSandboxResponse>("RunPodSandbox", request("kata")).await;
    let status = refused.unwrap_err();
    assert!(status.message().ends_with("no runtime for \"kata\" is configured"), "{status:?}");
    // A failed attempt gives the name back.
    let accepted: v1::RunPodSandboxResponse =
        runtime.runtime("RunPodSandbox", request("runc")).await.unwrap();
    assert_eq!(runtime.pod_status(&accepted.pod_sandbox_id).await.unwrap().runtime_handler, "runc");
}

#[tokio::test]
async fn ids_are_taken_by_prefix() {
    let runtime = Runtime::start().await;
    let mut ids = Vec::new();
    // Sixteen digits: of seventeen ids two begin alike.
    for number in 0..17 {
        ids.push(runtime.run_pod(&format!("pod-{number}")).await);
    }
    let digit = |id: &str| id[..1].to_owned();
    let shared = ids
        .iter()
        .map(|id| digit(id))
        .find(|first| ids.iter().filter(|id| id.starts_with(first.as_str())).count() > 1);
    let shared = shared.unwrap();
    let status = runtime.pod_status(&shared).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().ends_with(&format!("Multiple IDs found with provided prefix: {shared}")));
    assert_eq!(runtime.pod_status(&ids[3][..12]).await.unwrap().id, ids[3]);

    let filter = v1::PodSandboxFilter { id: shared.clone(), ..Default::default() };
    let listed: BTreeSet<_> = list(&runtime, filter).await.into_iter().collect();
    let expected = ids.into_iter().filter(|id| id.starts_with(&shared)).collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn lists_are_filtered_and_in_no_order() {
    let runtime = Runtime::start().await;
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(runtime.run_pod(&format!("pod-{number}")).await);
    }
    runtime.stop_pod(&ids[2]).await.unwrap();
    let state = |state: v1::PodSandboxState| v1::PodSandboxFilter {
        state: Some(v1::PodSandboxStateValue { state: state.into() }),
        ..Default::default()
    };
    assert_eq!(list(&runtime, state(v1::PodSandboxState::SandboxNotready)).await, [ids[2].clone()]);
    assert_eq!(list(&runtime, state(v1::PodSandboxState::SandboxReady)).await.len(), 7);
    let selector = |label_selector| v1::PodSandboxFilter { label_selector, ..Default::default() };
    assert_eq!(list(&runtime, selector(labels(&[("app", "pod-5")]))).await, [ids[5].clone()]);
    assert!(list(&runtime, selector(labels(&[("app", "pod-5"), ("tier", "x")]))).await.is_empty());

    let mut orders = BTreeSet::new();
    for _ in 0..10 {
        orders.insert(list(&runtime, v1::PodSandboxFilter::default()).await);
    }
    assert!(orders.len() > 1);
}

#[tokio::test]
async fn addresses_are_unique_and_the_hosts_network_has_none() {
    let runtime = Runtime::start().await;
    let mut addresses = BTreeSet::new();
    for number in 0..5 {
        let id = runtime.run_pod(&format!("pod-{number}")).await;
        addresses.insert(runtime.pod_status(&id).await.unwrap().network.unwrap().ip);
    }
    assert_eq!(addresses.len(), 5);
    let options = v1::NamespaceOption { network: v1::NamespaceMode::Node.into(), ..Default::default() };
    let mut config = pod("host");
    config.linux = Some(v1::LinuxPodSandboxConfig {
        security_context: Some(v1::LinuxSandboxSecurityContext {
            namespace_options: Some(options.clone()),
            ..Default::default()
        }),
        ..Default::default()
    });
    let id = runtime.try_run_pod(config).await.unwrap();
    let status = runtime.pod_status(&id).await.unwrap();
    assert_eq!(status.network.unwrap().ip, "");
    assert_eq!(status.linux.unwrap().namespaces.unwrap().options, Some(options));
}

#[tokio::test]
async fn info_comes_only_when_asked_for() {
    let runtime = Runtime::start().await;
    let id = runtime.run_pod("web").await;
    let status = |verbose| v1::PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose };
    let short: v1::PodSandboxStatusResponse =
        runtime.runtime("PodSandboxStatus", status(false)).await.unwrap();
    assert!(short.info.is_empty());
    let long: v1::PodSandboxStatusResponse = runtime.runtime("PodSandboxStatus", status(true)).await.unwrap();
    let info: serde_json::Value = serde_json::from_str(&long.info["info"]).unwrap();
    assert!(info["pid"].as_u64().unwrap() > 0);
    assert_eq!(info["config"]["metadata"]["name"], "web");
}

#[tokio::test]
async fn one_seed_gives_the_same_ids_and_no_seed_gives_others() {
    let seeded = || Config { seed: 42, ..Config::default() };
    let (one, same) = (Runtime::with(seeded()).await, Runtime::with(seeded()).await);
    let (first, second) = (Runtime::start().await, Runtime::start().await);
    assert_eq!(one.run_pod("web").await, same.run_pod("web").await);
    assert_ne!(first.run_pod("web").await, second.run_pod("web").await);
}
