//! `critape tape repair`.

use std::fs;

use insta::assert_snapshot;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::until;
use crate::workload;

/// A tape whose recorder was killed after these calls were on it.
fn killed(folder: &Folder) {
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    for _ in 0..3 {
        kubelet.version();
    }
    until("the calls are on the tape", || {
        folder.copy("node.tape", "copy.tape");
        let shown = folder.run("tape show copy.tape -o json");
        (shown.stdout.lines().filter(|call| call.contains("\"OK\"")).count() == 3).then_some(())
    });
    recorder.killed();
}

#[test]
fn a_tape_whose_recorder_was_killed_gets_its_end() {
    let folder = Folder::new();
    killed(&folder);
    let before = folder.json_lines("tape show node.tape -o json");
    assert_eq!(folder.json("tape info node.tape -o json")["clean"], false);
    assert_snapshot!(folder.run("tape repair node.tape").done(), @r"
    segment 1: its recorder was killed; it has an end now, and 3 calls
    node.tape is mended
    ");
    let info = folder.json("tape info node.tape -o json");
    assert_eq!((&info["clean"], &info["mended"]), (&true.into(), &serde_json::json!([1])));
    assert!(
        folder.run("tape info node.tape").done().contains("1, closed in order but for 1, mended by a repair")
    );
    assert_eq!(folder.json_lines("tape show node.tape -o json"), before);
    assert_eq!(folder.json("tape verify node.tape -o json")["unclean"], serde_json::json!([]));
    assert_snapshot!(folder.run("tape repair node.tape").done(), @"node.tape is whole: nothing was to be mended");
}

#[test]
fn a_damaged_tape_is_mended_and_kept_as_it_was() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    workload::record(&folder, "node.tape", "");
    let store = folder.path("node.tape/segments/00000001/db");
    let mut bytes = fs::read(&store).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[used * 2 / 3] ^= 0xff;
    fs::write(&store, &bytes).unwrap();
    folder.run("tape verify node.tape").with_code(1);
    let repaired = folder.json("tape repair node.tape -o json");
    assert_eq!((&repaired["tape"], &repaired["whole"]), (&"node.tape".into(), &true.into()));
    let repair = &repaired["repairs"][0];
    assert_eq!((&repair["segment"], &repair["mended"]), (&1.into(), &true.into()));
    assert_eq!(repair["kept"], "node.tape/damaged/00000001");
    assert!(fs::read(folder.path("node.tape/damaged/00000001/db")).unwrap() == bytes);
    assert_eq!(folder.json("tape verify node.tape -o json")["whole"], true);
    folder.run("tape show node.tape").done();
    assert_eq!(folder.json("tape repair node.tape -o json")["repairs"], serde_json::json!([]));
}

#[test]
fn what_can_not_be_read_is_taken_off_the_tape() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    workload::record_briefly(&folder, "node.tape");
    folder.write("node.tape/segments/00000002/db", "");
    let repaired = folder.run("tape repair node.tape").with_code(1);
    assert!(repaired.starts_with("segment 2: nothing of it can be read: "), "{repaired}");
    assert!(repaired.ends_with("node.tape is whole again, without what could not be read\n"), "{repaired}");
    folder.run("tape verify node.tape").done();
    folder.run("tape repair node.tape").done();
}

#[test]
fn what_can_not_be_repaired_is_refused() {
    let folder = Folder::new();
    assert_snapshot!(
        folder.refused("tape repair absent.tape"),
        @"error: absent.tape does not exist: give the folder of a tape, `critape tape list` finds them"
    );
    fs::create_dir(folder.path("other")).unwrap();
    assert_snapshot!(
        folder.refused("tape repair other"),
        @"error: other is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    );
    let recorder = folder.recorder("node.tape", "absent.sock", "l.sock", "");
    assert_snapshot!(
        folder.refused("tape repair node.tape").replace(&format!(" {}:", recorder.id()), " PID:"),
        @"error: node.tape is being written by process PID: stop that recorder first, or use another tape"
    );
    recorder.interrupted().done();
}
