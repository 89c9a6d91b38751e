//! A runtime that goes away and comes back.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;

use cri::v1;
use critape_calls::Ending;
use critape_tape::Tape;

use super::load::{Noise, call, verified, whole_calls};
use super::task::open_files;
use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::{PATIENCE, until};

#[test]
fn a_runtime_killed_amid_calls_is_missed_as_if_nobody_stood_between() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    kubelet.pull();
    let pod = kubelet.run_pod("web");
    let id = kubelet.run_container(&pod, "web", "server", "sleep 600");
    let files = open_files(&recorder);
    // Calls that are under way when it goes.
    let slow = v1::ExecSyncRequest {
        container_id: id,
        cmd: ["sh", "-c", "sleep 600"].map(str::to_owned).to_vec(),
        timeout: 0,
    };
    let execs: Vec<_> = (0..8)
        .map(|_| {
            let (socket, slow) = (folder.path("l.sock"), slow.clone());
            thread::spawn(move || Kubelet::connect(&socket).call("ExecSync", &slow).unwrap_err())
        })
        .collect();
    until("the calls are under way", || {
        folder.copy("node.tape", "copy.tape");
        let tape = Tape::open(&folder.path("copy.tape")).ok()?;
        let calls = tape.calls().filter_map(Result::ok);
        (calls.filter(|call| call.path.ends_with("/ExecSync")).count() == 8).then_some(())
    });
    simulator.killed();
    for exec in execs {
        exec.join().unwrap();
    }
    for _ in 0..10 {
        let mut client = UnixStream::connect(folder.path("l.sock")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0)), "a new connection is closed at once");
    }
    let _simulator = folder.simulator("r.sock", "");
    call(&Kubelet::connect(&folder.path("l.sock")), "back", &mut Noise::new(10), 1000);
    until("the files of dead connections are closed", || (open_files(&recorder) <= files).then_some(()));
    let ended = recorder.interrupted();
    assert_eq!(ended.stderr.matches("the runtime is not there").count(), 1, "{}", ended.stderr);
    ended.done();
    assert_eq!(verified(&folder, "node.tape")["clean"], true);
    assert!(whole_calls(&folder.path("node.tape")).contains_key("back"));
    let tape = Tape::open(&folder.path("node.tape")).unwrap();
    let execs = tape.calls().map(Result::unwrap).filter(|call| call.path.ends_with("/ExecSync"));
    assert!(execs.into_iter().all(|call| call.outcome.ending == Ending::Truncated), "an end was invented");
}
