//! What rare situations look like on the runtime as it is, and with the regression that they brought to light.

use std::time::Duration;

use cri::v1;
use critape_simulator::Config;
use prost::Message;
use tonic::{Code, Status};

use crate::events::{next, subscribe};
use crate::harness::{IMAGE, Runtime, container, image_spec, pod};

/// The runtime as it is, and with the regression.
async fn both(regression: &str) -> [Runtime; 2] {
    [Runtime::with(Config::default()).await, Runtime::with_regression(regression).await]
}

async fn exec(runtime: &Runtime, container: &str, command: &[&str]) -> Result<v1::ExecSyncResponse, Status> {
    let request = v1::ExecSyncRequest {
        container_id: container.to_owned(),
        cmd: command.iter().map(ToString::to_string).collect(),
        timeout: 1,
    };
    runtime.runtime("ExecSync", request).await
}

async fn read(runtime: &Runtime, container: &str, path: &str) -> String {
    let output = exec(runtime, container, &["cat", path]).await.unwrap();
    String::from_utf8(output.stdout.to_vec()).unwrap()
}

/// Runs a container in a pod of this configuration.
async fn run_in(
    runtime: &Runtime,
    pod: v1::PodSandboxConfig,
    config: v1::ContainerConfig,
) -> (String, String) {
    runtime.pull(IMAGE).await.unwrap();
    let sandbox = runtime.try_run_pod(pod.clone()).await.unwrap();
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: sandbox.clone(),
        config: Some(config),
        sandbox_config: Some(pod),
    };
    let created: v1::CreateContainerResponse = runtime.runtime("CreateContainer", request).await.unwrap();
    runtime.start_container(&created.container_id).await.unwrap();
    (sandbox, created.container_id)
}

fn options(config: &mut v1::PodSandboxConfig) -> &mut v1::NamespaceOption {
    let context = config.linux.get_or_insert_default().security_context.get_or_insert_default();
    context.namespace_options.get_or_insert_default()
}

async fn image(runtime: &Runtime, name: &str) -> Option<v1::Image> {
    let request = v1::ImageStatusRequest { image: Some(image_spec(name)), verbose: false };
    runtime.image::<v1::ImageStatusResponse>("ImageStatus", request).await.unwrap().image
}

async fn remove_image(runtime: &Runtime, name: &str) -> Result<(), Status> {
    let request = v1::RemoveImageRequest { image: Some(image_spec(name)) };
    runtime.image::<v1::RemoveImageResponse>("RemoveImage", request).await.map(|_| ())
}

#[tokio::test]
async fn containerd_10462_an_empty_resolver() {
    let mut found = Vec::new();
    for runtime in both("containerd-10462").await {
        let config = v1::PodSandboxConfig { dns_config: Some(v1::DnsConfig::default()), ..pod("web") };
        let (_, id) = run_in(&runtime, config, container("app", &[])).await;
        found.push(read(&runtime, &id, "/etc/resolv.conf").await);
        // One that names a server is what it is.
        let dns = v1::DnsConfig { servers: vec!["10.0.0.10".to_owned()], ..Default::default() };
        let config = v1::PodSandboxConfig { dns_config: Some(dns), ..pod("other") };
        let (_, id) = run_in(&runtime, config, container("app", &[])).await;
        assert_eq!(read(&runtime, &id, "/etc/resolv.conf").await, "nameserver 10.0.0.10\n");
    }
    assert_eq!(found[0], "");
    assert!(found[1].starts_with("nameserver 192."));
}

#[tokio::test]
async fn containerd_10045_many_mounts() {
    for (mounts, changes) in [(8, false), (12, true)] {
        let mut found = Vec::new();
        for runtime in both("containerd-10045").await {
            let mut config = container("app", &[]);
            config.mounts = (0..mounts)
                .map(|place| v1::Mount { container_path: format!("/data/{place}"), ..Default::default() })
                .collect();
            let (_, id) = run_in(&runtime, pod("web"), config).await;
            found.push(read(&runtime, &id, "/proc/mounts").await);
        }
        assert_eq!(found[0] != found[1], changes, "{mounts} mounts: {found:#?}");
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&found[0]), sorted(&found[1]));
    }
}

#[tokio::test]
async fn kubernetes_116707_and_containerd_9865_a_user_namespace() {
    for (regression, mapped) in [("kubernetes-116707", false), ("containerd-9865", true)] {
        let [right, wrong] = both(regression).await;
        for (runtime, is_right) in [(right, true), (wrong, false)] {
            let ids = vec![v1::IdMapping { host_id: 100_000, container_id: 0, length: 65_536 }];
            let mode = v1::NamespaceMode::Pod.into();
            let mut config = pod("web");
            options(&mut config).userns_options =
                Some(v1::UserNamespace { mode, uids: ids.clone(), gids: ids });
            let (sandbox, id) = run_in(&runtime, config, container("app", &[])).await;
            let map = read(&runtime, &id, "/proc/self/uid_map").await;
            assert_eq!(map == "         0     100000      65536\n", is_right || mapped, "{map}");
            let status = runtime.pod_status(&sandbox).await.unwrap();
            let shown = status.linux.unwrap().namespaces.unwrap().options.unwrap().userns_options;
            assert_eq!(shown.is_some(), is_right);
        }
    }
}

#[tokio::test]
async fn containerd_8180_out_of_memory() {
    let mut found = Vec::new();
    for runtime in both("containerd-8180").await {
        for name in ["one", "two"] {
            let mut config = container(name, &["tail", "/dev/zero"]);
            let resources =
                v1::LinuxContainerResources { memory_limit_in_bytes: 1 << 26, ..Default::default() };
            config.linux =
                Some(v1::LinuxContainerConfig { resources: Some(resources), ..Default::default() });
            let (_, id) = run_in(&runtime, pod(name), config).await;
            let status = runtime.exited(&id).await;
            assert_eq!(status.exit_code, 137);
            found.push(status.reason);
        }
    }
    assert_eq!(found, ["OOMKilled", "OOMKilled", "Error", "OOMKilled"]);
}

#[tokio::test]
async fn containerd_10461_a_shim_that_died() {
    let [right, wrong] = both("containerd-10461").await;
    for (runtime, is_right) in [(right, true), (wrong, false)] {
        let victim = runtime.running("victim", &["sleep", "600"]).await;
        let victim_pod = runtime.container_status(&victim).await.unwrap();
        assert_eq!(victim_pod.state(), v1::ContainerState::ContainerRunning);
        let list: v1::ListPodSandboxResponse =
            runtime.runtime("ListPodSandbox", v1::ListPodSandboxRequest::default()).await.unwrap();
        let sandbox = list.items[0].id.clone();
        let mut with_node = container("admin", &["sleep", "600"]);
        let namespace_options =
            Some(v1::NamespaceOption { pid: v1::NamespaceMode::Node.into(), ..Default::default() });
        let security_context =
            Some(v1::LinuxContainerSecurityContext { namespace_options, ..Default::default() });
        with_node.linux = Some(v1::LinuxContainerConfig { security_context, ..Default::default() });
        let (_, admin) = run_in(&runtime, pod("admin"), with_node).await;
        let pattern = format!("-id {sandbox}");
        let killed = exec(&runtime, &admin, &["pkill", "-9", "-f", &pattern]).await.unwrap();
        assert_eq!(killed.exit_code, 0);
        assert_eq!(exec(&runtime, &admin, &["pkill", "-9", "-f", &pattern]).await.unwrap().exit_code, 1);
        assert_eq!(runtime.exited(&victim).await.exit_code, 137);
        match runtime.pod_status(&sandbox).await {
            Ok(status) => {
                assert_eq!((status.state(), is_right), (v1::PodSandboxState::SandboxNotready, true));
            }
            Err(status) => {
                assert_eq!((status.code(), is_right), (Code::Unknown, false));
            }
        }
        runtime.stop_pod(&sandbox).await.unwrap();
        runtime.remove_pod(&sandbox).await.unwrap();
    }
}

#[tokio::test]
async fn without_the_node_its_tools_are_not_there() {
    let runtime = Runtime::start().await;
    let id = runtime.running("web", &[]).await;
    for command in
        [&["pkill", "-9", "-f", "shim"][..], &["ctr", "-n", "k8s.io", "images", "pull", "busybox:2"]]
    {
        assert_eq!(exec(&runtime, &id, command).await.unwrap_err().code(), Code::Unknown);
    }
}

#[tokio::test]
async fn containerd_9785_and_containerd_9773_an_image_pulled_past_cri() {
    for (regression, is_there) in [("containerd-9785", true), ("containerd-9773", false)] {
        let mut found = Vec::new();
        for runtime in both(regression).await {
            let mut config = container("admin", &["sleep", "600"]);
            let socket = "/run/containerd/containerd.sock".to_owned();
            config.mounts = vec![v1::Mount { container_path: socket, ..Default::default() }];
            let (_, id) = run_in(&runtime, pod("admin"), config).await;
            let label = "io.cri-containerd.pinned=pinned";
            let command = ["ctr", "-n", "k8s.io", "images", "pull", "--label", label, "agent:2"];
            assert_eq!(exec(&runtime, &id, &command).await.unwrap().exit_code, 0);
            found.push(image(&runtime, "agent:2").await.map(|image| image.pinned));
        }
        assert_eq!(found, [Some(true), is_there.then_some(false)]);
    }
}

#[tokio::test]
async fn containerd_12402_and_containerd_12805_pulls_that_fail() {
    let right = Runtime::start().await;
    let network = right.pull("flaky.example/app:1").await.unwrap_err();
    assert_eq!(network.code(), Code::Unknown);
    let signed = right.pull("behind-cdn:1").await.unwrap_err();
    assert!(signed.message().contains("X-Amz-Signature=%5BREDACTED%5D"), "{signed}");
    let wrong = Runtime::with_regression("containerd-12402").await;
    assert_eq!(wrong.pull("flaky.example/app:1").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(wrong.pull("behind-cdn:1").await.unwrap_err().message(), signed.message());
    let wrong = Runtime::with_regression("containerd-12805").await;
    let told = wrong.pull("behind-cdn:1").await.unwrap_err();
    assert!(told.code() == signed.code() && !told.message().contains("REDACTED"), "{told}");
}

#[tokio::test]
async fn containerd_13881_pulled_again() {
    for (runtime, is_there) in both("containerd-13881").await.into_iter().zip([true, false]) {
        runtime.pull("busybox:1").await.unwrap();
        assert!(image(&runtime, "busybox:1").await.is_some());
        remove_image(&runtime, "busybox:1").await.unwrap();
        runtime.pull("busybox:1").await.unwrap();
        assert_eq!(image(&runtime, "busybox:1").await.is_some(), is_there);
        runtime.pull("busybox:1").await.unwrap();
        assert!(image(&runtime, "busybox:1").await.is_some());
    }
}

#[tokio::test]
async fn cri_o_9803_removals_that_meet() {
    for (runtime, all_succeed) in both("cri-o-9803").await.into_iter().zip([true, false]) {
        runtime.pull("busybox:1").await.unwrap();
        let (one, other) =
            tokio::join!(remove_image(&runtime, "busybox:1"), remove_image(&runtime, "busybox:1"));
        assert_eq!(one.is_ok() && other.is_ok(), all_succeed);
        assert!(one.is_ok() || other.is_ok());
        remove_image(&runtime, "busybox:1").await.unwrap();
    }
}

#[tokio::test]
async fn cri_o_9615_two_digests() {
    let mut found = Vec::new();
    for runtime in both("cri-o-9615").await {
        runtime.pull("a.example/app:1").await.unwrap();
        let digest = image(&runtime, "a.example/app:1").await.unwrap().repo_digests[0].clone();
        let (_, digest) = digest.split_once('@').unwrap();
        runtime.pull(&format!("b.example/app@{digest}")).await.unwrap();
        found.push(image(&runtime, "a.example/app:1").await.unwrap().repo_digests[0].clone());
    }
    assert!(found[0].starts_with("a.example/") && found[1].starts_with("b.example/"), "{found:?}");
}

#[tokio::test]
async fn containerd_10036_commands_that_meet() {
    for (runtime, all_succeed) in both("containerd-10036").await.into_iter().zip([true, false]) {
        let id = runtime.running("web", &["sleep", "600"]).await;
        exec(&runtime, &id, &["true"]).await.unwrap();
        let probe = ["sleep", "0.1"];
        let (one, other) = tokio::join!(exec(&runtime, &id, &probe), exec(&runtime, &id, &probe));
        let failed: Vec<Code> =
            [one, other].into_iter().filter_map(Result::err).map(|it| it.code()).collect();
        assert_eq!(failed, if all_succeed { vec![] } else { vec![Code::DeadlineExceeded] });
    }
}

/// Stops with a deadline of the caller's own.
async fn stop_within(runtime: &Runtime, id: &str, timeout: i64, deadline: Duration) -> Result<(), Status> {
    let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout }.encode_to_vec();
    let path = "/runtime.v1.RuntimeService/StopContainer";
    runtime.client.unary(path, request.into(), Some(deadline)).await.map(|_| ())
}

#[tokio::test]
async fn containerd_6080_a_stop_that_was_given_up() {
    for (runtime, ends) in both("containerd-6080").await.into_iter().zip([true, false]) {
        let id = runtime.running("web", &["sh", "-c", "trap '' TERM; echo ready; sleep 600"]).await;
        exec(&runtime, &id, &["sleep", "0.05"]).await.unwrap();
        let given_up = stop_within(&runtime, &id, 30, Duration::from_millis(100)).await;
        assert_eq!(given_up.unwrap_err().code(), Code::DeadlineExceeded);
        let second = stop_within(&runtime, &id, 1, Duration::from_secs(3)).await;
        assert_eq!(second.is_ok(), ends, "{second:?}");
    }
}

#[tokio::test]
async fn cri_o_6627_a_client_that_comes_back() {
    let [right, wrong] = both("cri-o-6627").await;
    for (runtime, first) in [
        (right, v1::ContainerEventType::ContainerCreatedEvent),
        (wrong, v1::ContainerEventType::ContainerStartedEvent),
    ] {
        drop(subscribe(&runtime).await);
        // Answered after the runtime has heard that the stream is no longer wanted.
        let version = v1::VersionRequest::default();
        runtime.runtime::<v1::VersionResponse>("Version", version).await.unwrap();
        let mut again = subscribe(&runtime).await;
        runtime.run_pod("web").await;
        assert_eq!(next(&mut again).await.container_event_type(), first);
    }
}

#[tokio::test]
async fn cri_o_9014_the_runtime_dies_and_comes_back() {
    let runtime = Runtime::with_regression("cri-o-9014").await;
    let mut stays = subscribe(&runtime).await;
    drop(subscribe(&runtime).await);
    runtime.runtime::<v1::VersionResponse>("Version", v1::VersionRequest::default()).await.unwrap();
    // What becomes of the call that brings the two events depends on which comes first, its answer or the end.
    let _ = runtime.try_run_pod(pod("web")).await;
    while let Ok(Some(_)) = stays.message().await {}
    let list = async || {
        let request = v1::ListPodSandboxRequest::default();
        runtime.runtime::<v1::ListPodSandboxResponse>("ListPodSandbox", request).await.ok()
    };
    assert_eq!(runtime.until(list).await.items.len(), 1);
}

#[tokio::test]
async fn containerd_13023_a_method_that_is_not_there() {
    for (runtime, code) in
        both("containerd-13023").await.into_iter().zip([Code::Unimplemented, Code::Unknown])
    {
        let request = v1::UpdatePodSandboxResourcesRequest::default();
        let answer =
            runtime.runtime::<v1::UpdatePodSandboxResourcesResponse>("UpdatePodSandboxResources", request);
        assert_eq!(answer.await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn cri_dockerd_168_on_the_network_of_the_node() {
    let [right, wrong] = both("cri-dockerd-168").await;
    for (runtime, state) in
        [(right, v1::PodSandboxState::SandboxReady), (wrong, v1::PodSandboxState::SandboxNotready)]
    {
        let mut config = pod("host");
        options(&mut config).network = v1::NamespaceMode::Node.into();
        let id = runtime.try_run_pod(config).await.unwrap();
        assert_eq!(runtime.pod_status(&id).await.unwrap().state(), state);
        let id = runtime.run_pod("web").await;
        assert_eq!(runtime.pod_status(&id).await.unwrap().state(), v1::PodSandboxState::SandboxReady);
    }
}
