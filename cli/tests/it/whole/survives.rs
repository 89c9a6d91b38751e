//! Recordings that do not go as planned.

use std::fs;
use std::os::unix::net::UnixStream;

use cri::v1;
use rustix::process::Signal;
use serde_json::Value;
use tonic::Code;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::{Process, until};
use crate::workload;

/// The events that a tape has of its one stream; nothing where it can't be read.
fn events(folder: &Folder, tape: &str) -> Option<usize> {
    let shown = folder.run(&format!("tape show {tape} -o json --method GetContainerEvents"));
    let call: Value = serde_json::from_str(shown.stdout.lines().next()?).ok()?;
    Some(call["responses"].as_array()?.len())
}

/// A stream lives for days: what came of it is on the tape before it ends.
#[test]
fn events_of_an_open_stream_survive_a_kill() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let subscriber = Kubelet::connect(&folder.path("l.sock"));
    let mut stream = subscriber.events();
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    kubelet.pull();
    let pod = kubelet.run_pod("web");
    kubelet.run_container(&pod, "web", "server", "sleep 600");
    let received: Vec<_> = (0..4).map(|_| stream.next().unwrap().unwrap()).collect();
    assert_eq!(received[0].container_id, pod);
    // As written so far: a copy of the tape is held by nobody.
    until("the events are on the tape", || {
        folder.copy("node.tape", "copy.tape");
        events(&folder, "copy.tape").filter(|count| *count >= received.len())
    });
    recorder.killed();
    stream.until_cut_off();

    let info = folder.json("tape info node.tape -o json");
    assert_eq!((&info["clean"], &info["open"]), (&false.into(), &false.into()));
    let verified = folder.json("tape verify node.tape -o json");
    assert_eq!((&verified["whole"], &verified["unclean"]), (&true.into(), &serde_json::json!([1])));
    let call = &folder.json_lines("tape show node.tape -o json --method GetContainerEvents")[0];
    let kinds: Vec<_> = call["responses"].as_array().unwrap().iter().map(|it| &it["containerId"]).collect();
    assert_eq!(kinds, received.iter().map(|event| &event.container_id).collect::<Vec<_>>());
    assert_eq!(call["outcome"]["kind"], "truncated");
    // Another recorder goes on with it, though the socket is still there.
    folder.recorder("node.tape", "r.sock", "l.sock", "").interrupted().done();
    let info = folder.json("tape info node.tape -o json");
    assert_eq!((&info["segments"], &info["clean"]), (&2.into(), &false.into()));
}

#[test]
fn a_stream_that_is_open_at_the_end_is_truncated_and_the_tape_clean() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let subscriber = Kubelet::connect(&folder.path("l.sock"));
    let mut stream = subscriber.events();
    let pod = Kubelet::connect(&folder.path("l.sock")).run_pod("web");
    assert_eq!(stream.next().unwrap().unwrap().container_id, pod);
    recorder.interrupted().done();
    stream.until_cut_off();
    let info = folder.json("tape info node.tape -o json");
    assert_eq!(info["clean"], true);
    let call = &folder.json_lines("tape show node.tape -o json --method GetContainerEvents")[0];
    assert_eq!(call["outcome"]["kind"], "truncated");
    assert_eq!(call["responses"][0]["containerId"], pod);
}

#[test]
fn the_runtime_restarts_and_the_recording_goes_on() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let subscriber = Kubelet::connect(&folder.path("l.sock"));
    let mut stream = subscriber.events();
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    kubelet.version();
    simulator.killed();
    stream.until_cut_off();
    let request = v1::VersionRequest::default();
    for _ in 0..3 {
        let code = kubelet.call("Version", &request).unwrap_err().code();
        // A socket that closes at once is as near as a recorder comes to one that is not there; tonic calls it unknown.
        assert!(matches!(code, Code::Unavailable | Code::Unknown), "{code:?}");
    }
    let simulator = folder.simulator("r.sock", "");
    until("the runtime answers again", || kubelet.call("Version", &request).ok());
    assert_eq!(kubelet.sandboxes(), []);
    assert!(Kubelet::connect(&folder.path("l.sock")).events().stays_open());
    simulator.interrupted().done();
    recorder.interrupted().done();
    let verified = folder.json("tape verify node.tape -o json");
    assert_eq!((&verified["whole"], &verified["clean"]), (&true.into(), &true.into()));
    assert_eq!(folder.json_lines("tape show node.tape -o json --method ListPodSandbox").len(), 1);
}

/// A runtime that starts after the recorder, as at a node's boot.
#[test]
fn a_recorder_that_was_first_records_once_there_is_a_runtime() {
    let folder = Folder::new();
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let _simulator = folder.simulator("r.sock", "");
    let socket = folder.path("l.sock");
    Kubelet::connect(&socket).version();
    recorder.interrupted().done();
    assert_eq!(folder.json("tape info node.tape -o json")["calls"], 1);
}

/// A recorder's log goes to a pipe whose reader may go away: kubelet must not notice.
#[test]
fn a_recorder_forwards_when_nobody_reads_its_stderr() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    let line = "record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock";
    let (reader, writer) = std::io::pipe().unwrap();
    let recorder = Process::start_with_stderr(&mut folder.command(line), writer);
    until("the recorder listens", || UnixStream::connect(folder.path("l.sock")).ok());
    drop(reader);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    kubelet.version();
    simulator.killed();
    // It warns of the runtime that is gone, to nobody.
    let request = v1::VersionRequest::default();
    until("the runtime is missed", || kubelet.call("Version", &request).err());
    let _simulator = folder.simulator("r.sock", "");
    until("the runtime answers again", || kubelet.call("Version", &request).ok());
    recorder.signal(Signal::INT);
    recorder.ended().done();
    assert_eq!(folder.json("tape info node.tape -o json")["clean"], true);
}

/// A byte of a tape that was closed in order is no longer what it was.
#[test]
fn damage_in_the_middle_is_found() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let calls = folder.json("tape info node.tape -o json")["calls"].clone();
    let store = folder.path("node.tape/segments/00000001/db");
    let mut bytes = fs::read(&store).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2..used / 2 + 8].fill(0xa5);
    fs::write(&store, bytes).unwrap();
    let before = folder.contents("node.tape");
    let verified = folder.run("tape verify node.tape -o json").with_code(1);
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["whole"], false, "of {calls} calls, {} are left", verified["calls"]);
    assert_eq!(verified["damage"][0]["segment"], 1);
    assert!(folder.contents("node.tape") == before, "verifying a tape changed it");
}
