//! `critape diff`.

use serde_json::Value;

use crate::folder::Folder;
use crate::workload;

#[test]
fn two_recordings_of_the_same_workload_are_the_same() {
    let folder = Folder::new();
    workload::record(&folder, "one.tape", "");
    workload::record(&folder, "other.tape", "");
    let report = folder.run("diff one.tape other.tape -o json");
    let document: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((report.code, &document["verdict"]), (Some(0), &"same".into()), "{document:#}");
}

#[test]
fn a_recording_is_the_same_as_itself() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let report = folder.json("diff node.tape node.tape -o json");
    let counts = &report["calls"];
    assert_eq!(
        (&report["verdict"], &counts["compared"]),
        (&"same".into(), &counts["recorded"]),
        "{report:#}"
    );
}

/// As kubelet's stream of events is whenever a recorder is stopped.
#[test]
fn a_stream_that_is_open_at_the_end_is_compared_as_far_as_it_goes() {
    let folder = Folder::new();
    workload::record_with_an_open_stream(&folder, "one.tape");
    workload::record_with_an_open_stream(&folder, "other.tape");
    let report = folder.run("diff one.tape other.tape -o json");
    let document: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((report.code, &document["verdict"]), (Some(0), &"same".into()), "{document:#}");
    assert_eq!(document["calls"]["compared"], document["calls"]["recorded"]);
}

#[test]
fn a_regression_between_two_recordings_is_found() {
    let folder = Folder::new();
    workload::record(&folder, "one.tape", "");
    for (regression, rpc, path) in [
        ("containerd-10527", "StopContainer", "outcome.code"),
        ("containerd-9819", "Status", "status.conditions[]"),
        ("cri-o-9728", "PullImage", "image_ref"),
        ("cri-o-8240", "ListContainerStats", "stats[]"),
        ("cri-dockerd-299", "ImageStatus", "image.size"),
    ] {
        let tape = format!("{regression}.tape");
        workload::record_with(&folder, &tape, regression);
        let report = folder.run(&format!("diff one.tape {tape} -o json")).with_code(1);
        let report: Value = serde_json::from_str(&report).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| {
            finding["method"].as_str().unwrap().ends_with(&format!("/{rpc}")) && finding["path"] == path
        });
        let found = found.unwrap_or_else(|| panic!("{regression} is not among {findings:#?}"));
        assert!(found["examples"][0]["recorded_call"].is_u64() && found["examples"][0]["live_call"].is_u64());
    }
}
