//! `ListContainers` of a real containerd, as kubelet asks for it every second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cri::client::Client;
use cri::{Endpoint, v1};
use prost::Message;

use crate::lanes::{self, Lane, Open, Upstream};
use crate::load::{Caller, Target, framed, on_one_thread};
use crate::stats::{Spread, micros, quantile};

const VERSION: &str = "2.1";
const CONTAINERS: usize = 50;
const ROUNDS: usize = 7;
const CALLS: usize = 400;
const LIST: &str = "/runtime.v1.RuntimeService/ListContainers";
const IMAGE: &str = "localhost:5000/busybox:1.0";
/// Pulling and making are slow where the disk is.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn measure() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("cb-").tempdir()?;
    let Some(containerd) = start(folder.path())? else { return Ok(()) };
    let bytes = on_one_thread(fill(&containerd.socket))?;
    let result = compare(&containerd, bytes, folder.path());
    containerd.stop()?;
    result
}

/// A containerd that `e2e/runtime.sh` runs.
#[derive(Debug)]
struct Containerd {
    folder: PathBuf,
    socket: PathBuf,
}

/// Runs containerd, unless it is not installed; then says so.
fn start(folder: &Path) -> Result<Option<Containerd>> {
    let folder = folder.join("rt");
    let started =
        Command::new(script()).args(["start", VERSION]).arg(&folder).stdin(Stdio::null()).output()?;
    if !started.status.success() {
        let said = String::from_utf8_lossy(&started.stderr);
        println!(
            "containerd {VERSION}: left out: {}",
            said.trim().lines().last().unwrap_or("it did not start")
        );
        return Ok(None);
    }
    let socket = folder.join("containerd.sock");
    Ok(Some(Containerd { folder, socket }))
}

impl Containerd {
    fn stop(&self) -> Result<()> {
        let stopped = Command::new(script()).arg("stop").arg(&self.folder).stdin(Stdio::null()).output()?;
        ensure!(
            stopped.status.success(),
            "containerd did not stop: {}",
            String::from_utf8_lossy(&stopped.stderr)
        );
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Already stopped is as good as stopped.
        let _ = self.stop();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/runtime.sh")
}

/// Makes containers in one pod, which don't run. Says how many bytes their list has.
async fn fill(socket: &Path) -> Result<usize> {
    let client = Client::connect(&Endpoint::at(socket)?).await?;
    let image = Some(v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() });
    let pull = v1::PullImageRequest { image: image.clone(), ..Default::default() };
    call::<v1::PullImageResponse>(&client, "ImageService/PullImage", &pull).await?;
    let metadata = v1::PodSandboxMetadata {
        name: "bench".to_owned(),
        uid: "0c9d1d2e-5b6a-4c1f-9d3e-2f7a8b9c0d1e".to_owned(),
        namespace: "default".to_owned(),
        attempt: 0,
    };
    let config = v1::PodSandboxConfig {
        metadata: Some(metadata),
        labels: labels("bench"),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: "/critape-e2e".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let run = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
    let pod: v1::RunPodSandboxResponse = call(&client, "RuntimeService/RunPodSandbox", &run).await?;
    for number in 0..CONTAINERS {
        let name = format!("container-{number}");
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod.pod_sandbox_id.clone(),
            config: Some(v1::ContainerConfig {
                labels: labels(&name),
                metadata: Some(v1::ContainerMetadata { name, attempt: 0 }),
                image: image.clone(),
                command: vec!["sleep".to_owned(), "600".to_owned()],
                ..Default::default()
            }),
            sandbox_config: Some(config.clone()),
        };
        call::<v1::CreateContainerResponse>(&client, "RuntimeService/CreateContainer", &request).await?;
    }
    let list = v1::ListContainersRequest::default().encode_to_vec();
    Ok(client.unary(LIST, list.into(), Some(DEADLINE)).await?.message.len())
}

fn labels(name: &str) -> BTreeMap<String, String> {
    [
        ("io.kubernetes.container.name", name),
        ("io.kubernetes.pod.name", "bench"),
        ("io.kubernetes.pod.namespace", "default"),
        ("io.kubernetes.pod.uid", "0c9d1d2e-5b6a-4c1f-9d3e-2f7a8b9c0d1e"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

async fn call<M: Message + Default>(client: &Client, rpc: &str, request: &impl Message) -> Result<M> {
    let path = format!("/runtime.v1.{rpc}");
    let reply = client.unary(&path, request.encode_to_vec().into(), Some(DEADLINE)).await;
    Ok(M::decode(reply.with_context(|| rpc.to_owned())?.message)?)
}

fn compare(containerd: &Containerd, bytes: usize, folder: &Path) -> Result<()> {
    println!(
        "ListContainers of containerd {VERSION} with {CONTAINERS} containers ({bytes} B), one after the other; {ROUNDS} rounds \
         of {CALLS} calls; median [quartiles] of the rounds, in µs"
    );
    let upstream = Upstream { socket: containerd.socket.clone(), address: None };
    let mut targets = vec![(Lane::Direct, Target::Unix(upstream.socket.clone()))];
    let mut opened: Vec<Open> = Vec::new();
    for lane in [Lane::Bare, Lane::On] {
        let open = lanes::open(lane, &upstream, folder)?;
        targets.push((lane, open.target.clone()));
        opened.push(open);
    }
    let mut rounds: Vec<Vec<(f64, f64)>> = vec![Vec::new(); targets.len()];
    for round in 0..ROUNDS {
        for turn in 0..targets.len() {
            let index = (round + turn) % targets.len();
            rounds[index].push(on_one_thread(list(&targets[index].1))?);
        }
    }
    println!("  {:<8} {:>24} {:>24} {:>22}", "LANE", "P50", "P99", "P50 ÷ DIRECT");
    for ((lane, _), of_lane) in targets.iter().zip(&rounds) {
        let ratio = of_lane.iter().zip(&rounds[0]).map(|(lane, direct)| lane.0 / direct.0);
        println!(
            "  {:<8} {:>24} {:>24} {:>22}",
            lane.name(),
            Spread::of(of_lane.iter().map(|round| round.0)).to_string(),
            Spread::of(of_lane.iter().map(|round| round.1)).to_string(),
            Spread::of(ratio).with(2)
        );
    }
    let added = |lane: usize| rounds[lane].iter().zip(&rounds[0]).map(|(lane, direct)| lane.0 - direct.0);
    let ratio = added(2).zip(added(1)).filter(|(_, bare)| *bare > 0.0).map(|(on, bare)| on / bare);
    println!("on: added p50 {} µs, {} of what bare adds", Spread::of(added(2)), Spread::of(ratio).with(2));
    let Some(on) = opened.pop() else { bail!("no lane is open") };
    let recorded = lanes::stop_recorder(on.process, folder, (ROUNDS * CALLS) as u64)?;
    ensure!(recorded.gaps == 0, "rejected: the tape has gaps");
    println!("{} calls recorded, 0 lost", recorded.calls);
    Ok(())
}

/// p50 and p99 of a round, in µs.
async fn list(target: &Target) -> Result<(f64, f64)> {
    let caller = Caller::connect(target).await?;
    let request = framed(&v1::ListContainersRequest::default());
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let since = Instant::now();
        caller.call(LIST, request.clone()).await.context("rejected: a call failed")?;
        took.push(micros(since.elapsed()));
    }
    took.sort_by(f64::total_cmp);
    Ok((quantile(&took, 0.5), quantile(&took, 0.99)))
}
