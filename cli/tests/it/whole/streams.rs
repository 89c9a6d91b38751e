//! Lists that are streamed on one side and whole on the other, and streams of events that end on one side only.

use cri::v1;
use serde_json::Value;
use tonic::Code;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::workload;

/// The streams of a kubelet that has them, and the list of each.
const LISTS: [(&str, &str); 5] = [
    ("StreamPodSandboxes", "ListPodSandbox"),
    ("StreamContainers", "ListContainers"),
    ("StreamContainerStats", "ListContainerStats"),
    ("StreamPodSandboxStats", "ListPodSandboxStats"),
    ("StreamImages", "ListImages"),
];

/// How a kubelet asks for lists.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Whole,
    /// As a stream, and the whole list from then on where that is not served.
    Streamed,
}

/// Three pods, and all lists of them, twice.
fn drive(kubelet: &Kubelet, form: Form) {
    kubelet.version();
    kubelet.pull();
    let pods: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let pod = kubelet.run_pod(name);
            (kubelet.run_container(&pod, name, name, "sleep 600"), pod)
        })
        .into();
    let app = [("app".to_owned(), "a".to_owned())].into();
    let only_a = v1::ListContainerStatsRequest {
        filter: Some(v1::ContainerStatsFilter { label_selector: app, ..Default::default() }),
    };
    let mut refused = Vec::new();
    for _ in 0..2 {
        for (stream, list) in LISTS {
            let streams = form == Form::Streamed && !refused.contains(&stream);
            // A filter where it is wanted; all of these requests have it in their first field.
            let all = v1::ListContainerStatsRequest::default();
            let request = if list == "ListContainerStats" { only_a.clone() } else { all };
            let streamed = streams.then(|| kubelet.stream(stream, &request));
            match streamed {
                Some(Ok(messages)) => assert!(!messages.is_empty()),
                Some(Err(status)) => {
                    assert_eq!(status.code(), Code::Unimplemented);
                    refused.push(stream);
                    kubelet.call(list, &request).unwrap();
                }
                None => drop(kubelet.call(list, &request).unwrap()),
            }
        }
    }
    for (container, pod) in pods {
        let stop = v1::StopContainerRequest { container_id: container.clone(), timeout: 0 };
        kubelet.ask::<v1::StopContainerResponse>("StopContainer", &stop);
        let stop = v1::StopPodSandboxRequest { pod_sandbox_id: pod.clone() };
        kubelet.ask::<v1::StopPodSandboxResponse>("StopPodSandbox", &stop);
        let remove = v1::RemoveContainerRequest { container_id: container };
        kubelet.ask::<v1::RemoveContainerResponse>("RemoveContainer", &remove);
        let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: pod };
        kubelet.ask::<v1::RemovePodSandboxResponse>("RemovePodSandbox", &remove);
    }
}

#[track_caller]
fn record(folder: &Folder, tape: &str, simulator: &str, form: Form) {
    workload::record_of(folder, tape, simulator, |socket| drive(&Kubelet::connect(socket), form));
}

/// Replays a tape on a simulator of its own.
#[track_caller]
fn replay(folder: &Folder, tape: &str, simulator: &str) -> Value {
    let _simulator = folder.simulator("r.sock", simulator);
    let ended = folder.run(&format!("replay {tape} -r unix://DIR/r.sock --pace max --settle 1s -o json"));
    judged(&ended.stdout, ended.code)
}

#[track_caller]
fn diff(folder: &Folder, one: &str, other: &str) -> Value {
    let ended = folder.run(&format!("diff {one} {other} -o json"));
    judged(&ended.stdout, ended.code)
}

#[track_caller]
fn judged(stdout: &str, code: Option<i32>) -> Value {
    let report: Value = serde_json::from_str(stdout).unwrap();
    assert_eq!(code, Some(i32::from(report["verdict"] != "same")), "{report:#}");
    report
}

/// What each finding is, and how often it was met.
fn found(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    let mut found: Vec<String> = findings
        .map(|it| {
            let rpc = text(&it["method"]).rsplit('/').next().unwrap().to_owned();
            let rest = [&it["path"], &it["kind"], &it["transition"]].map(text).join(" ");
            format!("{rpc} {rest} {}", it["count"])
        })
        .collect();
    found.sort();
    found
}

/// One finding for each of the streams.
fn capabilities(transition: &str, count: u64) -> Vec<String> {
    let mut found: Vec<String> =
        LISTS.map(|(stream, _)| format!("{stream} outcome.code capability {transition} {count}")).into();
    found.sort();
    found
}

fn passed(report: &Value, rule: &str) -> u64 {
    let rules = report["suppressed"]["rules"].as_array().unwrap();
    rules.iter().find(|it| it["rule"] == rule).map_or(0, |it| it["count"].as_u64().unwrap())
}

#[test]
fn streamed_lists_are_the_same_however_they_are_cut() {
    let folder = Folder::new();
    record(&folder, "streamed.tape", "--variant streamed-lists", Form::Streamed);
    let report = replay(&folder, "streamed.tape", "--variant streamed-lists");
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!(report["calls"]["compared"], report["calls"]["recorded"]);
    let report = diff(&folder, "streamed.tape", "streamed.tape");
    assert_eq!(found(&report), Vec::<String>::new());
}

#[test]
fn where_streams_are_not_served_lists_are_asked_for() {
    let folder = Folder::new();
    record(&folder, "streamed.tape", "--variant streamed-lists", Form::Streamed);
    let report = replay(&folder, "streamed.tape", "");
    assert_eq!(found(&report), capabilities("OK→UNIMPLEMENTED", 2), "{report:#}");
    assert_eq!(report["calls"]["compared"], report["calls"]["recorded"]);
    assert!(report["findings"].as_array().unwrap().iter().all(|it| it["severity"] == "behaviour"));
    // The lists are compared all the same, as those that kubelet gets.
    let report = replay(&folder, "streamed.tape", "--regression cri-o-8240 --regression cri-dockerd-299");
    let found = found(&report);
    let lists = found.iter().filter(|it| it.starts_with("List")).map(String::as_str).collect::<Vec<_>>();
    let expected =
        ["ListContainerStats stats[] presence absent→present 4", "ListImages images[].size value  4"];
    assert_eq!(lists, expected, "{found:#?}");
    assert_eq!(found.len(), LISTS.len() + expected.len(), "{found:#?}");
}

/// And back: the recorded kubelet fell back, and this runtime serves what it asked for first.
#[test]
fn where_streams_are_served_that_were_not_that_is_all() {
    let folder = Folder::new();
    record(&folder, "fallback.tape", "", Form::Streamed);
    let report = replay(&folder, "fallback.tape", "");
    assert_eq!(found(&report), Vec::<String>::new());
    let report = replay(&folder, "fallback.tape", "--variant streamed-lists");
    assert_eq!(found(&report), capabilities("UNIMPLEMENTED→OK", 1), "{report:#}");
    assert_eq!(report["calls"]["compared"], report["calls"]["recorded"]);
}

#[test]
fn recordings_of_kubelets_that_ask_in_different_forms_are_compared() {
    let folder = Folder::new();
    record(&folder, "whole.tape", "", Form::Whole);
    record(&folder, "fallback.tape", "", Form::Streamed);
    record(&folder, "streamed.tape", "--variant streamed-lists", Form::Streamed);
    record(&folder, "wrong.tape", "--variant streamed-lists --regression cri-o-8240", Form::Streamed);
    for (one, other) in [("whole.tape", "streamed.tape"), ("streamed.tape", "whole.tape")] {
        let report = diff(&folder, one, other);
        assert_eq!(found(&report), Vec::<String>::new(), "{one} {other}");
        assert_eq!(passed(&report, "list-or-stream"), 10);
        let examples = report["suppressed"]["examples"].as_array().unwrap();
        let forms = examples.iter().filter(|it| it["rule"] == "list-or-stream").count();
        assert_eq!(forms, LISTS.len(), "each list is named once");
        assert_eq!(report["calls"]["compared"], report["calls"]["recorded"], "{:#}", report["inconclusive"]);
    }
    for (one, other) in [("whole.tape", "fallback.tape"), ("fallback.tape", "whole.tape")] {
        let report = diff(&folder, one, other);
        assert_eq!(found(&report), Vec::<String>::new(), "{one} {other}");
        assert_eq!((&report["calls"]["inconclusive"], passed(&report, "list-or-stream")), (&0.into(), 0));
    }
    let report = diff(&folder, "fallback.tape", "streamed.tape");
    assert_eq!(found(&report), capabilities("UNIMPLEMENTED→OK", 1));
    let report = diff(&folder, "streamed.tape", "fallback.tape");
    assert_eq!(found(&report), capabilities("OK→UNIMPLEMENTED", 1));
    let report = diff(&folder, "whole.tape", "wrong.tape");
    assert_eq!(found(&report), ["ListContainerStats stats[] presence absent→present 4"]);
}

/// Who made what, and which pod a call is about, is told from streamed lists, too.
#[test]
fn a_slice_of_a_tape_with_streams_is_replayed() {
    let folder = Folder::new();
    record(&folder, "streamed.tape", "--variant streamed-lists", Form::Streamed);
    let _simulator = folder.simulator("r.sock", "--variant streamed-lists");
    let replay = "replay streamed.tape -r unix://DIR/r.sock --pace max -o json";
    let report = folder.json(&format!("{replay} --method Stream*"));
    assert_eq!(report["verdict"], "same", "{:#}", report["findings"]);
    let streams = folder.json_lines("tape show streamed.tape --method Stream* -o json");
    assert!(
        report["calls"]["compared"].as_u64().unwrap() > streams.len() as u64,
        "what they show goes along"
    );
    assert_eq!(report["calls"]["compared"], report["calls"]["recorded"]);
    let report = folder.json(&format!("{replay} --pod b"));
    assert_eq!(report["verdict"], "same", "{:#}", report["findings"]);
}

/// As a runtime has it that serves no events, CRI-O without `enable_pod_events`.
fn record_events_that_end(folder: &Folder, tape: &str) {
    workload::record_of(folder, tape, "--variant no-pod-events", |socket| {
        let (kubelet, watcher) = (Kubelet::connect(socket), Kubelet::connect(socket));
        assert!(watcher.events().next().unwrap().is_none());
        // Kubelet tries again.
        assert!(watcher.events().next().unwrap().is_none());
        let pod = kubelet.run_pod("web");
        let stop = v1::StopPodSandboxRequest { pod_sandbox_id: pod.clone() };
        kubelet.ask::<v1::StopPodSandboxResponse>("StopPodSandbox", &stop);
        let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: pod };
        kubelet.ask::<v1::RemovePodSandboxResponse>("RemovePodSandbox", &remove);
    });
}

#[test]
fn events_that_end_at_once_on_one_side_are_a_capability() {
    let folder = Folder::new();
    workload::record_with_an_open_stream(&folder, "open.tape");
    record_events_that_end(&folder, "ended.tape");
    let open = |count: u64| format!("GetContainerEvents events capability open→OK {count}");
    let ended = |count: u64| format!("GetContainerEvents events capability OK→open {count}");
    assert_eq!(found(&replay(&folder, "open.tape", "--variant no-pod-events")), [open(1)]);
    assert_eq!(found(&replay(&folder, "ended.tape", "")), [ended(2)]);
    assert_eq!(found(&replay(&folder, "ended.tape", "--variant no-pod-events")), Vec::<String>::new());
    assert_eq!(found(&diff(&folder, "open.tape", "ended.tape")), [open(1)]);
    assert_eq!(found(&diff(&folder, "ended.tape", "open.tape")), [ended(1)]);
    assert_eq!(found(&diff(&folder, "ended.tape", "ended.tape")), Vec::<String>::new());
}
