//! `critape replay` of a part of a tape: nothing is found on the runtime that was recorded, whatever part it is.

use std::collections::BTreeSet;

use cri::v1;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::workload;

const REPLAY: &str = "replay node.tape -r unix://DIR/r.sock --pace max --settle 200ms -o json";

/// A tape, and a runtime to replay it on.
struct Sliced {
    folder: Folder,
    calls: Vec<Value>,
    _simulator: crate::process::Process,
}

impl Sliced {
    fn of(record: impl FnOnce(&Folder)) -> Self {
        let folder = Folder::new();
        record(&folder);
        let calls = folder.json_lines("tape show node.tape -o json");
        let simulator = folder.simulator("r.sock", "");
        Self { folder, calls, _simulator: simulator }
    }

    /// The report on the part that this filter gives.
    #[track_caller]
    fn report(&self, filter: &str) -> Value {
        serde_json::from_str(&self.folder.run(&format!("{REPLAY} {filter}")).stdout).unwrap()
    }

    #[track_caller]
    fn assert_same(&self, filter: &str) {
        let report = self.report(filter);
        assert_eq!(report["findings"], Value::Array(Vec::new()), "{filter}");
        assert!(report["calls"]["compared"].as_u64() > Some(0), "{filter}: {}", report["calls"]);
    }

    /// When calls of this method began.
    fn times(&self, rpc: &str) -> Vec<&str> {
        let calls = self.calls.iter().filter(|call| call["method"].as_str().unwrap().ends_with(rpc));
        calls.map(|call| call["started"].as_str().unwrap()).collect()
    }
}

fn workload() -> Sliced {
    Sliced::of(|folder| workload::record(folder, "node.tape", ""))
}

/// Streams of events begin before the end of a slice and go on after it.
#[test]
fn what_came_after_the_end_of_a_slice_is_not_expected() {
    let sliced = workload();
    for rpc in ["StartContainer", "StopContainer", "StopPodSandbox", "RemoveContainer", "RemovePodSandbox"] {
        for time in sliced.times(rpc) {
            sliced.assert_same(&format!("--until {time}"));
            let report = sliced.report(&format!("--until {time}"));
            let before = sliced.calls.iter().filter(|call| call["started"].as_str().unwrap() < time);
            assert_eq!(report["calls"]["sent"], before.count(), "no call of later times goes along");
        }
    }
}

#[test]
fn what_came_before_a_slice_is_no_finding() {
    let sliced = workload();
    for rpc in ["CreateContainer", "StopContainer", "RemovePodSandbox"] {
        for time in sliced.times(rpc) {
            sliced.assert_same(&format!("--since {time}"));
        }
    }
}

/// Another client's calls are not sent, but for those that pull the images.
#[test]
fn what_other_connections_did_is_no_finding() {
    let sliced = workload();
    let connections: BTreeSet<u64> =
        sliced.calls.iter().filter_map(|call| call["connection"].as_u64()).collect();
    for connection in connections {
        sliced.assert_same(&format!("--connection {connection}"));
    }
    let runtime =
        sliced.calls.iter().find(|call| call["method"].as_str().unwrap().ends_with("/RunPodSandbox"));
    let report = sliced.report(&format!("--connection {}", runtime.unwrap()["connection"]));
    assert_eq!(report["verdict"], "same", "the containers are made: {}", report["inconclusive"]);
}

#[test]
fn what_other_methods_did_is_no_finding() {
    let sliced = workload();
    let methods: BTreeSet<&str> = sliced.calls.iter().filter_map(|call| call["method"].as_str()).collect();
    for method in methods {
        let report = sliced.report(&format!("--method {method}"));
        assert_eq!(report["verdict"], "same", "{method}: {}", report["inconclusive"]);
    }
}

/// One client makes a pod and looks at it, which another one stops and removes.
fn two_clients() -> Sliced {
    Sliced::of(|folder| {
        workload::record_of(folder, "node.tape", "", |socket| {
            let (one, other) = (Kubelet::connect(socket), Kubelet::connect(socket));
            one.pull();
            let pod = one.run_pod("web");
            let container = one.run_container(&pod, "web", "server", "sleep 600");
            let stop = v1::StopContainerRequest { container_id: container.clone(), timeout: 0 };
            other.ask::<v1::StopContainerResponse>("StopContainer", &stop);
            workload::status(&one, &container);
            let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: pod };
            other.ask::<v1::RemovePodSandboxResponse>("RemovePodSandbox", &remove);
            assert!(one.sandboxes().is_empty());
            // Of the same name.
            one.run_pod("web");
        });
    })
}

#[test]
fn what_another_client_did_to_the_same_things_goes_along() {
    let sliced = two_clients();
    let report = sliced.report("--connection 1");
    assert_eq!((&report["verdict"], &report["calls"]["inconclusive"]), (&"same".into(), &0.into()));
    assert_eq!(report["calls"]["compared"], sliced.calls.len());
    let report = sliced.report("--connection 2 --method StopContainer");
    assert_eq!((&report["verdict"], &report["calls"]["compared"]), (&"same".into(), &5.into()), "{report:#}");
}

/// And no more than the chosen calls follow from.
#[test]
fn what_goes_along_is_said() {
    let sliced = two_clients();
    let ended = sliced.folder.run(&format!("{REPLAY} --method StartContainer"));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["calls"]["sent"], 4, "an image, a pod, a container, and its start");
    let said = "note: 3 more calls go along, from which those that were chosen follow";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn a_list_of_one_pod_has_its_containers() {
    let folder = Folder::new();
    workload::record_of(&folder, "node.tape", "", |socket| {
        let kubelet = Kubelet::connect(socket);
        kubelet.pull();
        let [pod, _] = ["web", "job"].map(|name| {
            let pod = kubelet.run_pod(name);
            kubelet.run_container(&pod, name, "server", "sleep 600");
            pod
        });
        let filter = v1::ContainerFilter { pod_sandbox_id: pod, ..Default::default() };
        let asked = v1::ListContainersRequest { filter: Some(filter) };
        let listed: v1::ListContainersResponse = kubelet.ask("ListContainers", &asked);
        assert_eq!(listed.containers.len(), 1);
    });
    let _simulator = folder.simulator("r.sock", "--regression cri-o-7143");
    let report = folder.run(&format!("{REPLAY} --method ListContainers"));
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["findings"][0]["path"], "containers[].image_ref", "{report:#}");
    assert_eq!(report["calls"]["sent"], 5, "a pull, a pod, a container, its start, and the list");
}

/// What a slice's time leaves out is not sent.
#[test]
fn what_was_changed_before_a_slice_is_inconclusive() {
    let sliced = two_clients();
    let from = sliced.times("/StopContainer")[0];
    let report = sliced.report(&format!("--since {from}"));
    assert_eq!((&report["findings"], &report["calls"]["sent"]), (&Value::Array(Vec::new()), &2.into()));
    assert!(report["calls"]["inconclusive"].as_u64() > Some(0), "{report:#}");
}

/// What does not follow from what was left out is found in a part as in the whole.
#[test]
fn a_regression_is_found_in_a_part() {
    for (regression, filter) in [
        ("cri-dockerd-299", "--method ImageStatus"),
        ("cri-o-9846", "--pod job"),
        ("cri-o-9846", "--method ContainerStatus"),
        ("containerd-10527", "--method Stop*"),
        ("cri-o-6563", "--method ListPodSandboxStats"),
        ("cri-o-7143", "--method List*"),
    ] {
        let folder = Folder::new();
        workload::record(&folder, "node.tape", "");
        let _simulator = folder.simulator("r.sock", &format!("--regression {regression}"));
        let report: Value = serde_json::from_str(&folder.run(&format!("{REPLAY} {filter}")).stdout).unwrap();
        assert_eq!(report["verdict"], "different", "{regression}: {report:#}");
    }
}
