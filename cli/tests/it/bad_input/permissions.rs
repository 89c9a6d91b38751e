//! What another user may not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

use crate::folder::Folder;
use crate::process::Process;
use crate::workload;

#[test]
fn no_permission_to_connect() {
    let Some(nobody) = Nobody::new() else { return };
    let folder = &nobody.folder;
    workload::record_briefly(folder, "node.tape");
    let _simulator = folder.simulator("s.sock", "");
    assert_snapshot!(
        nobody.refused("gateway -r unix://DIR/s.sock --listen 127.0.0.1:0"),
        @"error: no runtime answers at unix://DIR/s.sock: Permission denied (os error 13)"
    );
    nobody.give("node.tape");
    assert_snapshot!(
        nobody.refused("replay node.tape -r unix://DIR/s.sock"),
        @"error: no runtime answers at unix://DIR/s.sock: Permission denied (os error 13); is it running?"
    );
}

#[test]
fn no_permission_to_listen() {
    let Some(nobody) = Nobody::new() else { return };
    assert_snapshot!(
        nobody.refused("simulator --listen unix://DIR/s.sock"),
        @"error: listening on DIR/s.sock: Permission denied (os error 13); run as root, or choose a path in a folder of yours"
    );
    assert_snapshot!(
        nobody.refused("record new.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock"),
        @"error: listening on DIR/l.sock: Permission denied (os error 13); run as root, or choose a path in a folder of yours"
    );
}

#[test]
fn no_permission_to_make_a_tape() {
    let Some(nobody) = Nobody::new() else { return };
    fs::create_dir(nobody.folder.path("own")).unwrap();
    nobody.give("own");
    assert_snapshot!(
        nobody.refused("record new.tape -r unix://DIR/r.sock --listen unix://DIR/own/l.sock"),
        @"error: making new.tape/segments: Permission denied (os error 13)"
    );
}

#[test]
fn no_permission_to_read_a_tape() {
    let Some(nobody) = Nobody::new() else { return };
    workload::record_briefly(&nobody.folder, "node.tape");
    mode(&nobody.folder.path("node.tape"), 0o700);
    assert_snapshot!(
        nobody.refused("tape show node.tape"),
        @"error: reading node.tape/critape-tape: Permission denied (os error 13)"
    );
    assert_snapshot!(
        nobody.refused("tape verify node.tape"),
        @"error: reading node.tape/critape-tape: Permission denied (os error 13)"
    );
    assert_snapshot!(
        nobody.refused("replay node.tape -r unix://DIR/r.sock"),
        @"error: reading node.tape/critape-tape: Permission denied (os error 13)"
    );
}

/// It could not be looked at: that does not make it damaged.
#[test]
fn no_permission_to_read_the_store_of_a_tape() {
    let Some(nobody) = Nobody::new() else { return };
    workload::record_briefly(&nobody.folder, "node.tape");
    for file in nobody.folder.contents("node.tape/segments/00000001").keys() {
        mode(file, 0o600);
    }
    for folder in ["node.tape", "node.tape/segments", "node.tape/segments/00000001"] {
        mode(&nobody.folder.path(folder), 0o755);
    }
    let shown = nobody.refused("tape show node.tape");
    assert!(shown.starts_with("error: ") && shown.contains(": Permission denied"), "{shown}");
    assert_eq!(nobody.refused("tape verify node.tape"), shown);
}

/// The store is opened for writing also by those who only read.
#[test]
fn no_permission_to_write_to_a_tape_that_may_be_read() {
    let Some(nobody) = Nobody::new() else { return };
    workload::record_briefly(&nobody.folder, "node.tape");
    for file in nobody.folder.contents("node.tape/segments/00000001").keys() {
        mode(file, 0o644);
    }
    for folder in ["node.tape", "node.tape/segments", "node.tape/segments/00000001"] {
        mode(&nobody.folder.path(folder), 0o755);
    }
    assert_snapshot!(
        nobody.refused("tape show node.tape"),
        @"error: opening the store of node.tape/segments/00000001: Permission denied; reading a tape takes the right to write in it too: do it as its owner, or with a copy"
    );
}

/// The program run as another user, in a folder that this user may read.
struct Nobody {
    folder: Folder,
}

const AS_NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

impl Nobody {
    /// Needs root to become another, and a binary that others may run.
    fn new() -> Option<Self> {
        let folder = Folder::new();
        mode(&folder.path(""), 0o755);
        let mut version = folder.command_by("setpriv", &AS_NOBODY, "--version");
        let is_root = rustix::process::geteuid().is_root();
        if is_root && version.output().is_ok_and(|version| version.status.success()) {
            return Some(Self { folder });
        }
        eprintln!(
            "SKIPPED: the program can't be run as another user (it takes root, setpriv, and a path that all may read)"
        );
        None
    }

    #[track_caller]
    fn refused(&self, line: &str) -> String {
        self.folder.refused_by(&mut self.folder.command_by("setpriv", &AS_NOBODY, line))
    }

    fn give(&self, name: &str) {
        let mut chown = Command::new("chown");
        Process::start(chown.args(["-R", "65534:65534"]).arg(self.folder.path(name))).ended().done();
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
