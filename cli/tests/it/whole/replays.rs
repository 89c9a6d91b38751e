//! `critape replay`.

use std::collections::BTreeSet;
use std::fs;

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::until;
use crate::shape::shape;
use crate::workload;

/// The label of a replay's own sandboxes.
fn owned(folder: &Folder, socket: &str) -> usize {
    let sandboxes = Kubelet::connect(&folder.path(socket)).sandboxes();
    sandboxes.iter().filter(|sandbox| sandbox.labels.contains_key(critape_differ::OWNED_LABEL)).count()
}

#[test]
fn on_the_same_runtime_nothing_differs() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "");
    let before = folder.listing();
    let report = folder.json("replay node.tape -r unix://DIR/r.sock --pace max -o json");
    assert_eq!(report["verdict"], "same", "{:#}", report["findings"]);
    assert_eq!(report["findings"], serde_json::json!([]));
    let calls = folder.json("tape info node.tape -o json")["calls"].clone();
    let counts = &report["calls"];
    assert_eq!((&counts["recorded"], &counts["sent"], &counts["compared"]), (&calls, &calls, &calls));
    assert_eq!((&counts["inconclusive"], &counts["skipped"]), (&0.into(), &0.into()));
    assert_eq!(folder.listing(), before, "files of the replay are left behind");
    let direct = Kubelet::connect(&folder.path("r.sock"));
    assert_eq!(direct.sandboxes(), []);
    assert_eq!(direct.images().len(), 1, "the image that the replay pulled is left behind");
}

#[test]
fn at_every_pace_nothing_differs() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    for pace in ["--pace recorded", "--pace recorded --speed 4", "--pace serial"] {
        let _simulator = folder.simulator("r.sock", "");
        let replayed = folder.run(&format!("replay node.tape -r unix://DIR/r.sock {pace}"));
        assert_eq!(replayed.code, Some(0), "{pace}: {}", replayed.stdout);
    }
}

/// As kubelet's stream of events is whenever a recorder is stopped.
#[test]
fn a_stream_that_is_open_at_the_end_is_compared_as_far_as_it_goes() {
    let folder = Folder::new();
    workload::record_with_an_open_stream(&folder, "node.tape");
    let replay = |regression: &str| {
        let _simulator = folder.simulator("r.sock", regression);
        folder.run("replay node.tape -r unix://DIR/r.sock --pace max --settle 1s -o json")
    };
    let ended = replay("");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &report["verdict"]), (Some(0), &"same".into()), "{report:#}");
    assert_eq!(report["calls"]["compared"], report["calls"]["recorded"]);
    let report: Value = serde_json::from_str(&replay("--regression containerd-10122").with_code(1)).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["path"] == "pod_sandbox_status.created_at"), "{findings:#?}");
}

#[test]
#[allow(clippy::too_many_lines)]
fn the_report_has_the_promised_form() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator(
        "r.sock",
        "--regression containerd-10527 --regression containerd-12036 --regression cri-dockerd-299",
    );
    let replay = "replay node.tape -r unix://DIR/r.sock --pace max --settle 1s";
    let printed =
        folder.run(&format!("{replay} -o json --report report.json --report report.txt")).with_code(1);
    let mut report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&fs::read(folder.path("report.json")).unwrap()).unwrap(),
        report
    );
    let table = fs::read_to_string(folder.path("report.txt")).unwrap();
    assert!(table.contains("different: "), "{table}");
    for example in report["suppressed"]["examples"].as_array_mut().unwrap() {
        example["recorded"] = "(value)".into();
        example["live"] = "(value)".into();
    }
    for finding in report["findings"].as_array_mut().unwrap() {
        for example in finding["examples"].as_array_mut().unwrap() {
            example["recorded"] = "(value)".into();
            example["live"] = "(value)".into();
        }
        // docs/report.schema.json has the form of the rest, and another test holds reports against it.
        let finding = finding.as_object_mut().unwrap();
        finding.remove("evidence").unwrap();
        finding.remove("rule_text").unwrap();
        assert!((1..=5).contains(&finding["examples"].as_array().unwrap().len()));
    }
    for name in ["timeline", "methods", "timing"] {
        report.as_object_mut().unwrap().remove(name).unwrap();
    }
    assert_snapshot!(shape(&report), @r#"
    {
      "baseline": "null",
      "calls": {
        "collapsed": "integer",
        "compared": "integer",
        "inconclusive": "integer",
        "recorded": "integer",
        "sent": "integer",
        "settled": "integer",
        "skipped": "integer"
      },
      "evidence_left_out": "integer",
      "findings": [
        {
          "accepted": "null",
          "consequence": "string",
          "count": "integer",
          "examples": [
            {
              "about": "string",
              "at": "time",
              "live": "string",
              "live_call": "null",
              "recorded": "string",
              "recorded_call": "integer"
            }
          ],
          "id": "string",
          "kind": "string",
          "known": "null",
          "method": "string",
          "path": "string",
          "rule": "string",
          "severity": "string",
          "summary": "string",
          "transition": "null or string"
        }
      ],
      "inconclusive": [],
      "live": {
        "endpoint": "string",
        "generation": "string",
        "runtime": "string",
        "version": "string"
      },
      "options": [
        "string"
      ],
      "preflight": [
        {
          "calls": "integer",
          "effect": "string",
          "first_call": "integer",
          "kind": "string",
          "summary": "string"
        }
      ],
      "recorded": {
        "generation": "string",
        "runtime": "string",
        "tape": "string",
        "version": "string"
      },
      "skipped": [],
      "suppressed": {
        "count": "integer",
        "examples": [
          {
            "call": "integer",
            "live": "string",
            "method": "string",
            "path": "string",
            "recorded": "string",
            "rule": "string"
          }
        ],
        "rules": [
          {
            "count": "integer",
            "rule": "string"
          }
        ]
      },
      "verdict": "string",
      "version": "integer"
    }
    "#);
    assert_eq!(report["version"], 1);
    assert_eq!(report["verdict"], "different");
    assert_eq!(report["recorded"]["generation"], "runtime.v1");
}

/// A regression, and a finding that tells it: RPC, path, transition.
const REGRESSIONS: [(&str, &str, &str, Option<&str>); 20] = [
    ("containerd-10013", "ListPodSandboxStats", "outcome.code", Some("OK→NOT_FOUND")),
    ("containerd-10122", "PodSandboxStatus", "status.created_at", None),
    ("containerd-10527", "StopContainer", "outcome.code", Some("OK→NOT_FOUND")),
    ("containerd-10670", "ListContainerStats", "stats[].cpu.usage_nano_cores.value", None),
    ("containerd-12036", "Status", "runtime_handlers[]", None),
    ("containerd-12787", "ContainerStatus", "status.image_id", Some("present→absent")),
    ("containerd-13455", "CreateContainer", "outcome.code", Some("OK→INTERNAL")),
    ("containerd-13668", "CreateContainer", "outcome.code", Some("UNKNOWN→OK")),
    ("containerd-7318", "GetContainerEvents", "events", None),
    ("containerd-8276", "Version", "outcome.code", Some("OK→UNIMPLEMENTED")),
    ("containerd-9819", "Status", "status.conditions[]", Some("absent→present")),
    ("cri-dockerd-218", "ImageFsInfo", "image_filesystems[].timestamp", None),
    ("cri-dockerd-293", "ListPodSandboxStats", "outcome.code", Some("OK→UNKNOWN")),
    ("cri-dockerd-299", "ImageStatus", "image.size", None),
    ("cri-o-6563", "ListPodSandboxStats", "stats[].linux.containers[]", Some("present→absent")),
    ("cri-o-8240", "ListContainerStats", "stats[]", Some("absent→present")),
    ("cri-o-8582", "PodSandboxStatus", "status.created_at", None),
    ("cri-o-9663", "GetContainerEvents", "containers_statuses[].image", Some("present→absent")),
    ("cri-o-9728", "PullImage", "image_ref", None),
    ("cri-o-9846", "ContainerStatus", "status.exit_code", None),
];

#[test]
fn each_regression_is_found_where_it_is() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let listed = folder.json("simulator --list-regressions -o json");
    let offered: BTreeSet<&str> =
        listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(REGRESSIONS.iter().all(|(regression, ..)| offered.contains(regression)), "{offered:?}");
    let mut missed = Vec::new();
    for (regression, rpc, path, transition) in REGRESSIONS {
        let _simulator = folder.simulator("r.sock", &format!("--regression {regression}"));
        let ended = folder.run("replay node.tape -r unix://DIR/r.sock --pace max --settle 1s -o json");
        let report: Value = serde_json::from_str(&ended.stdout).expect(&ended.stderr);
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().any(|finding| {
            finding["method"].as_str().unwrap().ends_with(&format!("/{rpc}"))
                && finding["path"] == path
                && finding["transition"].as_str() == transition
        });
        if !found || ended.code != Some(1) {
            let others =
                findings.iter().map(|it| format!("{} {} {}", it["method"], it["path"], it["transition"]));
            missed.push(format!("{regression}: exit {:?}, {:?}", ended.code, others.collect::<Vec<_>>()));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// The name of a finding is the same from run to run.
#[test]
fn findings_keep_their_ids() {
    let folder = Folder::new();
    workload::record(&folder, "one.tape", "");
    workload::record(&folder, "other.tape", "");
    let ids = |tape: &str| {
        let _simulator =
            folder.simulator("r.sock", "--regression containerd-10527 --regression cri-dockerd-299");
        let report =
            folder.run(&format!("replay {tape} -r unix://DIR/r.sock --pace max -o json")).with_code(1);
        let report: Value = serde_json::from_str(&report).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        findings.map(|finding| finding["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(ids("one.tape"), ids("other.tape"));
}

#[test]
fn one_that_is_interrupted_removes_what_it_made() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = Folder::new();
        workload::record_of(&folder, "node.tape", "", |socket| {
            let kubelet = Kubelet::connect(socket);
            kubelet.run_pod("web");
            kubelet.version();
        });
        let _simulator = folder.simulator("r.sock", "");
        let before = folder.listing();
        // The first call is due at once, and the second after hours.
        let replay = folder.start("replay node.tape -r unix://DIR/r.sock --speed 0.0000001");
        until("a sandbox of the replay", || (owned(&folder, "r.sock") > 0).then_some(()));
        replay.signal(signal);
        let ended = replay.ended();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{}", ended.stderr);
        assert_eq!(ended.stderr, "interrupted: 1 sandboxes of the replay were removed\n");
        assert_eq!(Kubelet::connect(&folder.path("r.sock")).sandboxes(), []);
        assert_eq!(folder.listing(), before, "files of the replay are left behind");
    }
}

/// A runtime that takes the connection and says nothing.
#[test]
fn one_that_is_interrupted_before_the_first_call_ends_at_once() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let silent = std::os::unix::net::UnixListener::bind(folder.path("r.sock")).unwrap();
    silent.set_nonblocking(true).unwrap();
    let replay = folder.start("replay node.tape -r unix://DIR/r.sock");
    let _connection = until("the replay connects", || silent.accept().ok());
    let ended = replay.interrupted();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{}", ended.stderr);
}

#[test]
fn sandboxes_of_others_are_in_the_way_unless_shared() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "");
    let direct = Kubelet::connect(&folder.path("r.sock"));
    let theirs = direct.run_pod("theirs");
    let replay = "replay node.tape -r unix://DIR/r.sock --pace max";
    assert_snapshot!(
        folder.refused(replay),
        @"error: the runtime has 1 ready sandboxes that others use, such as default/theirs: replay on a runtime of its own, or add --share"
    );
    folder.run(&format!("{replay} --share")).done();
    let left: Vec<_> = direct.sandboxes().into_iter().map(|sandbox| sandbox.id).collect();
    assert_eq!(left, [theirs]);
}

/// Answers that were not kept can't be compared.
#[test]
fn too_little_that_can_be_compared_is_inconclusive() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--memory 1");
    Kubelet::connect(&folder.path("l.sock")).pull();
    recorder.interrupted().done();
    simulator.interrupted().done();
    let _simulator = folder.simulator("r.sock", "");
    let replay = "replay node.tape -r unix://DIR/r.sock --pace max -o json";
    let report: Value = serde_json::from_str(&folder.run(replay).with_code(2)).unwrap();
    assert_eq!((&report["verdict"], &report["calls"]["inconclusive"]), (&"inconclusive".into(), &1.into()));
    folder.run(&format!("{replay} --max-inconclusive 100%")).done();
}

/// A user's rule comes before the standard ones, and the report names it.
#[test]
fn a_rule_of_the_users_lets_a_difference_pass() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "--regression cri-dockerd-299");
    folder.write(
        "rules.toml",
        "[[rule]]\nname = \"sizes\"\npath = [\"image.size\", \"images[].size\"]\nrelation = \"ignore\"\n\
         reason = \"this runtime gives none\"\n",
    );
    let report = folder.json("replay node.tape -r unix://DIR/r.sock --pace max --rules rules.toml -o json");
    let rules = report["suppressed"]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|it| it["rule"] == "sizes"), "{rules:?}");
}

/// Images are another service, which may be on another socket.
#[test]
fn images_are_asked_of_their_own_endpoint() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let runtime = folder.simulator("r.sock", "");
    let images = folder.simulator("i.sock", "");
    let replay = "replay node.tape -r unix://DIR/r.sock -i unix://DIR/i.sock --pace max";
    let ended = folder.run(replay);
    let served = images.interrupted().stderr;
    assert!(
        ended.code == Some(3) || !served.contains("served 0 calls"),
        "-i is offered, and neither refused nor used: {served}"
    );
    drop(runtime);
}

/// The rest of the report is there even where a file of it can't be written.
#[test]
fn the_report_is_printed_where_its_file_can_not_be_written() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let _simulator = folder.simulator("r.sock", "");
    std::os::unix::fs::symlink("/dev/full", folder.path("report.json")).unwrap();
    let ended = folder.run("replay node.tape -r unix://DIR/r.sock --report report.json");
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("same: 0 divergences") || ended.stdout.is_empty());
    assert!(!ended.stdout.is_empty(), "an hour's replay would be lost: {}", ended.stderr);
}
