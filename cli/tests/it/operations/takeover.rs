//! `critape record --take-over` and `--give-back`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use insta::assert_snapshot;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::{Process, until};

use super::service::with_passed;

const TAKE_OVER: &str = "record node.tape -r unix://DIR/r.sock --take-over";
const GIVE_BACK: &str = "record --give-back -r unix://DIR/r.sock";

fn inode(folder: &Folder, name: &str) -> u64 {
    fs::metadata(folder.path(name)).unwrap().ino()
}

/// The names in a folder, without those that are no sockets' business.
fn sockets(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path("")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.contains("sock"));
    names.sort();
    names
}

fn calls(folder: &Folder, tape: &str) -> Value {
    folder.json(&format!("tape info {tape} -o json"))["calls"].clone()
}

/// A runtime that goes away in order removes what is at its path, whoever's it is; Go's listeners do.
fn goes_away(folder: &Folder, runtime: Process) {
    runtime.killed();
    let _ = fs::remove_file(folder.path("r.sock"));
}

#[test]
fn clients_go_on_with_the_path_they_know() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let original = inode(&folder, "r.sock");
    let before = Kubelet::connect(&folder.path("r.sock"));
    before.version();
    let recorder = folder.listening(TAKE_OVER);
    assert_snapshot!(folder.redacted(&recorder.until_stderr("listening")), @r"
    took over unix://DIR/r.sock: the runtime is at unix://DIR/r.sock.critape-runtime until the end; connections that are open stay direct until their clients connect again
    listening on unix://DIR/r.sock
    ");
    assert_ne!(inode(&folder, "r.sock"), original);
    // Direct, as it was.
    before.version();
    let during = Kubelet::connect(&folder.path("r.sock"));
    during.version();
    during.version();
    recorder.interrupted().done();
    assert_eq!(inode(&folder, "r.sock"), original);
    assert_eq!(sockets(&folder), ["r.sock"]);
    Kubelet::connect(&folder.path("r.sock")).version();
    before.version();
    assert_eq!(calls(&folder, "node.tape"), 2);
}

#[test]
fn after_a_kill_the_path_is_given_back() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let original = inode(&folder, "r.sock");
    let recorder = folder.listening(TAKE_OVER);
    Kubelet::connect(&folder.path("r.sock")).version();
    let refused = folder.run(GIVE_BACK);
    assert_eq!(refused.code, Some(3));
    let said = format!(
        "error: DIR/r.sock is taken over by a recorder that runs (process {}): stop that one first\n",
        recorder.id()
    );
    assert_eq!(folder.redacted(&refused.stderr), said);
    recorder.killed();
    for said in ["unix://DIR/r.sock is the runtime's again\n", "unix://DIR/r.sock was not taken over\n"] {
        let given = folder.run(GIVE_BACK);
        assert_eq!((given.code, folder.redacted(&given.stderr).as_str()), (Some(0), said));
        assert_eq!(inode(&folder, "r.sock"), original);
        assert_eq!(sockets(&folder), ["r.sock"]);
    }
    Kubelet::connect(&folder.path("r.sock")).version();
}

#[test]
fn after_a_kill_the_next_recorder_goes_on() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let original = inode(&folder, "r.sock");
    for round in 1..=3 {
        let recorder = folder.listening(TAKE_OVER);
        Kubelet::connect(&folder.path("r.sock")).version();
        assert_eq!(inode(&folder, "r.sock.critape-runtime"), original);
        // What was committed is what it was killed with.
        until("the call is on the tape", || {
            folder.copy("node.tape", "copy.tape");
            let info = folder.run("tape info copy.tape -o json");
            let info: Value = serde_json::from_str(&info.stdout).ok()?;
            (info["calls"] == round).then_some(())
        });
        recorder.killed();
    }
    folder.listening(TAKE_OVER).interrupted().done();
    assert_eq!(inode(&folder, "r.sock"), original);
    assert_eq!(sockets(&folder), ["r.sock"]);
}

#[test]
fn a_runtime_that_makes_its_socket_anew_is_taken_over_again() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    let recorder = folder.listening(&format!("{TAKE_OVER} -v"));
    Kubelet::connect(&folder.path("r.sock")).version();
    goes_away(&folder, simulator);
    recorder.until_stderr("the runtime's socket is gone");
    assert!(!folder.path("r.sock").exists(), "a path without a runtime is as it is without a recorder");
    let simulator = folder.simulator("r.sock", "");
    recorder.until_stderr("taken over again");
    Kubelet::connect(&folder.path("r.sock")).version();
    assert_eq!(inode(&folder, "r.sock"), inode(&folder, "r.sock.critape"));
    // A runtime that crashes leaves what is there, and its next start removes that.
    simulator.killed();
    let runtime = folder.path("r.sock.critape-runtime");
    until("nobody answers", || UnixStream::connect(&runtime).err());
    let _simulator = folder.simulator("again.sock", "");
    fs::rename(folder.path("again.sock"), folder.path("r.sock")).unwrap();
    let original = until("the new one is taken over", || {
        let ours = inode(&folder, "r.sock.critape");
        let path = fs::metadata(folder.path("r.sock")).ok()?.ino();
        UnixStream::connect(&runtime).ok()?;
        (path == ours).then(|| inode(&folder, "r.sock.critape-runtime"))
    });
    Kubelet::connect(&folder.path("r.sock")).version();
    recorder.interrupted().done();
    assert_eq!(inode(&folder, "r.sock"), original);
    assert_eq!(sockets(&folder), ["r.sock"]);
    assert_eq!(calls(&folder, "node.tape"), 3);
}

/// As the units have it: the service manager's socket stands at the runtime's path, and clients wait there for the next recorder.
#[test]
fn a_passed_socket_is_put_at_the_path_and_taken_away() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let original = inode(&folder, "r.sock");
    let passed = UnixListener::bind(folder.path("passed")).unwrap();
    let line = "record node.tape -r unix://DIR/r.sock --take-over";
    let recorder = with_passed(&folder, passed.try_clone().unwrap(), line);
    recorder.until_stderr("listening on ");
    assert_eq!(inode(&folder, "r.sock"), inode(&folder, "passed"));
    Kubelet::connect(&folder.path("r.sock")).version();
    Kubelet::connect(&folder.path("passed")).version();
    recorder.killed();
    let waiting = folder.path("r.sock");
    let client = thread::spawn(move || Kubelet::connect(&waiting).version());
    let recorder = with_passed(&folder, passed.try_clone().unwrap(), line);
    client.join().unwrap();
    recorder.killed();
    // The socket answers, as the service manager still listens; it is the recorder's all the same.
    folder.run(GIVE_BACK).done();
    assert_eq!(inode(&folder, "r.sock"), original);
    assert_eq!(sockets(&folder), ["r.sock"]);
    let recorder = with_passed(&folder, passed, line);
    recorder.until_stderr("listening on ");
    recorder.interrupted().done();
    assert_eq!(inode(&folder, "r.sock"), original);
    assert!(folder.path("passed").exists());
}

/// As at a node's boot.
#[test]
fn a_recorder_that_was_first_takes_over_when_the_runtime_comes() {
    let folder = Folder::new();
    let recorder = folder.listening(TAKE_OVER);
    let said = folder.redacted(&recorder.stderr());
    let warned = "warning: no runtime at unix://DIR/r.sock yet; it is taken over when there is one\n";
    assert!(said.starts_with(warned), "{said}");
    let _simulator = folder.simulator("r.sock", "");
    until("the runtime is taken over", || {
        let ours = inode(&folder, "r.sock.critape");
        (inode(&folder, "r.sock") == ours).then_some(())
    });
    Kubelet::connect(&folder.path("r.sock")).version();
    recorder.interrupted().done();
    assert_eq!(calls(&folder, "node.tape"), 1);
    Kubelet::connect(&folder.path("r.sock")).version();
}

#[test]
fn without_a_runtime_nothing_is_left() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    let recorder = folder.listening(TAKE_OVER);
    simulator.killed();
    recorder.interrupted().done();
    assert_eq!(sockets(&folder), [""; 0]);
    // Nobody at all.
    folder.listening(TAKE_OVER).interrupted().done();
    assert_eq!(sockets(&folder), [""; 0]);
}

#[test]
fn what_can_not_be_done_safely_is_refused() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    assert_snapshot!(folder.refused(&format!("{TAKE_OVER} --listen unix://DIR/l.sock")), @r"
    error: the argument '--take-over' cannot be used with '--listen <ENDPOINT>'
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    // A runtime is where the recorder would put the runtime's.
    let other = UnixListener::bind(folder.path("r.sock.critape-runtime")).unwrap();
    assert_snapshot!(folder.refused(TAKE_OVER), @"error: DIR/r.sock and DIR/r.sock.critape-runtime both answer, and which is the runtime's can't be told: remove the one that is not");
    drop(other);
    fs::remove_file(folder.path("r.sock.critape-runtime")).unwrap();
    // One recorder is enough.
    let recorder = folder.listening(TAKE_OVER);
    let second = folder.run("record other.tape -r unix://DIR/r.sock --take-over");
    assert_eq!(second.code, Some(3));
    assert!(second.stderr.contains("is taken over by a recorder that runs"), "{}", second.stderr);
    recorder.interrupted().done();
    // A tape that can't be had leaves the path as it was.
    let original = inode(&folder, "r.sock");
    folder.write("file", "text");
    assert!(folder.refused("record file -r unix://DIR/r.sock --take-over").starts_with("error: "));
    assert_eq!(inode(&folder, "r.sock"), original);
    simulator.interrupted().done();
    folder.write("r.sock", "text");
    assert_snapshot!(folder.refused("record new.tape -r unix://DIR/r.sock --take-over"), @"error: DIR/r.sock exists and is not a socket: it can't be taken over");
    assert_snapshot!(folder.refused("record new.tape -r unix://DIR/no/r.sock --take-over"), @"error: looking for DIR/no/r.sock: No such file or directory (os error 2)");
}

#[test]
fn the_name_that_kubelet_looks_at_is_kept_or_warned_about() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("run/crio")).unwrap();
    let suffix = |runtime: &str, more: &str| {
        let recorder =
            folder.listening(&format!("record node.tape -r unix://DIR/{runtime} --passive {more}"));
        let stderr = recorder.interrupted().stderr;
        folder
            .redacted(&stderr)
            .lines()
            .filter(|line| line.contains("cAdvisor"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let crio = "run/crio/crio.sock";
    let warned = suffix(crio, "--listen unix://DIR/l.sock");
    assert_eq!(
        warned,
        [
            "warning: kubelet takes statistics from cAdvisor only where its endpoint ends with run/crio/crio.sock, so it makes other calls on unix://DIR/l.sock: listen on a path that ends so, as /run/critape/run/crio/crio.sock, or use --take-over"
        ]
    );
    assert_eq!(suffix("r.sock", &format!("--listen unix://DIR/{crio}")).len(), 1);
    assert_eq!(suffix("r.sock", "--listen unix://DIR/l.sock"), [""; 0]);
    assert_eq!(suffix(crio, "--take-over"), [""; 0]);
}
