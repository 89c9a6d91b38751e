//! `critape tape show` and `critape tape list`.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{Kubelet, path};
use crate::process::until;
use crate::workload;

/// The tape of the workload.
struct Shown {
    folder: Folder,
    calls: Vec<Value>,
}

impl Shown {
    fn new() -> Self {
        let folder = Folder::new();
        workload::record(&folder, "node.tape", "");
        let calls = folder.json_lines("tape show node.tape -o json");
        Self { folder, calls }
    }

    #[track_caller]
    fn filtered(&self, filter: &str) -> Vec<Value> {
        self.folder.json_lines(&format!("tape show node.tape -o json {filter}"))
    }

    /// The calls of which this holds, which the filter is to give.
    #[track_caller]
    fn assert(&self, filter: &str, holds: impl Fn(&Value) -> bool) {
        let expected: Vec<_> = self.calls.iter().filter(|call| holds(call)).cloned().collect();
        assert!(!expected.is_empty() && expected.len() < self.calls.len(), "{filter} tells nothing apart");
        let filtered = self.filtered(filter);
        let ids =
            |calls: &[Value]| calls.iter().map(|call| call["id"].to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(ids(&filtered), ids(&expected), "{filter}");
        assert!(filtered == expected);
    }
}

fn rpc(call: &Value) -> &str {
    call["method"].as_str().unwrap().rsplit('/').next().unwrap()
}

#[test]
fn filters_by_method() {
    let shown = Shown::new();
    shown.assert("--method RunPodSandbox", |call| rpc(call) == "RunPodSandbox");
    shown.assert("--method Run*", |call| rpc(call).starts_with("Run"));
    shown.assert("--method *Container", |call| rpc(call).ends_with("Container"));
    let pull = path("PullImage");
    shown.assert(&format!("--method {pull}"), |call| call["method"] == pull.as_str());
    shown.assert("--method /runtime.v1.ImageService/*", |call| {
        call["method"].as_str().unwrap().starts_with("/runtime.v1.ImageService/")
    });
    assert_eq!(shown.filtered("--method Attach"), Vec::<Value>::new());
}

#[test]
fn filters_by_status() {
    let shown = Shown::new();
    shown.assert("--status OK", |call| call["outcome"]["code"] == "OK");
    shown.assert("--status NOT_FOUND", |call| call["outcome"]["code"] == "NOT_FOUND");
    assert_eq!(shown.filtered("--status NotFound").len(), 2);
    assert_eq!(shown.filtered("--status DATA_LOSS"), Vec::<Value>::new());
}

#[test]
fn filters_by_pod_and_container() {
    let shown = Shown::new();
    let web = shown.filtered("--pod web");
    let web = rpcs(&web);
    for rpc in [
        "RunPodSandbox",
        "CreateContainer",
        "StartContainer",
        "ContainerStatus",
        "ExecSync",
        "StopContainer",
        "RemoveContainer",
        "StopPodSandbox",
        "PodSandboxStatus",
        "RemovePodSandbox",
    ] {
        assert!(web.contains(rpc), "{rpc} is about the pod web, and these are shown: {web:?}");
    }
    for other in ["Version", "Status", "PullImage", "ImageStatus"] {
        assert!(!web.contains(other), "{other} is not about a pod");
    }
    let ids = |filter: &str| shown.filtered(filter).iter().map(|call| call["id"].as_u64().unwrap()).collect();
    let (web, job): (BTreeSet<u64>, BTreeSet<u64>) = (ids("--pod web"), ids("--pod job"));
    let server: BTreeSet<u64> = ids("--container server");
    assert!(server.is_subset(&web) && server.len() < web.len());
    assert!(!job.is_empty() && ids("--container quick").is_subset(&job));
    assert_eq!(ids("--pod web --container quick"), BTreeSet::new());
    assert_eq!(ids("--pod absent"), BTreeSet::new());
}

fn rpcs(calls: &[Value]) -> BTreeSet<&str> {
    calls.iter().map(rpc).collect()
}

#[test]
fn filters_by_connection() {
    let shown = Shown::new();
    shown.assert("--connection 1", |call| call["connection"] == 1);
    shown.assert("--connection 2", |call| call["connection"] == 2);
    assert_eq!(shown.filtered("--connection 99"), Vec::<Value>::new());
}

#[test]
fn filters_by_time() {
    let shown = Shown::new();
    let middle = shown.calls[shown.calls.len() / 2]["started"].as_str().unwrap().to_owned();
    shown.assert(&format!("--since {middle}"), |call| call["started"].as_str() >= Some(&middle));
    shown.assert(&format!("--until {middle}"), |call| call["started"].as_str() < Some(&middle));
    assert_eq!(shown.filtered("--since 1h").len(), shown.calls.len());
    assert_eq!(shown.filtered("--until 1h"), Vec::<Value>::new());
    assert_eq!(shown.filtered(&format!("--since {middle} --until {middle}")), Vec::<Value>::new());
}

#[test]
fn filters_narrow_each_other() {
    let shown = Shown::new();
    shown.assert("--status NOT_FOUND --connection 2", |call| {
        call["outcome"]["code"] == "NOT_FOUND" && rpc(call) == "PullImage"
    });
}

#[test]
fn one_call_in_full() {
    let shown = Shown::new();
    for call in &shown.calls {
        let id = &call["id"];
        assert_eq!(&shown.folder.json(&format!("tape show node.tape {id}")), call);
    }
    assert_eq!(shown.folder.json("tape show node.tape 1 -o json"), shown.calls[0]);
}

#[test]
fn the_table_has_a_line_for_each_call() {
    let folder = Folder::new();
    workload::record_of(&folder, "node.tape", "", |socket| {
        let kubelet = Kubelet::connect(socket);
        kubelet.version();
        kubelet.run_pod("web");
        let absent = cri::v1::ContainerStatusRequest { container_id: "absent".to_owned(), verbose: false };
        kubelet.call("ContainerStatus", &absent).unwrap_err();
    });
    let table = folder.run("tape show node.tape").done();
    // Times, durations and the name of this binary are another's.
    let columns = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kept = words.iter().enumerate().filter(|(at, _)| ![1, 2, words.len() - 1].contains(at));
        kept.map(|(_, word)| *word).collect::<Vec<_>>().join("  ")
    };
    assert_snapshot!(table.lines().map(columns).collect::<Vec<_>>().join("\n"), @r"
    CALL  METHOD  OBJECT  OUTCOME
    1  Version  OK
    2  RunPodSandbox  default/web  OK
    3  ContainerStatus  NOT_FOUND
    ");
}

#[test]
fn tapes_of_a_folder_are_listed() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("tapes")).unwrap();
    assert_eq!(folder.json("tape list tapes -o json"), serde_json::json!([]));
    workload::record_briefly(&folder, "tapes/one.tape");
    std::fs::create_dir(folder.path("tapes/other")).unwrap();
    let writer = folder.recorder("tapes/two.tape", "absent.sock", "l.sock", "");
    let listed = folder.json("tape list tapes -o json");
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], folder.json("tape info tapes/one.tape -o json"));
    assert_eq!((&listed[1]["tape"], &listed[1]["open"]), (&"tapes/two.tape".into(), &true.into()));
    let table = folder.run("tape list tapes").done();
    assert_eq!(table.lines().count(), 2);
    assert!(table.ends_with("being written\n"), "{table}");
    writer.interrupted().done();
}

#[test]
fn a_tape_is_followed_while_it_is_written() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let follower = folder.start("tape show node.tape --follow -o json --method ListPodSandbox");
    workload::drive(&folder.path("l.sock"));
    // It can be looked at meanwhile too.
    let recorded = until("the calls are committed", || {
        let calls = folder.json_lines("tape show node.tape -o json --method ListPodSandbox");
        (!calls.is_empty()).then_some(calls)
    });
    let info = folder.json("tape info node.tape -o json");
    assert_eq!((&info["open"], &info["clean"]), (&true.into(), &true.into()));
    folder.run("tape verify node.tape").done();
    let id = |call: &Value| call["id"].as_u64().unwrap();
    until("the follower has shown them", || {
        let stdout = follower.stdout();
        let shown = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let shown: BTreeSet<u64> = shown.map(|call| id(&call)).collect();
        recorded.iter().all(|call| shown.contains(&id(call))).then_some(())
    });
    recorder.interrupted().done();
    // With the recorder, the tape has come to its end.
    let shown = follower.ended().done();
    let all = folder.json_lines("tape show node.tape -o json --method ListPodSandbox");
    assert_eq!(shown.lines().count(), all.len());
}

#[test]
fn the_graph_of_a_tape_tells_who_made_what_and_who_named_it() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let text = folder.run("tape graph node.tape").done();
    assert!(text.contains("    as StartContainer.container_id ×"), "{text}");
    assert!(text.contains("default/web/server"), "{text}");
    let dot = folder.run("tape graph node.tape -o dot").done();
    assert!(dot.starts_with("digraph tape {") && dot.contains("[label=\"pod_sandbox_id\"]"), "{dot}");
    let things = folder.json("tape graph node.tape -o json");
    let made = |kind: &str| {
        things.as_array().unwrap().iter().filter(|it| it["kind"] == kind && it["made_by"].is_u64()).count()
    };
    assert_eq!((made("sandbox"), made("container")), (2, 3));
}
