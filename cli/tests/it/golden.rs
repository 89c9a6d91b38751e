//! Tapes of real kubelets on real runtimes, as exports with their keys: they stay readable.
//!
//! `cargo test -p critape-e2e -- --ignored golden_tapes` records them anew.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::folder::Folder;

/// What was planted in the environment of a container.
const SECRET: &str = "a planted secret";

#[test]
fn tapes_of_kubelet_stay_readable() {
    for (version, listens) in [("2.1", true), ("1.7", false)] {
        let folder = Folder::new();
        let file = format!("{}/../e2e/golden/kubelet-{version}.critape", env!("CARGO_MANIFEST_DIR"));
        folder.run(&format!("tape import {file} node.tape")).done();
        let verified = folder.json("tape verify node.tape -o json");
        assert_eq!((&verified["whole"], &verified["clean"]), (&json!(true), &json!(true)));
        let info = folder.json("tape info node.tape -o json");
        assert!(info["runtime"]["version"].as_str().unwrap().starts_with(version), "{info:#}");
        let calls = folder.json_lines("tape show node.tape -o json");
        assert_eq!((&info["calls"], &info["gaps"]), (&json!(calls.len()), &json!([])));
        let kubelet = "/var/lib/critape-e2e/bin/kubelet";
        assert_eq!(info["peers"], json!([{ "exe": kubelet, "uid": 0, "calls": calls.len() }]));

        let methods: BTreeSet<&str> =
            calls.iter().map(|call| call["method"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
        for method in ["RunPodSandbox", "StartContainer", "ExecSync", "StopContainer", "StopPodSandbox"] {
            assert!(methods.contains(method), "no {method}: {methods:?}");
        }
        assert_eq!(methods.contains("GetContainerEvents"), listens);
        assert!(!folder.run("tape show node.tape -o json").done().contains(SECRET));
        assert!(folder.run("tape show node.tape -o json --unseal").done().contains(SECRET));
    }
}

/// A finding's method, path, kind, and the two ends of its transition.
type Place = (String, String, String, [String; 2]);

/// What a comparison finds.
fn found(folder: &Folder, before: &str, now: &str) -> BTreeSet<Place> {
    let ended = folder.run(&format!("diff {before}.tape {now}.tape -o json"));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
            let transition = text("transition");
            let (from, to) = transition.split_once('→').unwrap_or_default();
            (text("method"), text("path"), text("kind"), [from.to_owned(), to.to_owned()])
        })
        .collect()
}

#[test]
fn what_is_found_one_way_is_found_the_other_way() {
    let folder = Folder::new();
    let tapes = ["containerd-1.6", "containerd-1.7", "containerd-2.1"];
    for tape in tapes {
        let file = format!("{}/../e2e/golden/{tape}.critape", env!("CARGO_MANIFEST_DIR"));
        folder.run(&format!("tape import {file} {tape}.tape")).done();
        assert_eq!(found(&folder, tape, tape), BTreeSet::new(), "{tape}");
    }
    for (before, now) in [(0, 1), (1, 2), (0, 2)].map(|(before, now)| (tapes[before], tapes[now])) {
        let there = found(&folder, before, now);
        assert!(there.len() > 50, "{there:?}");
        let turned = |(method, path, kind, [from, to]): Place| (method, path, kind, [to, from]);
        let back: BTreeSet<_> = found(&folder, now, before).into_iter().map(turned).collect();
        assert_eq!(there, back, "{before} {now}");
    }
}
