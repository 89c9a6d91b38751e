//! The forms of a report, `critape explain`, and baselines.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use boon::{Compiler, Schemas};
use cri::v1;
use insta::assert_snapshot;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{Kubelet, container, create};
use crate::process::Ended;
use crate::workload;

const REPLAY: &str = "replay node.tape -r unix://DIR/r.sock --pace max --settle 1s";
const SECRET: &str = "correct-horse-battery";

/// Replays the workload on a simulator with two regressions.
fn replayed(folder: &Folder, more: &str) -> Ended {
    if !folder.path("node.tape").exists() {
        workload::record(folder, "node.tape", "");
    }
    let _simulator = folder.simulator("r.sock", "--regression containerd-10527 --regression cri-dockerd-299");
    folder.run(&format!("{REPLAY} {more}"))
}

fn read(folder: &Folder, name: &str) -> String {
    fs::read_to_string(folder.path(name)).unwrap()
}

fn json(folder: &Folder, name: &str) -> Value {
    serde_json::from_str(&read(folder, name)).unwrap()
}

/// The finding of this RPC at this path.
fn finding(report: &Value, rpc: &str, path: &str) -> Value {
    let findings = report["findings"].as_array().unwrap();
    let is = |it: &&Value| it["method"].as_str().unwrap().ends_with(rpc) && it["path"] == path;
    findings.iter().find(is).unwrap_or_else(|| panic!("no finding of {rpc}")).clone()
}

/// Says what is wrong with a document; nothing that is not described may be in it.
fn against_the_schema(document: &Value) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/report.schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    forbid_others(&mut schema);
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("report.schema.json", schema).unwrap();
    let schema = compiler.compile("report.schema.json", &mut schemas).unwrap();
    schemas.validate(document, schema).map_err(|error| format!("{error:#}"))
}

fn forbid_others(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(forbid_others);
            if fields.get("type") == Some(&"object".into()) && fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_others),
        _ => {}
    }
}

#[test]
fn every_form_is_printed_and_written() {
    let folder = Folder::new();
    let files = ["json", "txt", "xml", "md", "html"].map(|suffix| format!("--report r.{suffix}")).join(" ");
    let printed = replayed(&folder, &files).with_code(1);
    assert_eq!(printed, read(&folder, "r.txt"));
    let starts = [("r.xml", "<?xml"), ("r.md", "### critape: different"), ("r.html", "<!DOCTYPE html>")];
    for (file, start) in starts {
        assert!(read(&folder, file).starts_with(start), "{file}");
    }
    for (form, start) in [("junit", "<?xml"), ("markdown", "### critape"), ("html", "<!DOCTYPE html>")] {
        assert!(replayed(&folder, &format!("-o {form}")).with_code(1).starts_with(start), "{form}");
    }
    // All of them are of one report.
    let report = json(&folder, "r.json");
    for found in report["findings"].as_array().unwrap() {
        for file in ["r.txt", "r.xml", "r.md", "r.html"] {
            assert!(read(&folder, file).contains(found["id"].as_str().unwrap()), "{file} lacks {found:#}");
        }
    }
    assert_snapshot!(
        folder.refused(&format!("{REPLAY} --report report.pdf")),
        @"error: report.pdf: the name of a report must end with .json, .txt, .xml, .md or .html"
    );
}

#[test]
fn reports_are_as_their_schema_says() {
    let folder = Folder::new();
    let report: Value = serde_json::from_str(&replayed(&folder, "-o json").with_code(1)).unwrap();
    against_the_schema(&report).unwrap();
    workload::record_with(&folder, "other.tape", "cri-dockerd-299");
    let other: Value =
        serde_json::from_str(&folder.run("diff node.tape other.tape -o json").with_code(1)).unwrap();
    against_the_schema(&other).unwrap();
    against_the_schema(&folder.json("diff node.tape node.tape -o json")).unwrap();
    for (change, to) in [("/findings/0/severity", "bad".into()), ("/calls/sent", Value::Null)] {
        let mut broken = report.clone();
        *broken.pointer_mut(change).unwrap() = to;
        against_the_schema(&broken).unwrap_err();
    }
    let mut more = report;
    more["findings"][0]["more"] = 1.into();
    against_the_schema(&more).unwrap_err();
}

/// The tape and the runtime are gone by then.
#[test]
fn a_finding_is_explained_from_the_report_alone() {
    let folder = Folder::new();
    replayed(&folder, "--report r.json").with_code(1);
    fs::remove_dir_all(folder.path("node.tape")).unwrap();
    let found = finding(&json(&folder, "r.json"), "/StopContainer", "outcome.code");
    let evidence = &found["evidence"];
    assert_eq!(evidence["recorded"]["outcome"]["code"], "OK");
    assert_eq!(evidence["live"]["outcome"]["code"], "NOT_FOUND");
    let recorded = &evidence["recorded"]["requests"][0]["containerId"];
    let live = &evidence["live"]["requests"][0]["containerId"];
    assert!(recorded.is_string() && live.is_string() && recorded != live, "{evidence:#}");
    assert_eq!(evidence["about"], "default/web/server");
    let before: Vec<_> = evidence["before"].as_array().unwrap().iter().collect();
    assert!(before.len() <= 10);
    assert!(before.iter().all(|call| call["object"].as_str().unwrap().starts_with("default/web")));
    assert!(before.last().unwrap()["method"].as_str().unwrap().ends_with("/RemoveContainer"), "{before:#?}");
    let id = found["id"].as_str().unwrap();
    let text = folder.run(&format!("explain r.json {}", &id[..6])).done();
    for part in [
        "StopContainer ended with OK when recorded and ends with NOT_FOUND now",
        "about     default/web/server",
        "so        kubelet takes NOT_FOUND for done in most places",
        "What came before",
        "The recorded call",
        "The live call",
        "critape replay node.tape -r unix://",
        "--pod web --until ",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let document = folder.json(&format!("explain r.json {id} -o json"));
    assert_eq!(document["finding"], found);
    assert!(document["repeat"][0].as_str().unwrap().starts_with("critape replay node.tape"));
}

/// A list is about no pod; what is missing in it is.
#[test]
fn what_is_missing_in_a_list_is_told_with_its_pod() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "--regression cri-o-6563");
    let report = folder.run(&format!("{REPLAY} -o json")).with_code(1);
    let report: Value = serde_json::from_str(&report).unwrap();
    let found = finding(&report, "/ListPodSandboxStats", "stats[].linux.containers[]");
    is_told_with_its_pod(&found);
}

/// What is in a list or a stream of events is about one of many things.
#[test]
fn what_a_stream_or_a_list_tells_is_told_with_its_container() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    workload::record_with(&folder, "other.tape", "containerd-12787");
    let _simulator =
        folder.simulator("r.sock", "--regression containerd-12787 --regression containerd-10670");
    let replayed = folder.run(&format!("{REPLAY} -o json")).with_code(1);
    let compared = folder.run("diff node.tape other.tape -o json").with_code(1);
    for report in [&replayed, &compared].map(|text| serde_json::from_str::<Value>(text).unwrap()) {
        let found = finding(&report, "/GetContainerEvents", "containers_statuses[].image_id");
        let evidence = &found["evidence"];
        for side in ["recorded", "live"] {
            let events = evidence[side]["responses"].as_array().unwrap();
            let ids: BTreeSet<_> = events.iter().map(|it| it["containerId"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), 1, "{side}: {ids:?}");
        }
        is_told_with_its_pod(&found);
        // Of the stream it is not that anything came before it.
        let last = evidence["before"].as_array().unwrap().last().unwrap();
        assert!(last["method"].as_str().unwrap().ends_with("Container"), "{last}");
        assert!(found["examples"][0]["at"].as_str() >= last["started"].as_str());
    }
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    let of_list = replayed["findings"].as_array().unwrap().iter().find(|it| {
        let path = it["path"].as_str().unwrap();
        it["method"].as_str().unwrap().ends_with("/ListContainerStats") && path.starts_with("stats[].")
    });
    is_told_with_its_pod(of_list.unwrap());
}

/// That it is said which container it is about, and what came before of the same pod.
#[track_caller]
fn is_told_with_its_pod(finding: &Value) {
    let about = finding["evidence"]["about"].as_str().unwrap_or_else(|| panic!("{finding:#}"));
    let (pod, _) = about.rsplit_once('/').unwrap();
    let before = finding["evidence"]["before"].as_array().unwrap();
    assert!(!before.is_empty());
    let object = |call: &Value| call["object"].as_str().unwrap().to_owned();
    assert!(before.iter().map(object).all(|it| it.starts_with(pod)), "{about}: {before:#?}");
}

/// What a report says to type shows the finding again.
#[test]
fn the_command_that_repeats_a_finding_does() {
    let folder = Folder::new();
    replayed(&folder, "--report r.json").with_code(1);
    let report = json(&folder, "r.json");
    let recorded = report["calls"]["recorded"].as_u64().unwrap();
    let _simulator = folder.simulator("r.sock", "--regression containerd-10527 --regression cri-dockerd-299");
    for (rpc, path) in [("/StopContainer", "outcome.code"), ("/ImageStatus", "image.size")] {
        let id = finding(&report, rpc, path)["id"].as_str().unwrap().to_owned();
        let commands = folder.json(&format!("explain r.json {id} -o json"))["repeat"].clone();
        let commands: Vec<&str> = commands.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let command = commands.iter().find_map(|it| it.strip_prefix("critape ")).expect("a replay");
        let again = folder.run(&format!("{} -o json", command.replace('\'', "")));
        let again: Value = serde_json::from_str(&again.with_code(1)).unwrap();
        assert_eq!(finding(&again, rpc, path)["id"], id.as_str());
        assert!(again["calls"]["recorded"].as_u64().unwrap() < recorded, "it is no smaller");
    }
}

/// And so it does with what the replay was told besides.
#[test]
fn the_command_that_repeats_a_finding_has_the_flags_that_it_takes() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    folder.write(
        "r.toml",
        "[[severity]]\npath = [\"outcome.code\"]\nseverity = \"cosmetic\"\nreason = \"mine\"\n",
    );
    folder.write("auth.json", r#"{"auths": {"mirror.example": {"auth": "bWU6c2VjcmV0"}}}"#);
    let _simulator = folder.simulator("r.sock", "--regression cri-o-9728");
    Kubelet::connect(&folder.path("r.sock")).run_pod("theirs");
    let flags = "--map-image registry.example/=me:secret@mirror.example/ --rules r.toml --registry-auth auth.json --share";
    let clean = flags.replace("me:secret@", "");
    folder.run(&format!("{REPLAY} {clean} --report r.json")).with_code(1);
    let report = json(&folder, "r.json");
    let found = finding(&report, "/PullImage", "image_ref");
    let explained = folder.json(&format!("explain r.json {} -o json", found["id"].as_str().unwrap()));
    let commands: Vec<&str> =
        explained["repeat"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(commands[0].ends_with("pull mirror.example/busybox:1.36"), "{commands:?}");
    let command = commands.iter().find_map(|it| it.strip_prefix("critape ")).expect("a replay");
    for flag in clean.split(" --") {
        assert!(command.contains(flag.trim_start_matches('-')), "{flag}: {command}");
    }
    let again = folder.run(&format!("{} -o json", command.replace('\'', "")));
    let again: Value = serde_json::from_str(&again.with_code(1)).unwrap();
    assert_eq!(finding(&again, "/PullImage", "image_ref")["id"], found["id"]);
    folder.run(&format!("{REPLAY} {flags} --report s.json"));
    assert!(!read(&folder, "s.json").contains("secret@"), "a password is in a report");
}

/// Waited for as long as was allowed, and no longer.
#[test]
fn reads_that_never_settle_are_counted_with_how_long_they_were_waited_for() {
    let folder = Folder::new();
    folder.run("demo --keep node.tape");
    let _simulator = folder.simulator("r.sock", "--regression containerd-9819");
    let replay = "replay node.tape -r unix://DIR/r.sock --pace max --settle 300ms -o json";
    let report: Value = serde_json::from_str(&folder.run(replay).with_code(1)).unwrap();
    let unsettled = &report["timing"]["unsettled"];
    assert!(unsettled["calls"].as_u64() >= Some(1), "{report:#}");
    assert!(unsettled["p50"].as_u64() >= Some(300_000_000), "{unsettled:#}");
}

#[test]
fn what_can_not_be_explained_is_refused() {
    let folder = Folder::new();
    replayed(&folder, "--report r.json").with_code(1);
    assert_snapshot!(
        folder.refused("explain r.json zzzz"),
        @r#"error: r.json has no finding "zzzz": its table gives the ids in brackets"#
    );
    let ambiguous = folder.refused("explain r.json ''");
    assert!(
        ambiguous.starts_with("error: \"\" fits ") && ambiguous.contains("findings of r.json: "),
        "{ambiguous}"
    );
    assert_snapshot!(
        folder.refused("explain absent.json abc"),
        @"error: reading absent.json: No such file or directory (os error 2)"
    );
    folder.write("other.json", "{\"version\": 1}");
    let refused = folder.refused("explain other.json abc");
    assert!(refused.starts_with("error: other.json is not a report in JSON"), "{refused}");
    let mut later = json(&folder, "r.json");
    later["version"] = 2.into();
    later["verdict"] = "another".into();
    folder.write("later.json", &later.to_string());
    assert_snapshot!(
        folder.refused("explain later.json abc"),
        @"error: later.json is a report of version 2, and this program reads version 1: explain it with the critape that wrote it"
    );
}

#[test]
fn what_a_baseline_holds_does_not_count() {
    let folder = Folder::new();
    replayed(&folder, "--write-baseline base.toml").with_code(1);
    let held = replayed(&folder, "--baseline base.toml -o json");
    let report: Value = serde_json::from_str(&held.stdout).unwrap();
    assert_eq!((held.code, &report["verdict"]), (Some(0), &"same".into()), "{report:#}");
    assert!(report["findings"].as_array().unwrap().iter().all(|it| it["accepted"]["note"].is_string()));
    against_the_schema(&report).unwrap();
    // What was made good is said, and what is new counts.
    let text = read(&folder, "base.toml");
    let (first, rest) = text.split_once("\n[[accept]]\n").unwrap();
    let rest: Vec<&str> = rest.split("\n[[accept]]\n").collect();
    let fewer = format!(
        "{first}\n[[accept]]\n{}\n[[accept]]\nid = \"0000000000\"\nnote = \"gone\"\n",
        rest[1..].join("\n[[accept]]\n")
    );
    folder.write("fewer.toml", &fewer);
    let table = replayed(&folder, "--baseline fewer.toml").with_code(1);
    assert!(table.contains("different: 1 finding, "), "{table}");
    assert!(table.contains("baseline: 0000000000 holds nothing and may go: gone"), "{table}");
    // What was accepted until a day that is over counts again.
    let day = text.lines().find_map(|line| line.strip_prefix("expires = ")).unwrap();
    folder.write("old.toml", &text.replace(day, "2020-01-31"));
    let table = replayed(&folder, "--baseline old.toml").with_code(1);
    assert!(table.contains("has expired and counts again (2020-01-31)"), "{table}");
}

#[test]
fn a_baseline_that_can_not_be_used_is_refused_before_anything_is_run() {
    let folder = Folder::new();
    folder.write("base.toml", "[[accept]]\nnote = \"everything\"\n");
    assert_snapshot!(
        folder.refused(&format!("{REPLAY} --baseline base.toml")),
        @"error: base.toml: entry 1 names neither id nor method: it would hold every finding"
    );
    assert_snapshot!(
        folder.refused(&format!("{REPLAY} --baseline absent.toml")),
        @"error: reading absent.toml: No such file or directory (os error 2)"
    );
    assert_snapshot!(
        folder.refused(&format!("{REPLAY} --write-baseline base.toml")),
        @"error: base.toml exists: its notes would be lost; give it with --baseline too, or another name"
    );
}

/// Records calls with a secret in environment, command, output and error text, of which some differ on the next runtime.
fn record_secrets(folder: &Folder, tape: &str, seal: &str) {
    let simulator = folder.simulator("recorded.sock", "");
    let recorder = folder.recorder(tape, "recorded.sock", "recorder.sock", seal);
    let kubelet = Kubelet::connect(&folder.path("recorder.sock"));
    kubelet.pull();
    let pod = kubelet.run_pod("web");
    let mut config = container("odd", "true");
    // No text, so that the next runtime refuses it.
    let values = [SECRET.into(), bytes::Bytes::from_static(&[0xff, 0xfe])];
    config.envs = values.map(|value| v1::KeyValue { key: "PASSWORD".to_owned(), value }).to_vec();
    config.args = vec![format!("--password={SECRET}")];
    kubelet.ask::<v1::CreateContainerResponse>("CreateContainer", &create(&pod, "web", config));
    recorder.interrupted().done();
    simulator.interrupted().done();
}

/// The key is there, and the replay sends what was recorded; the report may be shown around all the same.
#[test]
fn secrets_that_a_replay_opened_are_in_no_report() {
    let folder = Folder::new();
    let files = ["json", "txt", "xml", "md", "html", "toml"];
    for (seal, shown) in [("", false), ("--seal none", true)] {
        let tape = format!("{}.tape", if shown { "open" } else { "sealed" });
        record_secrets(&folder, &tape, seal);
        let _simulator = folder.simulator("r.sock", "--regression containerd-13455");
        let reports: Vec<String> = files[..5].iter().map(|suffix| format!("--report r.{suffix}")).collect();
        let ended = folder.run(&format!(
            "replay {tape} -r unix://DIR/r.sock --pace max --settle 1s {} --write-baseline {tape}.toml",
            reports.join(" ")
        ));
        let printed = ended.with_code(1);
        let report = json(&folder, "r.json");
        let found = finding(&report, "/CreateContainer", "outcome.code");
        let sent = &found["evidence"]["live"]["requests"][0]["config"]["envs"][0]["value"];
        assert_eq!(sent == SECRET, shown, "{found:#}");
        assert_eq!(sent.as_str().unwrap().starts_with("sealed:v1:"), !shown);
        // As the tape has it.
        assert_eq!(*sent, found["evidence"]["recorded"]["requests"][0]["config"]["envs"][0]["value"]);
        assert!(folder.run(&format!("tape show {tape} -o json")).done().contains(sent.as_str().unwrap()));
        let id = found["id"].as_str().unwrap();
        let explained = folder.run(&format!("explain r.json {id}")).done();
        assert_eq!(explained.contains(SECRET), shown);
        if !shown {
            let baseline = read(&folder, &format!("{tape}.toml"));
            let written = files[..5].iter().map(|suffix| read(&folder, &format!("r.{suffix}")));
            for text in written.chain([printed, explained, baseline]) {
                assert!(!text.contains(SECRET), "{text}");
            }
        }
    }
}
