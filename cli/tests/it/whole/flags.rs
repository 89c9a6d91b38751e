//! Flags that say what a tape keeps, and who may read it.

use std::fs;

use cri::v1;
use insta::assert_snapshot;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{Kubelet, container, create, pod};
use crate::process::until;

const SECRET: &str = "correct-horse";
const LABEL: &str = "battery-staple";

/// Records a container with a secret in its environment, and a label.
fn record(folder: &Folder, tape: &str, flags: &str) {
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder(tape, "r.sock", "l.sock", flags);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    kubelet.pull();
    let id = kubelet.run_pod("web");
    let mut config = container("server", "true");
    config.envs = vec![v1::KeyValue { key: "PASSWORD".to_owned(), value: SECRET.into() }];
    config.labels.insert("note".to_owned(), LABEL.to_owned());
    kubelet.ask::<v1::CreateContainerResponse>("CreateContainer", &create(&id, "web", config));
    recorder.interrupted().done();
}

/// Whether a tape shows the secret, and the label.
fn shows(folder: &Folder, tape: &str, flags: &str) -> (bool, bool) {
    let shown = folder.run(&format!("tape show {tape} {flags} --method CreateContainer -o json")).done();
    (shown.contains(SECRET), shown.contains(LABEL))
}

#[test]
fn secrets_are_sealed_as_was_asked_and_unsealed_with_the_key() {
    let folder = Folder::new();
    for (flags, policy, shown, has_key) in [
        ("", "default", (false, true), true),
        ("--seal strict", "strict", (false, false), true),
        ("--seal none", "none", (true, true), false),
    ] {
        let tape = format!("{policy}.tape");
        record(&folder, &tape, flags);
        assert_eq!(shows(&folder, &tape, ""), shown, "{policy}");
        let info = folder.json(&format!("tape info {tape} -o json"));
        assert_eq!((&info["seal"], &info["key"]), (&policy.into(), &has_key.into()));
        if has_key {
            assert_eq!(shows(&folder, &tape, "--unseal"), (true, true), "{policy}");
            fs::remove_file(folder.path(&format!("{tape}/key"))).unwrap();
            assert_eq!(shows(&folder, &tape, ""), shown);
        }
        let refused = folder.refused(&format!("tape show {tape} --unseal"));
        assert_eq!(
            refused.trim_end(),
            format!("error: {tape} has no key: copy the one it was recorded with to {tape}/key")
        );
    }
    assert!(folder.run("tape info strict.tape").done().contains("sealed       strict, the key is not here"));
    assert!(folder.run("tape info none.tape").done().contains("sealed       nothing"));
}

#[test]
fn a_key_is_given_to_several_tapes() {
    let folder = Folder::new();
    folder.write("shared.key", &"k".repeat(64));
    record(&folder, "one.tape", "--seal-key DIR/shared.key");
    record(&folder, "other.tape", "--seal-key DIR/shared.key");
    assert_eq!(fs::read(folder.path("one.tape/key")).unwrap(), fs::read(folder.path("shared.key")).unwrap());
    assert_eq!(shows(&folder, "other.tape", "--unseal"), (true, true));
}

#[test]
fn a_key_that_can_not_be_used_is_refused() {
    let folder = Folder::new();
    record(&folder, "node.tape", "");
    let refused = |tape: &str, key: &str| {
        folder.refused(&format!(
            "record {tape} -r unix://DIR/r.sock --listen unix://DIR/l.sock --seal-key {key}"
        ))
    };
    folder.write("other.key", &"k".repeat(64));
    assert_snapshot!(
        refused("node.tape", "other.key"),
        @"error: node.tape has a key of its own, and --seal-key gives another: leave it out, or use another tape"
    );
    assert_snapshot!(
        refused("node.tape", "absent.key"),
        @"error: reading the key absent.key: No such file or directory (os error 2)"
    );
    folder.write("short.key", &"k".repeat(63));
    assert_snapshot!(
        refused("node.tape", "short.key"),
        @"error: reading the key short.key: a key has 64 bytes: copy the key of another tape, or `head -c 64 /dev/urandom`"
    );
    assert_snapshot!(
        folder.refused("record new.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock --seal none --seal-key other.key"),
        @"error: --seal none has no use for --seal-key: leave one of the two out"
    );
}

/// What is said of the recorded pace does nothing at another one.
#[test]
fn what_has_no_effect_at_another_pace_is_said() {
    let folder = Folder::new();
    record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "");
    let said = |flags: &str| {
        let ended = folder.run(&format!("replay node.tape -r unix://DIR/r.sock {flags}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    };
    assert_snapshot!(
        said("--pace max --speed 2 --max-idle 1s --every-poll"),
        @"note: --speed, --max-idle, --every-poll have no effect with --pace max"
    );
    assert_snapshot!(said("--pace serial --max-idle 60s"), @"note: --max-idle has no effect with --pace serial");
    assert_eq!(said("--pace max"), "");
    assert_eq!(said("--speed 10 --max-idle 1s --every-poll"), "");
}

/// Segments of a tape.
fn segments(folder: &Folder, tape: &str) -> Value {
    folder.json(&format!("tape info {tape} -o json"))["segments"].clone()
}

#[test]
fn old_segments_are_pruned_by_hand_and_by_a_recorder() {
    let folder = Folder::new();
    for _ in 0..3 {
        record(&folder, "node.tape", "--seal none");
    }
    assert_snapshot!(folder.run("tape prune node.tape --max-size 1T").done(), @"0 segments deleted, 0 B freed");
    assert_snapshot!(folder.run("tape prune node.tape --max-age 1h").done(), @"0 segments deleted, 0 B freed");
    assert_eq!(segments(&folder, "node.tape"), 3);
    let pruned = folder.run("tape prune node.tape --max-size 0").done();
    assert!(pruned.starts_with("2 segments deleted, "), "{pruned}");
    assert_eq!(segments(&folder, "node.tape"), 1);
    // The recorder's own segment stays in any case.
    for flag in ["--max-size 0", "--max-age 0"] {
        let recorder = folder.recorder("node.tape", "absent.sock", "l.sock", flag);
        until(&format!("what was there is pruned with {flag}"), || {
            let left = fs::read_dir(folder.path("node.tape/segments")).unwrap().count();
            (left == 1).then_some(())
        });
        recorder.interrupted().done();
    }
}

#[test]
fn a_tape_that_is_being_written_is_not_pruned_by_others() {
    let folder = Folder::new();
    let recorder = folder.recorder("node.tape", "absent.sock", "l.sock", "");
    assert_snapshot!(
        folder.refused("tape prune node.tape --max-size 0").replace(&format!(" {}:", recorder.id()), " PID:"),
        @"error: node.tape is being written by process PID: stop that recorder first, or use another tape"
    );
    recorder.interrupted().done();
}

#[test]
fn the_last_words_of_a_recorder_are_about_its_own_recording() {
    let folder = Folder::new();
    record(&folder, "node.tape", "");
    let before = folder.json("tape info node.tape -o json")["calls"].as_u64().unwrap();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    kubelet
        .call("RunPodSandbox", &v1::RunPodSandboxRequest { config: Some(pod("web")), ..Default::default() })
        .unwrap();
    let ended = recorder.interrupted();
    assert_eq!(
        ended.stderr.lines().last(),
        Some(
            format!(
                "recorded 1 calls on 1 connections onto node.tape, which has {} calls in all; \
                 `critape tape show node.tape` lists them",
                before + 1
            )
            .as_str()
        )
    );
}

/// What a diff says where nothing differs but the keys.
fn same(folder: &Folder, notes: &str) -> Value {
    let report = folder.run("diff one.tape other.tape -o json");
    let document: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((report.code, &document["verdict"]), (Some(0), &"same".into()), "{document:#}");
    // Of a read that waits for something, one run may have one more than the other.
    let count = |name: &str| document["calls"][name].as_u64().unwrap();
    assert_eq!(count("compared") + count("skipped"), count("recorded"), "{document:#}");
    assert_eq!(count("inconclusive"), 0, "{document:#}");
    assert_eq!(report.stderr, notes);
    document
}

#[test]
fn tapes_sealed_with_different_keys_are_compared_as_far_as_they_can_be() {
    let folder = Folder::new();
    crate::workload::record(&folder, "one.tape", "");
    crate::workload::record(&folder, "other.tape", "");
    let sealed = |report: &Value| {
        let rules = report["suppressed"]["rules"].as_array().unwrap().clone();
        rules.iter().find(|rule| rule["rule"] == "sealed").map(|rule| rule["count"].as_u64().unwrap())
    };
    assert_eq!(sealed(&same(&folder, "")), None);
    let note = |tape: &str| {
        format!("note: {tape} is sealed and its key is not here: what is sealed in it counts as the same\n")
    };
    fs::remove_file(folder.path("other.tape/key")).unwrap();
    let report = same(&folder, &note("other.tape"));
    assert!(sealed(&report).unwrap() > 0);
    let named = report["preflight"][0]["summary"].as_str().unwrap();
    assert!(named.starts_with("other.tape is sealed and its key is not here: "), "{named}");
    assert!(named.contains("ExecSync") || named.contains("CreateContainer"), "{named}");
    assert!(report["preflight"][0]["calls"].as_u64().unwrap() > 0);
    fs::remove_file(folder.path("one.tape/key")).unwrap();
    assert!(sealed(&same(&folder, &format!("{}{}", note("one.tape"), note("other.tape")))).unwrap() > 0);
}

#[test]
fn a_replay_without_the_key_says_what_it_can_not_do() {
    let folder = Folder::new();
    crate::workload::record(&folder, "node.tape", "");
    fs::remove_file(folder.path("node.tape/key")).unwrap();
    let _simulator = folder.simulator("r.sock", "");
    let replayed = folder.run("replay node.tape -r unix://DIR/r.sock --pace max -o json");
    assert_eq!(replayed.code, Some(2), "{replayed:?}");
    assert!(
        replayed
            .stderr
            .starts_with("note: node.tape is sealed and its key is not here: environment goes out sealed"),
        "{}",
        replayed.stderr
    );
    let report: Value = serde_json::from_str(&replayed.stdout).unwrap();
    assert_eq!(report["findings"], serde_json::json!([]), "{report:#}");
    assert!(report["calls"]["inconclusive"].as_u64().unwrap() > 0);
}
