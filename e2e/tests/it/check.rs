//! `critape check` on real runtimes: what it finds is true, and nothing is left behind.

use critape_e2e::parts::require;
use critape_e2e::session::BUSYBOX;
use critape_e2e::{Critape, Part, Version};
use serde_json::{Value, json};

use crate::place::Place;
use crate::text;

#[test]
fn of_1_6_finds_what_it_does_wrong() {
    // Stopping what is gone is an error there: containerd#10527 and #10528 came with 1.6.35.
    check(Version::V1_6, &["StopContainer outcome.code", "StopPodSandbox outcome.code"]);
}

#[test]
fn of_1_7_finds_nothing() {
    check(Version::V1_7, &[]);
}

#[test]
fn of_2_1_finds_a_time_that_is_none() {
    // In the event of a sandbox that is deleted: docs/containerd-1.6-1.7-2.1.md.
    check(Version::V2_1, &["GetContainerEvents pod_sandbox_status.created_at"]);
}

#[track_caller]
fn check(version: Version, expected: &[&str]) {
    if require(&[Part::Containerd(version)]).is_none() {
        return;
    }
    let (place, critape) = (Place::new(), Critape::get());
    let runtime = place.runtime(version);
    let endpoint = format!("unix://{}", runtime.socket().display());
    let ended = critape.run(&["check", "-r", &endpoint, "--active", "--image", BUSYBOX, "-o", "json"]);
    let report: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    println!("{report:#}");
    let findings = report["findings"].as_array().unwrap().iter();
    let rpc = |finding: &Value| text(finding, "/method").rsplit('/').next().unwrap().to_owned();
    let mut found: Vec<String> = findings.map(|it| format!("{} {}", rpc(it), text(it, "/path"))).collect();
    found.sort();
    assert_eq!(found, expected, "{report:#}");
    assert_eq!(ended.code(), i32::from(!expected.is_empty()));
    let unchecked = report["unchecked"].as_array().unwrap();
    assert!(unchecked.contains(&json!("dns: no status tells it")), "{unchecked:?}");
    assert!(!unchecked.iter().any(|it| it.as_str().unwrap().contains("could not be made")), "{unchecked:?}");
}
