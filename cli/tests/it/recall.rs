//! What replays find: regressions of the simulator, and nothing in the simulator as it is. `critape-bench recall` asks for all.

use cri::Endpoint;
use critape_simulator::Regression;
use serde_json::Value;

use crate::folder::Folder;
use crate::workload;

/// Of each kind of situation one: a shim that died, many mounts, memory that ran out, a client of events that comes back, a runtime that
/// dies, removals and probes that meet, a stop after one that was given up.
const REGRESSIONS: [&str; 8] = [
    "containerd-10461",
    "containerd-10045",
    "containerd-8180",
    "cri-o-6627",
    "cri-o-9014",
    "cri-o-9803",
    "containerd-10036",
    "containerd-6080",
];

fn record(folder: &Folder) {
    workload::record_of(folder, "broad.tape", "", |socket| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::at(socket).unwrap();
        runtime.block_on(critape_workload::broad(&endpoint, 7)).unwrap();
    });
}

/// The report of a replay on a simulator with these options.
fn replay(folder: &Folder, options: &str) -> Value {
    let simulator = folder.simulator("live.sock", options);
    let ended = folder.run("replay broad.tape -r unix://DIR/live.sock --pace max --settle 1s -o json");
    simulator.interrupted().done();
    assert!(matches!(ended.code, Some(0..=2)), "{options}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn a_regression_is_what_the_report_of_its_replay_begins_with() {
    let folder = Folder::new();
    record(&folder);
    let report = replay(&folder, "");
    assert_eq!(report["verdict"], "same", "{:#}", report["findings"]);
    for name in REGRESSIONS {
        let regression = Regression::by_name(name).unwrap();
        let report = replay(&folder, &format!("--regression {name}"));
        let findings = report["findings"].as_array().unwrap();
        let first = findings.first().unwrap_or_else(|| panic!("{name} is not found"));
        let is_there = regression.shows().iter().any(|(rpc, path)| {
            first["method"].as_str().unwrap().ends_with(&format!("/{rpc}")) && first["path"] == *path
        });
        assert!(is_there, "{name}: expected {:?}, found {first:#}", regression.shows());
    }
}
