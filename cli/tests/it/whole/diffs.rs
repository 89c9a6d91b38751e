//! `critape diff`.

use cri::v1;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{Kubelet, container, create, pod};
use crate::process::until;
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

/// A list that sees a container's end in one run and comes before it in the other, while the rest goes on.
#[test]
fn an_element_of_a_list_may_come_to_its_end_a_little_later() {
    let folder = Folder::new();
    let exited = |kubelet: &Kubelet, id: &str| {
        let is_over = || workload::status(kubelet, id).state() == v1::ContainerState::ContainerExited;
        until("its end", || is_over().then_some(()));
    };
    let list = |kubelet: &Kubelet| {
        kubelet.ask::<v1::ListContainersResponse>("ListContainers", &v1::ListContainersRequest::default())
    };
    for (tape, looks_early) in [("late.tape", false), ("early.tape", true)] {
        workload::record_of(&folder, tape, "", |socket| {
            let kubelet = Kubelet::connect(socket);
            kubelet.pull();
            let pod = kubelet.run_pod("web");
            let job = kubelet.run_container(&pod, "web", "job", "sleep 0.2; exit 3");
            if !looks_early {
                exited(&kubelet, &job);
            }
            list(&kubelet);
            kubelet.run_container(&pod, "web", "server", "sleep 600");
            if looks_early {
                exited(&kubelet, &job);
            }
            list(&kubelet);
        });
    }
    let report = folder.json("diff late.tape early.tape -o json");
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert!(report["calls"]["settled"].as_u64() > Some(0), "{:#}", report["calls"]);
}

/// The label and the folder of a replay are its own: what it makes is what was replayed.
#[test]
fn recordings_of_replays_are_recordings_of_what_was_replayed() {
    let folder = Folder::new();
    // With folders of the host, which a replay moves into its own.
    workload::record_of(&folder, "node.tape", "", |socket| {
        let kubelet = Kubelet::connect(socket);
        kubelet.pull();
        let mut pod = pod("web");
        pod.log_directory = "/var/log/pods/default_web".to_owned();
        let run = v1::RunPodSandboxRequest { config: Some(pod.clone()), ..Default::default() };
        let id = kubelet.ask::<v1::RunPodSandboxResponse>("RunPodSandbox", &run).pod_sandbox_id;
        let mut config = container("app", "sleep 600");
        config.log_path = "app.log".to_owned();
        config.mounts = vec![v1::Mount {
            container_path: "/data".to_owned(),
            host_path: folder.path("data").display().to_string(),
            ..Default::default()
        }];
        std::fs::create_dir(folder.path("data")).unwrap();
        let asked = v1::CreateContainerRequest { sandbox_config: Some(pod), ..create(&id, "web", config) };
        let made = kubelet.ask::<v1::CreateContainerResponse>("CreateContainer", &asked).container_id;
        let status = v1::ContainerStatusRequest { container_id: made, verbose: false };
        kubelet.ask::<v1::ContainerStatusResponse>("ContainerStatus", &status);
        let stop = v1::StopPodSandboxRequest { pod_sandbox_id: id.clone() };
        kubelet.ask::<v1::StopPodSandboxResponse>("StopPodSandbox", &stop);
        let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: id };
        kubelet.ask::<v1::RemovePodSandboxResponse>("RemovePodSandbox", &remove);
        // Which is no error, but for a runtime that takes it for one.
        kubelet.ask::<v1::StopPodSandboxResponse>("StopPodSandbox", &stop);
    });
    let replay = |tape: &str, regression: &str| {
        workload::record_of(&folder, tape, regression, |_| {
            folder.run("replay node.tape -r unix://DIR/recorder.sock --pace max");
        });
    };
    replay("one.tape", "");
    replay("other.tape", "");
    for (one, other) in [("one.tape", "other.tape"), ("node.tape", "one.tape")] {
        let ended = folder.run(&format!("diff {one} {other} -o json"));
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let makers = |it: &Value| {
            let name = it["method"].as_str().unwrap();
            name.ends_with("/RunPodSandbox") || name.ends_with("/CreateContainer")
        };
        assert!(report["methods"].as_array().unwrap().iter().any(makers), "{report:#}");
        assert_eq!((&report["findings"], ended.code), (&serde_json::json!([]), Some(0)), "{report:#}");
    }
    replay("changed.tape", "--regression containerd-10527");
    folder.run("diff node.tape changed.tape -o json").with_code(1);
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
