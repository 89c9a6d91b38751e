//! What a small kubelet does, made short: three pods, one of which crashes, probes, relists, an image pull, teardown.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::{Endpoint, v1};
use tokio::time::{Instant, sleep, sleep_until};

use crate::kubelet::{Kubelet, WorkloadError};

type Result<T> = std::result::Result<T, WorkloadError>;

const IMAGE: &str = "registry.example/busybox:1.36";
/// How often pods and containers are listed.
const RELIST: Duration = Duration::from_millis(200);
/// How often the probe runs.
const PROBE: Duration = Duration::from_millis(300);
/// How long the pods live.
const LIFE: Duration = Duration::from_millis(2500);

/// Does it all on connections of its own, as kubelet does: one for each service, one for events.
pub async fn demo(endpoint: &Endpoint) -> Result<()> {
    let runtime = Kubelet::connect(endpoint).await?;
    let images = Kubelet::connect(endpoint).await?;
    handshake(&runtime, &images).await?;
    let listener = Kubelet::connect(endpoint).await?;
    let events = listener.events().await?;
    pull(&images, IMAGE).await?;
    let (web, job, crash) = tokio::try_join!(
        start(&runtime, "web", 0, "sleep 600"),
        start(&runtime, "job", 0, "echo done; exit 0"),
        start(&runtime, "crash", 0, "sleep 0.1; exit 3"),
    )?;
    let until = Instant::now() + LIFE;
    tokio::try_join!(
        relist(&runtime, until),
        probe(&runtime, &web.container, until),
        restart(&runtime, &crash, until),
        look(&runtime, &images, &web, until),
        runtime.exited(&job.container),
    )?;
    for pod in [&web, &job, &crash] {
        remove(&runtime, pod).await?;
    }
    // kubelet stops what it has removed already, when it is not sure: that is no error.
    let _ = runtime.call("StopContainer", &stop(&web.container)).await;
    relist(&runtime, Instant::now()).await?;
    drop(events);
    Ok(())
}

async fn handshake(runtime: &Kubelet, images: &Kubelet) -> Result<()> {
    runtime.call("Version", &v1::VersionRequest::default()).await?;
    images.call("ImageFsInfo", &v1::ImageFsInfoRequest {}).await?;
    runtime.call("RuntimeConfig", &v1::RuntimeConfigRequest {}).await?;
    runtime.call("Status", &v1::StatusRequest::default()).await?;
    Ok(())
}

async fn pull(images: &Kubelet, image: &str) -> Result<()> {
    let spec = Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() });
    images.call("ImageStatus", &v1::ImageStatusRequest { image: spec.clone(), verbose: false }).await?;
    images.call("PullImage", &v1::PullImageRequest { image: spec.clone(), ..Default::default() }).await?;
    images.call("ImageStatus", &v1::ImageStatusRequest { image: spec, verbose: false }).await?;
    Ok(())
}

/// A pod that runs, and its container.
struct Pod {
    config: v1::PodSandboxConfig,
    sandbox: String,
    container: String,
    command: &'static str,
}

async fn start(runtime: &Kubelet, name: &'static str, attempt: u32, command: &'static str) -> Result<Pod> {
    let config = v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: uid(name),
            attempt,
        }),
        hostname: name.to_owned(),
        labels: labels(name),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: format!("/kubepods/besteffort/pod{}", uid(name)),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
    let made: v1::RunPodSandboxResponse = runtime.ask("RunPodSandbox", &request).await?;
    let mut pod = Pod { config, sandbox: made.pod_sandbox_id, container: String::new(), command };
    let status = v1::PodSandboxStatusRequest { pod_sandbox_id: pod.sandbox.clone(), verbose: false };
    runtime.call("PodSandboxStatus", &status).await?;
    pod.container = start_container(runtime, &pod, 0).await?;
    Ok(pod)
}

async fn start_container(runtime: &Kubelet, pod: &Pod, attempt: u32) -> Result<String> {
    let name = pod.config.hostname.clone();
    let config = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.clone(), attempt }),
        image: Some(v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() }),
        command: ["sh", "-c", pod.command].map(str::to_owned).to_vec(),
        envs: vec![v1::KeyValue { key: "MODE".to_owned(), value: "demo".into() }],
        labels: [("io.kubernetes.container.name".to_owned(), name.clone())]
            .into_iter()
            .chain(labels(&name))
            .collect(),
        annotations: [("io.kubernetes.container.restartCount".to_owned(), attempt.to_string())].into(),
        log_path: format!("{name}/{attempt}.log"),
        ..Default::default()
    };
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: pod.sandbox.clone(),
        config: Some(config),
        sandbox_config: Some(pod.config.clone()),
    };
    let made: v1::CreateContainerResponse = runtime.ask("CreateContainer", &request).await?;
    runtime
        .call("StartContainer", &v1::StartContainerRequest { container_id: made.container_id.clone() })
        .await?;
    Ok(made.container_id)
}

async fn relist(runtime: &Kubelet, until: Instant) -> Result<()> {
    loop {
        runtime.call("ListPodSandbox", &v1::ListPodSandboxRequest::default()).await?;
        runtime.call("ListContainers", &v1::ListContainersRequest::default()).await?;
        if Instant::now() >= until {
            return Ok(());
        }
        sleep(RELIST).await;
    }
}

async fn probe(runtime: &Kubelet, container: &str, until: Instant) -> Result<()> {
    while Instant::now() < until {
        let request = v1::ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: ["sh", "-c", "echo alive"].map(str::to_owned).to_vec(),
            timeout: 1,
        };
        runtime.call("ExecSync", &request).await?;
        sleep(PROBE).await;
    }
    Ok(())
}

/// Starts the container that crashes again, until time is up.
async fn restart(runtime: &Kubelet, pod: &Pod, until: Instant) -> Result<()> {
    let mut container = pod.container.clone();
    for attempt in 1..3 {
        runtime.exited(&container).await?;
        sleep(Duration::from_millis(250)).await;
        container = start_container(runtime, pod, attempt).await?;
    }
    runtime.exited(&container).await?;
    sleep_until(until).await;
    Ok(())
}

/// The slower rounds: stats, node status, images.
async fn look(runtime: &Kubelet, images: &Kubelet, web: &Pod, until: Instant) -> Result<()> {
    while Instant::now() < until {
        runtime.call("Status", &v1::StatusRequest::default()).await?;
        let filter = v1::ContainerStatsFilter { label_selector: labels("web"), ..Default::default() };
        runtime.call("ListContainerStats", &v1::ListContainerStatsRequest { filter: Some(filter) }).await?;
        images.call("ListImages", &v1::ListImagesRequest::default()).await?;
        images.call("ImageFsInfo", &v1::ImageFsInfoRequest {}).await?;
        let id = web.container.clone();
        runtime
            .call("ContainerStatus", &v1::ContainerStatusRequest { container_id: id, verbose: false })
            .await?;
        sleep(Duration::from_millis(600)).await;
    }
    Ok(())
}

async fn remove(runtime: &Kubelet, pod: &Pod) -> Result<()> {
    runtime.call("StopContainer", &stop(&pod.container)).await?;
    let id = pod.sandbox.clone();
    runtime.call("StopPodSandbox", &v1::StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await?;
    runtime
        .call("RemoveContainer", &v1::RemoveContainerRequest { container_id: pod.container.clone() })
        .await?;
    runtime.call("RemovePodSandbox", &v1::RemovePodSandboxRequest { pod_sandbox_id: id }).await?;
    Ok(())
}

fn stop(container: &str) -> v1::StopContainerRequest {
    v1::StopContainerRequest { container_id: container.to_owned(), timeout: 0 }
}

fn labels(pod: &str) -> BTreeMap<String, String> {
    [
        ("io.kubernetes.pod.name", pod.to_owned()),
        ("io.kubernetes.pod.namespace", "default".to_owned()),
        ("io.kubernetes.pod.uid", uid(pod)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A uid for each pod, always the same.
fn uid(pod: &str) -> String {
    let seed = pod.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    format!("{:08x}-0000-4000-8000-{:012x}", seed as u32, seed)
}
