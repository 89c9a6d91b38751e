//! A disk that is full, or is filled by others.

use critape_calls::GapReason;

use super::load::{BODY, Noise, call, gaps, until_committed, verified, whole_calls};
use super::room::Disk;
use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::Process;

const PAUSES: &str = "recording pauses";
const GOES_ON: &str = "recording goes on";

/// A recorder onto the small disk that says when it goes on.
fn recorder(folder: &Folder) -> Process {
    folder.recorder("disk/node.tape", "r.sock", "l.sock", "-v")
}

/// Calls until the recorder says this.
fn call_until(
    recorder: &Process,
    text: &str,
    kubelet: &Kubelet,
    name: &str,
    noise: &mut Noise,
    length: usize,
) {
    for number in 0.. {
        if recorder.stderr().contains(text) {
            return;
        }
        assert!(number < 20_000, "no {text:?} on stderr: {}", recorder.stderr());
        call(kubelet, &format!("{name}-{number}"), noise, length);
    }
}

#[test]
fn a_full_disk_costs_a_gap_and_recording_goes_on_with_room() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, 16) else { return };
    disk.leave(9);
    let _simulator = folder.simulator("r.sock", "");
    let recorder = recorder(&folder);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(1);
    call(&kubelet, "first", &mut noise, BODY);
    call_until(&recorder, PAUSES, &kubelet, "filling", &mut noise, BODY);
    for _ in 0..50 {
        call(&kubelet, "lost", &mut noise, BODY);
    }
    disk.free();
    // Small ones, which don't fill it again.
    call_until(&recorder, GOES_ON, &kubelet, "waiting", &mut noise, 100);
    call(&kubelet, "after", &mut noise, BODY);
    let ended = recorder.interrupted();
    assert_eq!(ended.stderr.matches(PAUSES).count(), 1, "{}", ended.stderr);
    ended.done();

    assert_eq!(verified(&folder, "disk/node.tape")["clean"], true);
    let gaps = gaps(&folder, "disk/node.tape", GapReason::DiskFull);
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].0 >= 50 && gaps[0].1 >= 50 * BODY as u64, "{gaps:?}");
    let calls = whole_calls(&disk.path().join("node.tape"));
    assert!(calls.contains_key("first") && calls.contains_key("after") && !calls.contains_key("lost"));
    assert_eq!(calls["first"].connection, calls["after"].connection);
}

/// What is missing at the end is written down too: there is a reserve for it.
#[test]
fn a_tape_whose_disk_stays_full_says_what_it_lacks() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, 8) else { return };
    let _simulator = folder.simulator("r.sock", "");
    let recorder = recorder(&folder);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(13);
    call_until(&recorder, PAUSES, &kubelet, "filling", &mut noise, BODY);
    for _ in 0..50 {
        call(&kubelet, "lost", &mut noise, BODY);
    }
    recorder.interrupted().done();
    assert_eq!(verified(&folder, "disk/node.tape")["clean"], true);
    let gaps = gaps(&folder, "disk/node.tape", GapReason::DiskFull);
    assert!(gaps.len() == 1 && gaps[0].0 >= 50 && gaps[0].1 >= 50 * BODY as u64, "{gaps:?}");
    assert!(whole_calls(&disk.path().join("node.tape")).contains_key("filling-0"));
}

#[test]
fn a_disk_that_is_full_at_the_start_is_recorded_onto_later() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, 16) else { return };
    let _simulator = folder.simulator("r.sock", "");
    let mut noise = Noise::new(2);
    let first = recorder(&folder);
    call(&Kubelet::connect(&folder.path("l.sock")), "first", &mut noise, 1);
    first.interrupted().done();

    disk.leave(1);
    let second = recorder(&folder);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    for _ in 0..20 {
        call(&kubelet, "lost", &mut noise, BODY);
    }
    disk.free();
    call_until(&second, GOES_ON, &kubelet, "waiting", &mut noise, 100);
    call(&kubelet, "after", &mut noise, BODY);
    second.interrupted().done();

    assert_eq!(verified(&folder, "disk/node.tape")["clean"], true);
    let gaps = gaps(&folder, "disk/node.tape", GapReason::DiskFull);
    assert!(gaps.len() == 1 && gaps[0].0 >= 20 && gaps[0].1 >= 20 * BODY as u64, "{gaps:?}");
    let calls = whole_calls(&disk.path().join("node.tape"));
    let (first, after) = (&calls["first"], &calls["after"]);
    assert!(after.id.0 > first.id.0 + 20, "numbers are given to calls that were lost: {:?}", after.id);
    assert!(after.connection > first.connection);
}

/// Not a byte is left, and there is no tape yet.
#[test]
fn a_tape_is_made_when_there_is_room_for_one() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, 16) else { return };
    disk.fill();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = recorder(&folder);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(3);
    call(&kubelet, "lost", &mut noise, BODY);
    disk.free();
    call_until(&recorder, GOES_ON, &kubelet, "waiting", &mut noise, 100);
    call(&kubelet, "after", &mut noise, 1);
    recorder.interrupted().done();
    assert_eq!(verified(&folder, "disk/node.tape")["clean"], true);
    assert!(whole_calls(&disk.path().join("node.tape")).contains_key("after"));
}

/// Somebody else takes the last byte while the recorder writes, so that the store itself fails.
#[test]
fn a_disk_filled_by_others_neither_stops_calls_nor_the_end() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, 16) else { return };
    let _simulator = folder.simulator("r.sock", "");
    let recorder = recorder(&folder);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(4);
    call(&kubelet, "first", &mut noise, BODY);
    until_committed(&folder, "disk/node.tape", "first");
    disk.fill();
    call_until(&recorder, PAUSES, &kubelet, "lost", &mut noise, BODY);
    for _ in 0..50 {
        call(&kubelet, "lost", &mut noise, BODY);
    }
    // It ends at once, and says that the tape lacks its end.
    let ended = recorder.interrupted();
    assert!(ended.stderr.contains("calls at the end are not on the tape"), "{}", ended.stderr);
    ended.with_code(3);
    disk.free();
    verified(&folder, "disk/node.tape");
    assert!(whole_calls(&disk.path().join("node.tape")).contains_key("first"));
}
