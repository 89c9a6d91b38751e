//! Very many connections, as crictl makes them: one for each call.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cri::Endpoint;
use cri::client::Client;
use prost::Message;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::load::{Noise, call, request, verified, whole_calls};
use super::task::{open_files, ticks};
use crate::folder::Folder;
use crate::kubelet::{Kubelet, path};
use crate::process::{PATIENCE, until};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn body(name: &str) -> Bytes {
    request(name, &mut Noise::new(11), 100).encode_to_vec().into()
}

/// Connects, asks once, and hangs up; so many, so many at once.
fn ask_once_each(socket: &Path, count: usize, at_once: usize) {
    let endpoint = Endpoint::at(socket).unwrap();
    let gate = Arc::new(Semaphore::new(at_once));
    runtime().block_on(async {
        let mut asked = JoinSet::new();
        for number in 0..count {
            let (endpoint, gate) = (endpoint.clone(), gate.clone());
            asked.spawn(async move {
                let _turn = gate.acquire_owned().await.unwrap();
                let client = Client::connect(&endpoint).await.unwrap();
                client.unary(&path("Version"), body(&format!("one-{number}")), Some(PATIENCE)).await.unwrap();
            });
        }
        while let Some(asked) = asked.join_next().await {
            asked.unwrap();
        }
    });
}

#[test]
fn thousands_of_connections_are_recorded_and_leave_nothing_behind() {
    const COUNT: usize = 2000;
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    // Fewer files than it comes to: it asks for as many as it may have.
    let line = "record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock --passive";
    let recorder = folder.listening_by("prlimit", &["--nofile=256:4096"], line);
    ask_once_each(&folder.path("l.sock"), 1, 1);
    let files = until("the first connection is closed", || Some(open_files(&recorder)).filter(|it| *it < 40));
    ask_once_each(&folder.path("l.sock"), COUNT, 300);
    until("all connections are closed", || (open_files(&recorder) <= files).then_some(()));
    recorder.interrupted().done();
    assert_eq!(verified(&folder, "node.tape")["clean"], true);
    let calls = whole_calls(&folder.path("node.tape"));
    assert!((0..COUNT).all(|number| calls.contains_key(&format!("one-{number}"))));
    assert_eq!(folder.json("tape info node.tape -o json")["connections"], COUNT + 1);
}

/// Each connection takes two files. Where there are no more, clients wait their turn, as at a runtime whose files have run out.
#[test]
fn clients_wait_where_no_more_files_may_be_opened() {
    const COUNT: usize = 200;
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let line = "record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock --passive";
    let recorder = folder.listening_by("prlimit", &["--nofile=128:128"], line);
    let socket = folder.path("l.sock");
    // These say nothing, and take all the files that there are.
    let idle: Vec<_> = (0..80).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    recorder.until_stderr("raise the limit of open files");
    let (before, since) = (ticks(&recorder), Instant::now());
    let late = std::thread::spawn({
        let socket = socket.clone();
        move || ask_once_each(&socket, COUNT, 40)
    });
    // For as long as this takes, it can only wait.
    until("a while has passed", || (since.elapsed() > Duration::from_millis(500)).then_some(()));
    let busy = Duration::from_millis(10 * (ticks(&recorder) - before));
    assert!(busy < since.elapsed() / 2, "it was busy for {busy:?} of {:?}", since.elapsed());
    assert!(!late.is_finished());
    drop(idle);
    late.join().unwrap();
    call(&Kubelet::connect(&socket), "after", &mut Noise::new(12), 1000);
    let ended = recorder.interrupted();
    assert_eq!(ended.stderr.matches("raise the limit").count(), 1, "{}", ended.stderr);
    ended.done();
    assert_eq!(verified(&folder, "node.tape")["clean"], true);
    let calls = whole_calls(&folder.path("node.tape"));
    assert!((0..COUNT).all(|number| calls.contains_key(&format!("one-{number}"))));
    assert!(calls.contains_key("after"));
}
