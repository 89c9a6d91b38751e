//! Whether a tape that is far larger than memory replays without being read into it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use cri::client::Client;
use cri::{Endpoint, Generation, methods, v1};
use prost::Message;

use crate::args::LongArgs;
use crate::lanes;
use crate::load::on_one_thread;
use crate::replay::{PEAK_BYTES, findings, run};

const IMAGE: &str = "registry.example/team/service:1.4.2";
/// What each command says, before it is written as text.
const SAID: usize = 768 << 10;
/// Bytes of a call on disk: what is said is in the request and in the answer, each sealed, which takes twice as much.
const STORED: u64 = 4 * SAID as u64;

pub(crate) fn measure(args: &LongArgs) -> Result<()> {
    let folder = tempfile::tempdir_in(args.folder.clone().unwrap_or_else(std::env::temp_dir))?;
    let wanted = (args.gib * f64::from(1 << 30)) as u64;
    let tape = record(folder.path(), wanted.div_ceil(STORED))?;
    let live = folder.path().join("live");
    fs::create_dir(&live)?;
    let (simulator, upstream) = lanes::simulator(&live)?;
    let replayed =
        run(&["replay".into(), tape, "--pace".into(), "max".into(), "-r".into(), upstream.socket])?;
    simulator.stop()?;
    let calls = &replayed.report["calls"];
    replayed.print();
    ensure!(calls["sent"] == calls["recorded"], "rejected: not every call was sent");
    ensure!(findings(&replayed.report) == 0, "rejected: something differed");
    ensure!(replayed.peak <= PEAK_BYTES, "the replay took too much memory");
    Ok(())
}

/// Records commands that say what nobody said before; gives the tape.
fn record(folder: &Path, commands: u64) -> Result<PathBuf> {
    let (simulator, upstream) = lanes::simulator(folder)?;
    let socket = folder.join("on.sock");
    let recorder = lanes::recorder(&upstream, &socket, folder, &["--on-overload", "block"])?;
    on_one_thread(async {
        let client = Client::connect(&Endpoint::at(&socket)?).await?;
        let container = start(&client).await?;
        let mut random = vec![0; SAID];
        for _ in 0..commands {
            getrandom::fill(&mut random)?;
            let said = base64::engine::general_purpose::STANDARD.encode(&random);
            let cmd = vec!["echo".to_owned(), said];
            let request = v1::ExecSyncRequest { container_id: container.clone(), cmd, timeout: 10 };
            let answer: v1::ExecSyncResponse = call(&client, "ExecSync", &request).await?;
            ensure!(answer.stdout.len() > SAID, "rejected: a command did not say what it was to say");
        }
        Ok(())
    })?;
    // An image, a sandbox, a container and its start.
    let recorded = lanes::stop_recorder(recorder, folder, commands + 4)?;
    ensure!(recorded.gaps == 0, "rejected: the tape has a gap");
    simulator.stop()?;
    println!(
        "recorded {} calls, {:.2} GiB on disk",
        recorded.calls,
        recorded.stored as f64 / f64::from(1 << 30)
    );
    Ok(lanes::tape(folder))
}

/// Starts a container that waits; gives its id.
async fn start(client: &Client) -> Result<String> {
    let image = v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() };
    let pull = v1::PullImageRequest { image: Some(image.clone()), ..Default::default() };
    call::<v1::PullImageResponse>(client, "PullImage", &pull).await?;
    let metadata = v1::PodSandboxMetadata {
        name: "long".to_owned(),
        uid: "7f4e2c1a-9b1d-4a55-8f60-2b1a0c9d8e7f".to_owned(),
        namespace: "team-one".to_owned(),
        attempt: 0,
    };
    let pod = v1::PodSandboxConfig { metadata: Some(metadata), ..Default::default() };
    let run = v1::RunPodSandboxRequest { config: Some(pod.clone()), ..Default::default() };
    let sandbox: v1::RunPodSandboxResponse = call(client, "RunPodSandbox", &run).await?;
    let create = v1::CreateContainerRequest {
        pod_sandbox_id: sandbox.pod_sandbox_id,
        config: Some(v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: "waits".to_owned(), attempt: 0 }),
            image: Some(image),
            command: vec!["sleep".to_owned(), "infinity".to_owned()],
            ..Default::default()
        }),
        sandbox_config: Some(pod),
    };
    let made: v1::CreateContainerResponse = call(client, "CreateContainer", &create).await?;
    let start = v1::StartContainerRequest { container_id: made.container_id.clone() };
    call::<v1::StartContainerResponse>(client, "StartContainer", &start).await?;
    Ok(made.container_id)
}

async fn call<M: Message + Default>(client: &Client, rpc: &str, request: &impl Message) -> Result<M> {
    let method = methods().by_name(Generation::V1, rpc).with_context(|| format!("{rpc} is no RPC"))?;
    let reply = client.unary(&method.path, request.encode_to_vec().into(), None).await?;
    Ok(M::decode(reply.message)?)
}
