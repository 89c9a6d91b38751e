//! `critape replay --clean`: what a replay left that was killed.

use std::fs;
use std::path::PathBuf;

use cri::v1;
use insta::assert_snapshot;

use crate::folder::Folder;
use crate::kubelet::{Kubelet, image};
use crate::process::{Process, until};
use crate::workload;

const CLEAN: &str = "replay --clean -r unix://DIR/r.sock";

/// Records a pull, a pod right after it, and a call that comes seconds later.
fn record(folder: &Folder) {
    workload::record_of(folder, "node.tape", "", |socket| {
        let kubelet = Kubelet::connect(socket);
        kubelet.pull();
        let web = kubelet.run_pod("web");
        let id = kubelet.run_container(&web, "web", "job", "sleep 3");
        until("the container exits", || {
            (workload::status(&kubelet, &id).state() == v1::ContainerState::ContainerExited).then_some(())
        });
        kubelet.version();
    });
}

/// A replay that has made what it makes, and waits for its last call.
fn waiting(folder: &Folder, flags: &str) -> Process {
    waiting_on(folder, "r.sock", flags)
}

fn waiting_on(folder: &Folder, socket: &str, flags: &str) -> Process {
    let before = Kubelet::connect(&folder.path(socket)).sandboxes().len();
    // The pull is due at once, the pod soon, and the last call after a minute.
    let replay = folder.start(&format!("replay node.tape -r unix://DIR/{socket} --speed 0.05 {flags}"));
    until("a sandbox of the replay", || {
        (Kubelet::connect(&folder.path(socket)).sandboxes().len() > before).then_some(())
    });
    replay
}

/// The folders of replays.
fn folders(folder: &Folder) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path(".")).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().contains("critape-replay-")).collect()
}

#[test]
fn what_a_killed_replay_left_is_removed() {
    let folder = Folder::new();
    record(&folder);
    let _simulator = folder.simulator("r.sock", "");
    let before = folder.listing();
    waiting(&folder, "").killed();
    let direct = Kubelet::connect(&folder.path("r.sock"));
    assert_eq!((direct.sandboxes().len(), direct.images().len(), folders(&folder).len()), (1, 2, 1));
    // The next replay says so, and goes on all the same.
    let ended = folder.run("replay node.tape -r unix://DIR/r.sock --pace max --max-inconclusive 100%");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("note: an earlier replay left 1 sandboxes: `critape replay --clean` removes them\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(direct.sandboxes().len(), 1);
    let cleaned = folder.run(CLEAN);
    assert_eq!((cleaned.code, cleaned.stderr.as_str()), (Some(0), ""));
    assert_eq!(cleaned.stdout, "removed 1 sandboxes, 1 images and 1 folders of earlier replays\n");
    assert_eq!((direct.sandboxes().len(), direct.images().len()), (0, 1));
    assert_eq!(folder.listing(), before);
    let again = folder.run(CLEAN).done();
    assert_eq!(again, "removed 0 sandboxes, 0 images and 0 folders of earlier replays\n");
}

#[test]
fn what_goes_on_and_what_was_there_before_is_left_alone() {
    let folder = Folder::new();
    record(&folder);
    let _simulator = folder.simulator("r.sock", "");
    let direct = Kubelet::connect(&folder.path("r.sock"));
    let theirs = direct.run_pod("theirs");
    direct.pull();
    waiting(&folder, "--share").killed();
    let going = waiting(&folder, "--share");
    let process = going.id().to_string();
    assert_eq!((direct.sandboxes().len(), folders(&folder).len()), (3, 2));
    let cleaned = folder.run(CLEAN);
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.stderr);
    assert_eq!(cleaned.stdout, "removed 1 sandboxes, 0 images and 1 folders of earlier replays\n");
    let told: Vec<&str> = cleaned.stderr.lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().all(|line| line.starts_with("left alone: ")
            && line.ends_with(&format!("its replay goes on in process {process}"))),
        "{told:?}"
    );
    assert_eq!((direct.sandboxes().len(), direct.images().len(), folders(&folder).len()), (2, 2, 1));
    assert_eq!(going.interrupted().code, Some(130));
    let left: Vec<_> = direct.sandboxes().into_iter().map(|sandbox| sandbox.id).collect();
    assert_eq!(left, [theirs]);
    assert!(folders(&folder).is_empty());
}

#[test]
fn a_runtime_on_which_a_replay_goes_on_is_in_use() {
    let folder = Folder::new();
    record(&folder);
    let _simulator = folder.simulator("r.sock", "");
    let going = waiting(&folder, "");
    let refused = folder.run("replay node.tape -r unix://DIR/r.sock --pace max");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    let process = format!("(of the replay in process {})", going.id());
    assert!(refused.stderr.contains(&process), "{}", refused.stderr);
    assert_eq!(going.interrupted().code, Some(130));
}

#[test]
fn a_replay_on_another_runtime_uses_no_image_of_this_one() {
    let folder = Folder::new();
    record(&folder);
    let (_simulator, _other) = (folder.simulator("r.sock", ""), folder.simulator("s.sock", ""));
    waiting(&folder, "").killed();
    let going = waiting_on(&folder, "s.sock", "");
    let cleaned = folder.run(CLEAN);
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.stderr);
    assert_eq!(cleaned.stdout, "removed 1 sandboxes, 1 images and 1 folders of earlier replays\n");
    assert_eq!(going.interrupted().code, Some(130));
}

#[test]
fn a_replay_whose_terminal_goes_away_cleans_up() {
    let folder = Folder::new();
    record(&folder);
    let _simulator = folder.simulator("r.sock", "");
    assert_eq!(waiting(&folder, "").hung_up().code, Some(130));
    let direct = Kubelet::connect(&folder.path("r.sock"));
    assert!(direct.sandboxes().is_empty() && folders(&folder).is_empty());
    let removed = folder.run(&format!("{CLEAN} -o json")).done();
    assert!(removed.contains("\"sandboxes\": 0"), "{removed}");
}

/// A slip in a name must not pass for a replay without a difference.
#[test]
fn a_filter_that_fits_no_call_is_refused() {
    let folder = Folder::new();
    record(&folder);
    let _simulator = folder.simulator("r.sock", "");
    let refused = folder.run("replay node.tape -r unix://DIR/r.sock --pod nope");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("holds no such calls"), "{}", refused.stderr);
}

/// Somebody runs a container of the image by now.
#[test]
fn an_image_that_is_in_use_stays() {
    let folder = Folder::new();
    record(&folder);
    let _simulator = folder.simulator("r.sock", "");
    waiting(&folder, "").killed();
    let direct = Kubelet::connect(&folder.path("r.sock"));
    let theirs = direct.run_pod("theirs");
    direct.run_container(&theirs, "theirs", "app", "sleep 600");
    let cleaned = folder.run(CLEAN);
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.stderr);
    assert_eq!(cleaned.stdout, "removed 1 sandboxes, 0 images and 1 folders of earlier replays\n");
    assert!(cleaned.stderr.contains("it is in use"), "{}", cleaned.stderr);
    let status = v1::ImageStatusRequest { image: Some(image()), verbose: false };
    assert!(direct.ask::<v1::ImageStatusResponse>("ImageStatus", &status).image.is_some());
}

/// Another runtime's folder is needed to clean up there, and folders of others are nobody's business.
#[test]
fn folders_of_other_runtimes_and_other_programs_stay() {
    let folder = Folder::new();
    record(&folder);
    let first = folder.simulator("r.sock", "");
    waiting(&folder, "").killed();
    fs::create_dir(folder.path("critape-replay-mine")).unwrap();
    let _other = folder.simulator("other.sock", "");
    let cleaned = folder.run("replay --clean -r unix://DIR/other.sock");
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.stderr);
    assert_eq!(cleaned.stdout, "removed 0 sandboxes, 0 images and 0 folders of earlier replays\n");
    assert!(cleaned.stderr.trim_end().ends_with("its replay was on another runtime"), "{}", cleaned.stderr);
    let cleaned = folder.run(CLEAN).done();
    assert_eq!(cleaned, "removed 1 sandboxes, 1 images and 1 folders of earlier replays\n");
    assert_eq!(folders(&folder), [folder.path("./critape-replay-mine")]);
    drop(first);
}

#[test]
fn a_clean_up_needs_a_runtime_and_no_tape() {
    let folder = Folder::new();
    assert_snapshot!(
        folder.refused(CLEAN),
        @"error: no runtime answers at unix://DIR/r.sock: No such file or directory (os error 2); is it running?"
    );
    assert_snapshot!(folder.refused("replay node.tape --clean -r unix://DIR/r.sock"), @r"
    error: the argument '[TAPE]' cannot be used with '--clean'
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("replay -r unix://DIR/r.sock"), @r"
    error: the following required arguments were not provided: <TAPE>
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}
