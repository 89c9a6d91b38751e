//! Generations of CRI: a tape of one on a runtime of another.

use bytes::Bytes;
use cri::json::{Defaults, from_value, to_value};
use cri::{Generation, methods};
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::kubelet::{IMAGE, Kubelet};
use crate::process::{PATIENCE, until};
use crate::workload;

/// A client that speaks one generation, with messages of that generation's own schema.
struct Old {
    kubelet: Kubelet,
    generation: Generation,
}

impl Old {
    #[track_caller]
    fn ask(&self, rpc: &str, request: Value) -> Value {
        let method = methods().by_name(self.generation, rpc).unwrap();
        let request: Bytes = from_value(&method.input(), request).unwrap().encode_to_vec().into();
        let reply = self.kubelet.send(&method.path, request, PATIENCE).unwrap();
        to_value(&DynamicMessage::decode(method.output(), reply.message).unwrap(), Defaults::Printed)
    }

    /// Which of the node's namespaces are used, in the words of the generation.
    fn options(&self, host: bool) -> Value {
        let mode = if host { "NODE" } else { "POD" };
        match self.generation {
            Generation::V1Alpha1 => json!({"hostNetwork": host, "hostPid": false, "hostIpc": host}),
            _ => json!({"network": mode, "pid": "CONTAINER", "ipc": mode}),
        }
    }

    /// The life of a pod and its container; gives the status of each.
    fn pod(&self, name: &str, host: bool) -> (Value, Value) {
        let context = json!({"securityContext": {"namespaceOptions": self.options(host)}});
        let pod = json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-of-the-pod-{name}")},
            "labels": {"io.kubernetes.pod.uid": format!("uid-of-the-pod-{name}")},
            "linux": context,
        });
        let id = self.ask("RunPodSandbox", json!({"config": pod}))["podSandboxId"].clone();
        let sandbox = self.ask("PodSandboxStatus", json!({"podSandboxId": id}));
        let container = json!({
            "metadata": {"name": "server"},
            "image": {"image": IMAGE},
            "command": ["sleep", "600"],
            "linux": context,
        });
        let create = json!({"podSandboxId": id, "config": container, "sandboxConfig": pod});
        let server = self.ask("CreateContainer", create)["containerId"].clone();
        self.ask("StartContainer", json!({"containerId": server}));
        self.ask("ListPodSandbox", json!({}));
        self.ask("ListContainers", json!({"filter": {"podSandboxId": id}}));
        self.ask("ListContainerStats", json!({}));
        // Alone in its namespace it does not care about SIGTERM, and is killed a second later.
        self.ask("StopContainer", json!({"containerId": server, "timeout": "1"}));
        let status = until("the container exits", || {
            let status = self.ask("ContainerStatus", json!({"containerId": server}));
            (status["status"]["state"] == "CONTAINER_EXITED").then_some(status)
        });
        self.ask("StopPodSandbox", json!({"podSandboxId": id}));
        self.ask("RemoveContainer", json!({"containerId": server}));
        self.ask("RemovePodSandbox", json!({"podSandboxId": id}));
        (sandbox, status)
    }
}

/// Records what a kubelet of this generation does.
#[track_caller]
fn record(folder: &Folder, tape: &str, generation: Generation, simulator: &str) {
    workload::record_of(folder, tape, simulator, |socket| {
        let old = Old { kubelet: Kubelet::connect(socket), generation };
        let spoken = old.ask("Version", json!({"version": "0.1.0"}));
        let named = match generation {
            Generation::V1Alpha1 => "v1alpha1",
            Generation::V1Alpha2 => "v1alpha2",
            Generation::V1 => "v1",
        };
        assert_eq!(spoken["runtimeApiVersion"], named);
        old.ask("Status", json!({}));
        old.ask("PullImage", json!({"image": {"image": IMAGE}}));
        old.ask("ImageFsInfo", json!({}));
        old.ask("ListImages", json!({}));
        let (_, status) = old.pod("node", true);
        assert_eq!(status["status"]["exitCode"], 137);
        let (sandbox, _) = old.pod("own", false);
        let options = &sandbox["status"]["linux"]["namespaces"]["options"];
        let said = old.options(false);
        assert!(said.as_object().unwrap().iter().all(|(name, value)| options[name] == *value), "{options}");
    });
}

/// Replays a tape, and gives the report with what was sent, as a recorder in between saw it.
#[track_caller]
fn replay(folder: &Folder, tape: &str, simulator: &str) -> (Value, Vec<Value>) {
    let simulator = folder.simulator("r.sock", simulator);
    let between = format!("between-{tape}");
    let recorder = folder.recorder(&between, "r.sock", "b.sock", "--passive --seal none");
    let ended = folder.run(&format!("replay {tape} -r unix://DIR/b.sock --pace max -o json"));
    recorder.interrupted().done();
    simulator.interrupted().done();
    let sent = folder.json_lines(&format!("tape show {between} -o json"));
    std::fs::remove_dir_all(folder.path(&between)).unwrap();
    let report: Value = serde_json::from_str(&ended.stdout).expect(&ended.stderr);
    assert_eq!(ended.code, Some(i32::from(report["verdict"] != "same")), "{report:#}");
    (report, sent)
}

/// What each finding is.
fn found(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|it| [&it["method"], &it["path"], &it["kind"], &it["transition"]].map(text).join(" "))
        .collect()
}

fn all_compared(report: &Value) {
    assert_eq!(report["calls"]["compared"], report["calls"]["recorded"], "{:#}", report["inconclusive"]);
}

#[test]
fn v1alpha1_is_replayed_on_what_came_after_it() {
    let folder = Folder::new();
    record(&folder, "old.tape", Generation::V1Alpha1, "--variant v1alpha1");
    for (simulator, spoken) in [("", "runtime.v1"), ("--variant no-v1", "runtime.v1alpha2")] {
        let (report, sent) = replay(&folder, "old.tape", simulator);
        let gone = "/runtime.RuntimeService/Version outcome.code capability OK→UNIMPLEMENTED";
        assert_eq!(found(&report), [gone], "{report:#}");
        all_compared(&report);
        let sides = [&report["recorded"]["generation"], &report["live"]["generation"]];
        assert_eq!(sides, ["runtime", spoken]);
        let foreseen = report["preflight"].as_array().unwrap().iter();
        let foreseen: Vec<_> = foreseen.filter(|it| it["kind"] == "generation").collect();
        assert_eq!(foreseen.len(), 1, "{:#}", report["preflight"]);
        assert_eq!(foreseen[0]["calls"], report["calls"]["recorded"]);
        // The report names methods as they were recorded.
        let methods = report["methods"].as_array().unwrap();
        let prefix = |it: &Value| it["method"].as_str().unwrap().starts_with("/runtime.");
        assert!(methods.iter().all(|it| prefix(it) && !it["method"].as_str().unwrap().contains(".v1")));
        let path = format!("/{spoken}.RuntimeService/RunPodSandbox");
        let asked: Vec<&Value> = sent.iter().filter(|call| call["method"] == path).collect();
        let options = |call: &Value| {
            let options = &call["requests"][0]["config"]["linux"]["securityContext"]["namespaceOptions"];
            ["network", "pid", "ipc"].map(|name| options[name].as_str().unwrap().to_owned())
        };
        let asked: Vec<_> = asked.into_iter().map(options).collect();
        assert_eq!(asked, [["NODE", "CONTAINER", "NODE"], ["POD", "CONTAINER", "POD"]]);
    }
}

#[test]
fn v1alpha1_is_replayed_in_its_own_words_where_it_is_served() {
    let folder = Folder::new();
    record(&folder, "old.tape", Generation::V1Alpha1, "--variant v1alpha1");
    let (report, sent) = replay(&folder, "old.tape", "--variant v1alpha1");
    assert_eq!(found(&report), Vec::<String>::new());
    all_compared(&report);
    let run: Vec<&Value> =
        sent.iter().filter(|call| call["method"] == "/runtime.RuntimeService/RunPodSandbox").collect();
    let options = &run[0]["requests"][0]["config"]["linux"]["securityContext"]["namespaceOptions"];
    assert_eq!(options["hostNetwork"], true);
    assert_eq!(run.len(), 2);
}

/// What differs is found whatever the generation.
#[test]
fn a_regression_is_found_across_generations() {
    let folder = Folder::new();
    record(&folder, "old.tape", Generation::V1Alpha1, "--variant v1alpha1");
    let (report, _) = replay(&folder, "old.tape", "--regression containerd-12787");
    let image_id = "/runtime.RuntimeService/ContainerStatus status.image_id presence present→absent";
    assert!(found(&report).contains(&image_id.to_owned()), "{:#?}", found(&report));
    let evidence = report["findings"].as_array().unwrap().iter().find(|it| it["path"] == "status.image_id");
    let evidence = &evidence.unwrap()["evidence"];
    assert_eq!(evidence["recorded"]["method"], "/runtime.RuntimeService/ContainerStatus");
    assert_eq!(evidence["live"]["method"], "/runtime.v1.RuntimeService/ContainerStatus");
}

#[test]
fn v1_is_replayed_on_a_runtime_of_v1alpha2_and_back() {
    let folder = Folder::new();
    record(&folder, "new.tape", Generation::V1, "");
    let (report, _) = replay(&folder, "new.tape", "--variant no-v1");
    let gone = "/runtime.v1.RuntimeService/Version outcome.code capability OK→UNIMPLEMENTED";
    assert_eq!(found(&report), [gone], "{report:#}");
    all_compared(&report);
    record(&folder, "old.tape", Generation::V1Alpha2, "--variant no-v1");
    let (report, _) = replay(&folder, "old.tape", "--regression containerd-8276");
    let gone = "/runtime.v1alpha2.RuntimeService/Version outcome.code capability OK→UNIMPLEMENTED";
    assert_eq!(found(&report), [gone], "{report:#}");
    all_compared(&report);
    // v1alpha2 never had this field; a runtime of both generations sends it in either.
    let (report, _) = replay(&folder, "old.tape", "--regression containerd-12787");
    let image_id = "/runtime.v1alpha2.RuntimeService/ContainerStatus status.image_id presence present→absent";
    assert!(found(&report).contains(&image_id.to_owned()), "{:#?}", found(&report));
}

/// As on the first runtimes of CRI: cri-containerd, CRI-O up to 1.9.
#[test]
fn what_came_after_v1alpha1_is_replayed_on_it() {
    const ALONE: &str = "--variant v1alpha1 --variant no-v1 --variant no-v1alpha2";
    let folder = Folder::new();
    for (tape, generation) in [("two.tape", Generation::V1Alpha2), ("one.tape", Generation::V1)] {
        record(&folder, tape, generation, "");
        let (report, sent) = replay(&folder, tape, ALONE);
        let gone = format!("/{generation}.RuntimeService/Version outcome.code capability OK→UNIMPLEMENTED");
        assert_eq!(found(&report), [gone], "{report:#}");
        all_compared(&report);
        assert_eq!(report["live"]["generation"], "runtime");
        let run = sent.iter().filter(|call| call["method"] == "/runtime.RuntimeService/RunPodSandbox");
        let hosts: Vec<_> = run
            .map(|call| &call["requests"][0]["config"]["linux"]["securityContext"]["namespaceOptions"])
            .map(|options| ["hostNetwork", "hostPid", "hostIpc"].map(|name| options[name] == true))
            .collect();
        assert_eq!(hosts, [[true, false, true], [false, false, false]]);
    }
}

#[test]
fn recordings_of_different_generations_are_compared() {
    let folder = Folder::new();
    let tapes = [
        ("alpha1.tape", Generation::V1Alpha1, "--variant v1alpha1"),
        ("alpha2.tape", Generation::V1Alpha2, ""),
        ("one.tape", Generation::V1, ""),
        ("wrong.tape", Generation::V1, "--regression containerd-12787"),
    ];
    for (tape, generation, simulator) in tapes {
        record(&folder, tape, generation, simulator);
    }
    for (one, other) in [
        ("alpha1.tape", "one.tape"),
        ("one.tape", "alpha1.tape"),
        ("alpha1.tape", "alpha2.tape"),
        ("alpha2.tape", "one.tape"),
        ("alpha1.tape", "alpha1.tape"),
    ] {
        let report = folder.json(&format!("diff {one} {other} -o json"));
        assert_eq!(found(&report), Vec::<String>::new(), "{one} {other}");
        assert_eq!(report["calls"]["inconclusive"], 0, "{one} {other}: {:#}", report["inconclusive"]);
    }
    let report = folder.run("diff alpha1.tape wrong.tape -o json").with_code(1);
    let found = found(&serde_json::from_str(&report).unwrap());
    let image_id = "/runtime.RuntimeService/ContainerStatus status.image_id presence present→absent";
    assert!(found.contains(&image_id.to_owned()), "{found:#?}");
}
