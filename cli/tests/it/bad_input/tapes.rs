//! Tapes that can't be read, or not be written.

use std::fs;
use std::path::Path;

use insta::{allow_duplicates, assert_snapshot};

use crate::folder::Folder;
use crate::workload;

#[test]
fn a_tape_that_is_not_there() {
    let folder = Folder::new();
    allow_duplicates! {
        for command in ["tape show", "tape info", "tape verify", "replay -r unix://DIR/r.sock"] {
            assert_snapshot!(
                folder.refused(&format!("{command} absent.tape")),
                @"error: absent.tape does not exist: give the folder of a tape, `critape tape list` finds them"
            );
        }
    }
    assert_snapshot!(
        folder.refused("diff absent.tape other.tape"),
        @"error: absent.tape does not exist: give the folder of a tape, `critape tape list` finds them"
    );
    assert_snapshot!(
        folder.refused("tape list absent"),
        @"error: listing absent: No such file or directory (os error 2)"
    );
}

#[test]
fn a_folder_that_is_no_tape() {
    let folder = Folder::new();
    fs::create_dir(folder.path("empty")).unwrap();
    assert_snapshot!(
        folder.refused("tape show empty"),
        @"error: empty is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    );
    assert_snapshot!(
        folder.refused("replay empty -r unix://DIR/r.sock"),
        @"error: empty is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    );
    fs::create_dir(folder.path("other")).unwrap();
    folder.write("other/file", "");
    assert_snapshot!(
        folder.refused("tape info other"),
        @"error: other is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    );
    assert_snapshot!(
        folder.refused("record other -r unix://DIR/r.sock --listen unix://DIR/l.sock"),
        @"error: other is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    );
    assert_snapshot!(
        folder.refused("tape verify other/file"),
        @"error: other/file is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    );
    assert_snapshot!(
        folder.refused("record other/file -r unix://DIR/r.sock --listen unix://DIR/l.sock"),
        @"error: other/file is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    );
}

#[test]
fn a_tape_of_a_newer_format() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    folder.write("node.tape/critape-tape", "critape tape, format 99\n");
    allow_duplicates! {
        for command in ["tape show", "tape verify", "replay -r unix://DIR/r.sock"] {
            assert_snapshot!(
                folder.refused(&format!("{command} node.tape")),
                @"error: node.tape has format 99 and this program reads up to 1: use a newer critape"
            );
        }
    }
    assert_snapshot!(
        folder.refused("record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock"),
        @"error: node.tape has format 99 and this program reads up to 1: use a newer critape"
    );
}

/// The end of the store is missing, as after a copy that was cut off; or all of it.
#[test]
fn a_truncated_tape() {
    for kept in [0, 1, 10, 50, 90] {
        let folder = Folder::new();
        workload::record(&folder, "node.tape", "");
        let store = folder.path("node.tape/segments/00000001/db");
        cut(&store, |used| used * kept / 100);
        let before = folder.contents("node.tape");
        for line in
            ["tape show node.tape", "replay node.tape -r unix://DIR/r.sock", "diff node.tape node.tape"]
        {
            let refused = folder.refused(line);
            let text = refused.trim_end();
            assert!(text.starts_with("error: node.tape/segments/00000001 is damaged: "), "{kept} %: {text}");
            assert!(text.ends_with("; `critape tape repair` mends what can be"), "{kept} %: {text}");
        }
        folder.run("tape verify node.tape").with_code(1);
        assert!(folder.contents("node.tape") == before, "{kept} %: reading a damaged tape changed it");
    }
}

#[test]
fn a_tape_whose_segments_are_gone() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    fs::remove_dir_all(folder.path("node.tape/segments")).unwrap();
    assert_snapshot!(
        folder.refused("tape show node.tape"),
        @"error: reading node.tape/segments: No such file or directory (os error 2)"
    );
    fs::create_dir(folder.path("node.tape/segments")).unwrap();
    assert_snapshot!(
        folder.refused("tape show node.tape"),
        @"error: node.tape has no segments: they are gone, or were never begun"
    );
    folder.run("tape verify node.tape").with_code(1);
}

#[test]
fn a_tape_that_is_being_written() {
    let folder = Folder::new();
    let recorder = folder.recorder("node.tape", "absent.sock", "l.sock", "");
    let held = |line: &str| folder.refused(line).replace(&format!(" {}:", recorder.id()), " PID:");
    assert_snapshot!(
        held("record node.tape -r unix://DIR/r.sock --listen unix://DIR/other.sock"),
        @"error: node.tape is being written by process PID: stop that recorder first, or use another tape"
    );
    assert_snapshot!(
        held("tape prune node.tape --max-age 1h"),
        @"error: node.tape is being written by process PID: stop that recorder first, or use another tape"
    );
    recorder.interrupted().done();
}

#[test]
fn a_tape_without_calls() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    folder.recorder("node.tape", "r.sock", "l.sock", "").interrupted().done();
    assert_snapshot!(
        folder.refused("replay node.tape -r unix://DIR/r.sock"),
        @"error: node.tape holds no calls: record something first"
    );
    assert_snapshot!(
        folder.refused("diff node.tape node.tape"),
        @"error: node.tape holds no calls: record something first"
    );
    simulator.interrupted().done();
}

#[test]
fn a_tape_that_can_not_be_made() {
    let folder = Folder::new();
    folder.write("file", "");
    assert_snapshot!(
        folder.refused("record file/new.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock"),
        @"error: making file/new.tape/segments: Not a directory (os error 20)"
    );
}

#[test]
fn filters_that_match_nothing() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    assert_snapshot!(
        folder.refused("tape show node.tape --method Frob*"),
        @r#"error: no method of CRI matches "Frob*": methods are named as RunPodSandbox or /runtime.v1.ImageService/PullImage"#
    );
    assert_snapshot!(
        folder.refused("tape show node.tape --status FINE"),
        @r#"error: "FINE" is not a gRPC status: write it as NOT_FOUND or OK"#
    );
}

#[test]
fn a_call_that_is_not_on_the_tape() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    assert_snapshot!(
        folder.refused("tape show node.tape 17"),
        @"error: node.tape has no call 17: `critape tape show node.tape` lists them"
    );
}

/// Cuts a store: it is told how many of its bytes are in use, the rest of the file being zeros.
fn cut(store: &Path, keep: impl FnOnce(usize) -> usize) {
    let bytes = fs::read(store).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(store, &bytes[..keep(used)]).unwrap();
}
