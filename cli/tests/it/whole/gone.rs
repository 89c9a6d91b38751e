//! A runtime that dies in the middle of a replay.

use cri::v1;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{Kubelet, container, create};
use crate::process::{Process, until};
use crate::workload;

/// Calls after the one that the runtime does not live to answer.
const AFTER: usize = 20;

/// Records the stop of a container that is dead already, and calls after it. In a replay the container lives, and its stop takes long.
fn record(folder: &Folder) {
    let simulator = folder.simulator("recorded.sock", "");
    let recorder = folder.recorder("node.tape", "recorded.sock", "l.sock", "");
    let direct = Kubelet::connect(&folder.path("recorded.sock"));
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    kubelet.pull();
    let web = kubelet.run_pod("web");
    // The first process of a namespace that does not handle SIGTERM does not get it.
    let options = v1::NamespaceOption { pid: v1::NamespaceMode::Container.into(), ..Default::default() };
    let security =
        v1::LinuxContainerSecurityContext { namespace_options: Some(options), ..Default::default() };
    let linux = v1::LinuxContainerConfig { security_context: Some(security), ..Default::default() };
    let config = v1::ContainerConfig { linux: Some(linux), ..container("app", "sleep 600") };
    let made: v1::CreateContainerResponse = kubelet.ask("CreateContainer", &create(&web, "web", config));
    let id = made.container_id;
    let start = v1::StartContainerRequest { container_id: id.clone() };
    kubelet.ask::<v1::StartContainerResponse>("StartContainer", &start);
    stop(&direct, &id, 0);
    stop(&kubelet, &id, 600);
    for _ in 0..AFTER {
        kubelet.version();
    }
    recorder.interrupted().done();
    simulator.interrupted().done();
}

fn stop(kubelet: &Kubelet, id: &str, timeout: i64) {
    let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout };
    kubelet.ask::<v1::StopContainerResponse>("StopContainer", &request);
}

/// A replay whose container runs, so that nothing but its stop is to come.
fn stopping(folder: &Folder, flags: &str) -> Process {
    let replay = folder.start(&format!("replay node.tape -r unix://DIR/r.sock -o json {flags}"));
    let direct = Kubelet::connect(&folder.path("r.sock"));
    until("the replay's container runs", || {
        let request = v1::ListContainersRequest::default();
        let list = direct.ask::<v1::ListContainersResponse>("ListContainers", &request).containers;
        list.iter().find(|it| it.state() == v1::ContainerState::ContainerRunning).map(drop)
    });
    replay
}

fn findings(report: &Value) -> Vec<String> {
    let list = report["findings"].as_array().unwrap().iter();
    list.map(|it| {
        let text = |name: &str| it[name].as_str().unwrap().to_owned();
        let rpc = text("method").rsplit('/').next().unwrap().to_owned();
        format!("{rpc} {} {} {} {}", text("path"), text("transition"), text("severity"), it["count"])
    })
    .collect()
}

#[test]
fn a_runtime_that_dies_is_one_finding_and_the_replay_ends() {
    let folder = Folder::new();
    record(&folder);
    let simulator = folder.simulator("r.sock", "");
    let replay = stopping(&folder, "--pace max --settle 500ms --report r.json");
    simulator.killed();
    let ended = replay.ended();
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended.code, Some(1), "{report:#}");
    let found = findings(&report);
    // The answer to its start may still have been on its way.
    let rpc = if found[0].starts_with("Start") { "StartContainer" } else { "StopContainer" };
    assert_eq!(found, [format!("{rpc} outcome.code OK→gone breaking 1")], "{report:#}");
    let finding = &report["findings"][0];
    let call = finding["examples"][0]["recorded_call"].as_u64().unwrap();
    assert_eq!(finding["summary"], format!("the runtime stopped answering at call {call}: {rpc}"));
    assert!(finding["consequence"].as_str().unwrap().contains("NotReady"), "{finding:#}");
    let before = finding["evidence"]["before"].as_array().unwrap();
    assert!(
        before.iter().any(|it| it["method"].as_str().unwrap().ends_with("/CreateContainer")),
        "{before:?}"
    );
    let after = report["calls"]["recorded"].as_u64().unwrap() - call;
    let reasons = serde_json::json!([
        {"reason": format!("the runtime is gone since call {call}"), "count": after, "first_call": call + 1}
    ]);
    assert_eq!(report["inconclusive"], reasons);
    assert_eq!(
        ended.stderr.matches("the runtime is gone, and nothing was removed").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("could not be removed"), "{}", ended.stderr);
    // What it left is found by what cleans up.
    let _simulator = folder.simulator("r.sock", "");
    let cleaned = folder.run("replay --clean -r unix://DIR/r.sock").done();
    assert_eq!(cleaned, "removed 0 sandboxes, 0 images and 1 folders of earlier replays\n");
    let explained = folder.run(&format!("explain r.json {}", finding["id"].as_str().unwrap())).done();
    assert!(explained.contains("the runtime stopped answering"), "{explained}");
}

#[test]
fn a_runtime_that_is_restarted_is_gone_on_with() {
    let folder = Folder::new();
    record(&folder);
    let simulator = folder.simulator("r.sock", "");
    let replay = stopping(&folder, "--pace max --settle 50s");
    simulator.killed();
    let _simulator = folder.simulator("r.sock", "");
    let report: Value = serde_json::from_str(&replay.ended().with_code(1)).unwrap();
    let found = findings(&report);
    assert!(found.iter().any(|it| it.contains("Container outcome.code OK→UNAVAILABLE")), "{found:?}");
    assert!(!found.iter().any(|it| it.contains("gone")), "{found:?}");
    assert!(found[0].contains("OK→back"), "the restart comes first: {found:?}");
    assert_eq!(report["inconclusive"], serde_json::json!([]), "{report:#}");
    let version = "/runtime.v1.RuntimeService/Version";
    let compared = report["methods"].as_array().unwrap().iter().find(|it| it["method"] == version).unwrap();
    assert_eq!(compared["compared"], AFTER, "{report:#}");
}

/// At the recorded pace there is a minute and more left, which nobody waits for; and a stream of events, which breaks as well.
#[test]
fn nothing_is_waited_for_once_a_runtime_is_gone() {
    let folder = Folder::new();
    workload::record_of(&folder, "node.tape", "", |socket| {
        let (kubelet, subscriber) = (Kubelet::connect(socket), Kubelet::connect(socket));
        let _events = subscriber.events();
        kubelet.pull();
        let web = kubelet.run_pod("web");
        let id = kubelet.run_container(&web, "web", "job", "sleep 3");
        until("the container exits", || {
            (workload::status(&kubelet, &id).state() == v1::ContainerState::ContainerExited).then_some(())
        });
        kubelet.version();
    });
    let simulator = folder.simulator("r.sock", "");
    // Three seconds at this speed are five minutes, more than is waited for a program to end.
    let replay = stopping(&folder, "--speed 0.01 --every-poll --settle 500ms");
    simulator.killed();
    let report: Value = serde_json::from_str(&replay.ended().with_code(1)).unwrap();
    let found = findings(&report);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("outcome.code OK→gone"), "{found:?}");
    let (calls, reasons) = (&report["calls"], &report["inconclusive"]);
    assert_eq!(reasons.as_array().unwrap().len(), 1, "{reasons:#}");
    assert_eq!(reasons[0]["count"], calls["inconclusive"]);
    let judged = calls["compared"].as_u64().unwrap() + calls["inconclusive"].as_u64().unwrap();
    assert_eq!(judged, calls["recorded"].as_u64().unwrap(), "{report:#}");
}
