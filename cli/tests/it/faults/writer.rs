//! A writer that stands still.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use critape_calls::GapReason;

use super::load::{BODY, Noise, call, gaps, until_committed, verified, whole_calls};
use super::task::{Stopped, memory};
use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::until;

const MEMORY: u64 = 4 << 20;
/// What may come beside the budget for bodies: events without them, and what the allocator keeps.
const MORE_MEMORY: u64 = 20 << 20;
const WRITER: &str = "tape-writer";

#[test]
fn a_writer_that_stands_still_costs_a_gap_and_no_call_waits() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--memory 4MiB");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(5);
    call(&kubelet, "first", &mut noise, BODY);
    until_committed(&folder, "node.tape", "first");
    let before = memory(&recorder);
    let stopped = Stopped::stop(&recorder, WRITER);
    // Each waits for the one before, and all would wait for the writer if one did.
    for number in 0..1500 {
        call(&kubelet, &format!("shed-{number}"), &mut noise, BODY);
    }
    let taken = memory(&recorder).saturating_sub(before);
    assert!(taken < MEMORY + MORE_MEMORY, "{} KiB for a budget of {}", taken >> 10, MEMORY >> 10);
    drop(stopped);
    until("there is room again", || {
        call(&kubelet, "after", &mut noise, 1);
        folder.copy("node.tape", "copy.tape");
        (!gaps(&folder, "copy.tape", GapReason::Overload).is_empty()).then_some(())
    });
    call(&kubelet, "whole", &mut noise, BODY);
    let ended = recorder.interrupted();
    assert_eq!(ended.stderr.matches("overload").count(), 1, "{}", ended.stderr);
    ended.done();

    assert_eq!(verified(&folder, "node.tape")["clean"], true);
    let gaps = gaps(&folder, "node.tape", GapReason::Overload);
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].0 > 1000 && gaps[0].1 > 1000 * BODY as u64, "{gaps:?}");
    let calls = whole_calls(&folder.path("node.tape"));
    assert_eq!(calls["first"].connection, calls["whole"].connection);
    // Headers went on being decoded: the calls are known whose bodies are not.
    let info = folder.json("tape info node.tape -o json");
    assert!(info["calls"].as_u64().unwrap() > 1500, "{info}");
}

/// With a budget that is too small even for events, whole calls are left out, and counted.
#[test]
fn more_calls_than_there_is_memory_for_are_counted() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--memory 1MiB");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(6);
    call(&kubelet, "first", &mut noise, 1);
    let stopped = Stopped::stop(&recorder, WRITER);
    for number in 0..6000 {
        call(&kubelet, &format!("flood-{number}"), &mut noise, 200);
    }
    drop(stopped);
    until("there is room again", || {
        call(&kubelet, "after", &mut noise, 1);
        folder.copy("node.tape", "copy.tape");
        (!gaps(&folder, "copy.tape", GapReason::Overload).is_empty()).then_some(())
    });
    call(&kubelet, "whole", &mut noise, BODY);
    recorder.interrupted().done();

    assert_eq!(verified(&folder, "node.tape")["clean"], true);
    let calls = whole_calls(&folder.path("node.tape"));
    assert!(calls.contains_key("first") && calls.contains_key("whole"));
    let floods = calls.keys().filter(|name| name.starts_with("flood-")).count() as u64;
    let gaps = gaps(&folder, "node.tape", GapReason::Overload);
    assert!(gaps.len() == 1 && floods < 6000, "{floods} of 6000, {gaps:?}");
    assert!(gaps[0].0 + floods >= 6000, "each call is there or counted: {floods} are there, {gaps:?}");
}

#[test]
fn where_calls_are_to_wait_they_wait_and_nothing_is_lost() {
    const CALLS: usize = 300;
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--memory 4MiB --on-overload block");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let done = AtomicUsize::new(0);
    let stopped = Stopped::stop(&recorder, WRITER);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut noise = Noise::new(7);
            for number in 0..CALLS {
                call(&kubelet, &format!("waits-{number}"), &mut noise, BODY);
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        // All of them together are beyond the budget, so that they must come to a stop.
        let mut seen = (usize::MAX, Instant::now());
        until("the calls wait", || {
            let now = done.load(Ordering::Relaxed);
            if now != seen.0 {
                seen = (now, Instant::now());
            }
            (now > 0 && seen.1.elapsed() > Duration::from_millis(500)).then_some(())
        });
        assert!((1..CALLS / 2).contains(&done.load(Ordering::Relaxed)), "{done:?} of {CALLS} were made");
        drop(stopped);
    });
    recorder.interrupted().done();
    assert_eq!(gaps(&folder, "node.tape", GapReason::Overload), []);
    let calls = whole_calls(&folder.path("node.tape"));
    assert!((0..CALLS).all(|number| calls.contains_key(&format!("waits-{number}"))));
}
