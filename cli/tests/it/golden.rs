//! Tapes of real kubelets on real runtimes, as exports with their keys: they stay readable.
//!
//! `cargo test -p critape-e2e -- --ignored golden_tapes` records them anew.

use std::collections::BTreeSet;

use serde_json::json;

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
