//! A store that fails under the writer, and what is left of a tape.

use std::fs;
use std::process::Command;

use critape_calls::GapReason;

use super::load::{BODY, Noise, call, gaps, until_committed, verified, whole_calls};
use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::{Process, until};

/// Lets files of a process grow only so far.
fn limit_files(process: &Process, bytes: &str) {
    let pid = process.id().to_string();
    let limit = format!("--fsize={bytes}:");
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
    assert!(status.success(), "prlimit {limit} of a process of ours");
}

/// Every write fails, as on a file system that was made read-only; later they don't.
#[test]
fn writes_that_fail_cost_a_gap_and_recording_goes_on() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "-v");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(20);
    call(&kubelet, "first", &mut noise, BODY);
    until_committed(&folder, "node.tape", "first");
    limit_files(&recorder, "1000");
    until("the store fails", || {
        call(&kubelet, "lost", &mut noise, BODY);
        recorder.stderr().contains("recording pauses").then_some(())
    });
    for _ in 0..50 {
        call(&kubelet, "lost", &mut noise, BODY);
    }
    limit_files(&recorder, "unlimited");
    until("it goes on", || {
        call(&kubelet, "waiting", &mut noise, BODY);
        recorder.stderr().contains("recording goes on").then_some(())
    });
    call(&kubelet, "after", &mut noise, BODY);
    let ended = recorder.interrupted();
    assert_eq!(ended.stderr.matches("recording pauses").count(), 1, "{}", ended.stderr);
    ended.done();

    verified(&folder, "node.tape");
    let gaps = gaps(&folder, "node.tape", GapReason::Store);
    assert!(gaps.len() == 1 && gaps[0].0 >= 50 && gaps[0].1 >= 50 * BODY as u64, "{gaps:?}");
    let calls = whole_calls(&folder.path("node.tape"));
    assert_eq!(calls["first"].connection, calls["after"].connection);
}

/// It is ended while nothing can be written: at once, and it says that the tape lacks its end.
#[test]
fn a_store_that_fails_to_the_end_does_not_hold_it_up() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(21);
    call(&kubelet, "first", &mut noise, BODY);
    until_committed(&folder, "node.tape", "first");
    limit_files(&recorder, "0");
    call(&kubelet, "lost", &mut noise, BODY);
    let ended = recorder.interrupted();
    assert!(ended.stderr.contains("calls at the end are not on the tape"), "{}", ended.stderr);
    ended.with_code(3);
    assert_eq!(verified(&folder, "node.tape")["clean"], false);
    assert!(whole_calls(&folder.path("node.tape")).contains_key("first"));
}

/// The recorder was killed, and then its disk lost what it had promised.
#[test]
fn a_killed_tape_that_was_cut_off_is_damaged() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(22);
    for number in 0..50 {
        call(&kubelet, &format!("call-{number}"), &mut noise, BODY);
    }
    until_committed(&folder, "node.tape", "call-49");
    recorder.killed();
    assert_eq!(verified(&folder, "node.tape")["unclean"], serde_json::json!([1]));
    folder.copy("node.tape", "cut.tape");
    let store = folder.path("cut.tape/segments/00000001/db");
    let used = fs::read(&store).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64;
    fs::File::options().write(true).open(&store).unwrap().set_len(used / 2).unwrap();
    let found = folder.run("tape verify cut.tape -o json").with_code(1);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["whole"], &found["damage"][0]["segment"]), (&false.into(), &1.into()));
}
