//! A session of calls that everyday clients seldom make: every RPC, and whatever a runtime has to refuse.
//!
//! It leaves the runtime as it found it, so that a second run meets what the first one met.

mod containers;
mod images;
mod pods;
mod refused;
mod runtime;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cri::{Generation, v1};
use tonic::Status;

use crate::driver::{Driver, Line, open_stream};

/// The image with a shell.
pub const BUSYBOX: &str = "localhost:5000/busybox:1.0";
/// The image that runs as user 1000.
pub const USER: &str = "localhost:5000/user:1.0";
/// The image of sandboxes.
pub const PAUSE: &str = "localhost:5000/pause:3.9";

/// Where a session works.
#[derive(Clone, Debug)]
pub struct Place {
    /// The socket it talks to.
    pub socket: PathBuf,
    /// A folder for logs and files to mount.
    pub folder: PathBuf,
    /// What it speaks; its messages have to be those of v1.
    pub generation: Generation,
}

/// The whole session, one call after the other; tells how each ended.
pub async fn run(place: &Place) -> Vec<Line> {
    let mut driver = Driver::connect(&place.socket, place.generation).await;
    // Open all the while, as kubelet's. A runtime that has no events ends it at once.
    let events = tokio::spawn(listen(place.socket.clone()));
    runtime::run(&mut driver).await;
    images::run(&mut driver).await;
    pods::run(&mut driver, place).await;
    containers::run(&mut driver, place).await;
    refused::run(&mut driver).await;
    images::remove(&mut driver).await;
    // Ends the call as a kubelet that goes away does.
    events.abort();
    let _ = events.await;
    driver.into_lines()
}

/// Reads events until told to stop. The answer begins with the first event, in some runtimes.
async fn listen(socket: PathBuf) {
    let Ok(mut events) = open_stream(&socket, "GetContainerEvents", &v1::GetEventsRequest {}).await else {
        return;
    };
    while let Ok(Some(_)) = events.message().await {}
}

/// A pod of the session.
fn pod(place: &Place, name: &str, attempt: u32) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("{name}-uid"),
            namespace: "e2e".to_owned(),
            attempt,
        }),
        hostname: name.to_owned(),
        log_directory: logs(&place.folder, name).display().to_string(),
        labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        annotations: BTreeMap::from([("example.com/note".to_owned(), "ünïcode\n".to_owned())]),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: "/critape-e2e".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A container of the session that runs `script`.
fn container(name: &str, script: &str) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(image(BUSYBOX)),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: format!("{name}.log"),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(v1::LinuxContainerResources {
                memory_limit_in_bytes: 64 << 20,
                cpu_shares: 256,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn image(name: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: name.to_owned(), ..Default::default() }
}

fn logs(folder: &Path, pod: &str) -> PathBuf {
    folder.join("logs").join(pod)
}

/// Goes on with the value; a session whose foundations fail has nothing to show.
fn need<T>(what: &str, result: Result<T, Status>) -> T {
    match result {
        Ok(value) => value,
        Err(status) => panic!("{what}: {:?}: {}", status.code(), status.message()),
    }
}
