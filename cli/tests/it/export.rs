//! `critape tape export` and `critape tape import`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::folder::Folder;
use crate::process::until;
use crate::workload;

fn recorded() -> Folder {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    folder
}

#[test]
fn a_tape_comes_back_from_its_file() {
    let folder = recorded();
    let said = folder.run("tape export node.tape node.critape").done();
    assert!(said.contains("segments exported to node.critape, "), "{said}");
    folder.run("tape import node.critape again.tape").done();
    let calls = folder.json_lines("tape show node.tape -o json");
    assert!(calls.len() > 30);
    assert!(folder.json_lines("tape show again.tape -o json") == calls);
    let info = |tape: &str| {
        let mut info = folder.json(&format!("tape info {tape} -o json"));
        info["tape"].take();
        info["bytes"]["stored"].take();
        info
    };
    let (mut again, original) = (info("again.tape"), info("node.tape"));
    // The key stays where it is.
    assert_eq!((again["key"].take(), &original["key"]), (false.into(), &true.into()));
    again["key"] = true.into();
    assert_eq!(again, original);
    assert_eq!(folder.json("tape verify again.tape -o json")["clean"], true);
    // Over one that is there already, and through pipes.
    folder.run("tape export again.tape node.critape").done();
    let mut export = folder.command("tape export node.tape -");
    let mut export = export.stdout(Stdio::piped()).spawn().unwrap();
    let mut import = folder.command("tape import - piped.tape");
    let import = import.stdin(export.stdout.take().unwrap()).output().unwrap();
    assert!(import.status.success() && export.wait().unwrap().success());
    assert!(folder.json_lines("tape show piped.tape -o json") == calls);
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("node.critape"), mode("again.tape")), (0o600, mode("node.tape")));
    let leftovers = folder
        .listing()
        .into_keys()
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('.'));
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn slices_are_those_of_show() {
    let folder = recorded();
    for (number, filter) in
        ["--method Run*", "--pod web", "--container server", "--status NOT_FOUND", "--connection 2"]
            .into_iter()
            .enumerate()
    {
        let expected = folder.json_lines(&format!("tape show node.tape -o json {filter}"));
        folder.run(&format!("tape export node.tape {number}.critape {filter}")).done();
        folder.run(&format!("tape import {number}.critape {number}.tape")).done();
        let slice = folder.json_lines(&format!("tape show {number}.tape -o json"));
        assert!(slice == expected, "{filter}");
        assert_eq!(folder.json(&format!("tape verify {number}.tape -o json"))["whole"], true);
    }
    let calls = folder.json_lines("tape show node.tape -o json");
    let middle = calls[calls.len() / 2]["started"].as_str().unwrap();
    folder.run(&format!("tape export node.tape late.critape --since {middle}")).done();
    folder.run(&format!("tape export node.tape early.critape --until {middle}")).done();
    folder.run("tape import late.critape late.tape").done();
    folder.run("tape import early.critape early.tape").done();
    let parts =
        ["early.tape", "late.tape"].map(|tape| folder.json_lines(&format!("tape show {tape} -o json")));
    assert!(parts.concat() == calls);
    assert_snapshot!(
        folder.refused("tape export node.tape none.critape --pod none"),
        @"error: node.tape has nothing of what is to be exported: `critape tape show` lists its calls"
    );
}

#[test]
fn calls_can_be_had_as_lines() {
    let folder = recorded();
    let by_id = |mut calls: Vec<Value>| {
        calls.sort_by_key(|call| call["id"].as_u64());
        calls
    };
    for filter in ["", "--pod web"] {
        let expected = by_id(folder.json_lines(&format!("tape show node.tape -o json {filter}")));
        let lines = by_id(folder.json_lines(&format!("tape export node.tape - --ndjson {filter}")));
        assert!(lines == expected);
        folder.run(&format!("tape export node.tape calls.ndjson {filter}")).done();
        let file = fs::read_to_string(folder.path("calls.ndjson")).unwrap();
        assert_eq!(file.lines().count(), expected.len());
    }
    assert_snapshot!(
        folder.refused("tape export node.tape calls.ndjson --with-key"),
        @"error: a list of calls has no room for a key: leave --with-key out, or export to a .critape file"
    );
}

#[test]
fn the_key_stays_unless_it_is_asked_for() {
    let folder = recorded();
    folder.write("node.tape/key", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    folder.run("tape export node.tape open.critape --with-key").done();
    folder.run("tape export node.tape closed.critape").done();
    folder.run("tape import open.critape open.tape").done();
    folder.run("tape import closed.critape closed.tape").done();
    assert_eq!(
        fs::read(folder.path("open.tape/key")).unwrap(),
        fs::read(folder.path("node.tape/key")).unwrap()
    );
    assert!(!folder.path("closed.tape/key").exists());
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("open.critape"), mode("open.tape/key")), (0o600, 0o600));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = recorded();
    folder.run("tape export node.tape node.critape").done();
    let bytes = fs::read(folder.path("node.critape")).unwrap();
    fs::write(folder.path("part.critape"), &bytes[..bytes.len() / 2]).unwrap();
    let part = folder.refused("tape import part.critape new.tape");
    assert!(part.starts_with("error: part.critape ends after ") && part.contains("copy it again"), "{part}");
    let mut damaged = bytes.clone();
    damaged[bytes.len() - 200] ^= 1;
    fs::write(folder.path("damaged.critape"), damaged).unwrap();
    let damaged = folder.refused("tape import damaged.critape new.tape");
    assert!(damaged.starts_with("error: damaged.critape is damaged at byte "), "{damaged}");
    let mut newer = bytes;
    newer[8] = 9;
    fs::write(folder.path("newer.critape"), newer).unwrap();
    assert_snapshot!(
        folder.refused("tape import newer.critape new.tape"),
        @"error: newer.critape has format 9 and this program reads up to 1: use a newer critape"
    );
    folder.write("text", "some text that is no tape");
    assert_snapshot!(
        folder.refused("tape import text new.tape"),
        @"error: text is not an export of a tape: give a file that `critape tape export` wrote"
    );
    assert_snapshot!(
        folder.refused("tape import node.critape node.tape"),
        @"error: node.tape exists: give a path where there is nothing yet"
    );
    assert_snapshot!(
        folder.refused("tape import node.tape new.tape"),
        @"error: node.tape is a folder: give a file that `critape tape export` wrote"
    );
    assert_snapshot!(
        folder.refused("tape import absent.critape new.tape"),
        @"error: opening absent.critape: No such file or directory (os error 2)"
    );
    assert_snapshot!(
        folder.refused("tape export absent.tape new.critape"),
        @"error: absent.tape does not exist: give the folder of a tape, `critape tape list` finds them"
    );
    assert_snapshot!(
        folder.refused("tape export node.tape node.tape"),
        @"error: node.tape is a folder: give the name of a file to be written"
    );
    let nowhere = folder.refused("tape export node.tape no/such/folder.critape");
    assert!(nowhere.starts_with("error: writing no/such/folder.critape: "), "{nowhere}");
}

#[test]
fn an_import_that_is_interrupted_leaves_nothing() {
    let folder = recorded();
    folder.run("tape export node.tape node.critape").done();
    let before = folder.listing();
    let bytes = fs::read(folder.path("node.critape")).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, &bytes[..1000]).unwrap();
    let mut import = folder.command("tape import - new.tape");
    // It waits for the rest.
    let mut import = import.stdin(reader).spawn().unwrap();
    until("the import has begun", || (folder.listing().len() > before.len()).then_some(()));
    kill_process(Pid::from_child(&import), Signal::INT).unwrap();
    let ended = until("the import ends", || import.try_wait().unwrap());
    assert_eq!(ended.code(), Some(130));
    assert_eq!(folder.listing(), before);
    drop(writer);
}
