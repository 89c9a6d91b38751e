//! `critape rules`, `check` and `calibrate`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{IMAGE, Kubelet};
use crate::process::Ended;
use crate::workload;

/// A report, from what was printed.
#[track_caller]
fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr))
}

/// RPC and path of each finding.
fn found(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let rpc = |finding: &Value| finding["method"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    findings
        .map(|it| format!("{} {} {}", rpc(it), it["path"].as_str().unwrap(), it["kind"].as_str().unwrap()))
        .collect()
}

#[test]
fn rules_are_listed_with_their_reasons() {
    let folder = Folder::new();
    let rules = folder.json("rules list -o json");
    let rules = rules.as_array().unwrap();
    for text in ["name", "reason", "source", "kind"] {
        assert!(
            rules.iter().all(|rule| text == "source" || !rule[text].as_str().unwrap().is_empty()),
            "{text}"
        );
    }
    assert!(rules.iter().any(|rule| rule["kind"] == "list" && rule["name"] == "containers"));
    // Whatever a report names can be looked up.
    let report: Value = serde_json::from_str(&folder.run("demo -o json").done()).unwrap();
    let named =
        ["/suppressed/rules", "/findings"].map(|list| report.pointer(list).unwrap().as_array().unwrap());
    assert!(named.iter().all(|list| !list.is_empty()));
    for name in named.into_iter().flatten().map(|it| &it["rule"]) {
        assert!(rules.iter().any(|rule| rule["name"] == *name), "{name}");
    }
    folder.write(
        "mine.toml",
        "[[rule]]\nname = \"mine\"\npath = [\"**.size\"]\nrelation = \"number\"\nwithin = \"10%\"\nreason = \"x\"\n",
    );
    let mine = folder.json("rules list --rules mine.toml -o json");
    assert_eq!((&mine[0]["name"], &mine[0]["relation"]), (&"mine".into(), &"number ±10%".into()));
    assert!(folder.run("rules list --rules mine.toml").done().starts_with("mine  number ±10%\n"));
}

#[test]
fn rules_are_checked() {
    let folder = Folder::new();
    assert!(folder.run("rules check").done().ends_with(" 0 problems\n"));
    folder.write(
        "mine.toml",
        "[[rule]]\nname = \"a\"\npath = [\"**.size\"]\nrelation = \"ignore\"\nreason = \"x\"\n\
         [[rule]]\nname = \"b\"\npath = [\"image.size\", \"image.sise\"]\nrelation = \"counter\"\nreason = \"x\"\n",
    );
    let checked = folder.run("rules check mine.toml").with_code(1);
    assert!(checked.contains("\nline 8: b: image.sise is no field of any answer"), "{checked}");
    assert!(checked.contains("\nline 7: b: all that it is about is taken by a before it\n"), "{checked}");
    let checked: Value =
        serde_json::from_str(&folder.run("rules check mine.toml -o json").with_code(1)).unwrap();
    assert_eq!(
        (&checked["problems"][0]["kind"], &checked["problems"][0]["line"]),
        (&"shadowed".into(), &7.into())
    );
    for (text, message) in [
        ("[[rule]]\nname = \"a\"\npath = [\"a..b\"]\nrelation = \"ignore\"\nreason = \"x\"\n", "line 3"),
        (
            "[[rule]]\nname = \"a\"\npath = [\"a\"]\nrelation = \"pattern\"\npattern = \"(\"\nreason = \"x\"\n",
            "line 2",
        ),
        ("[[rule]]\nname = \"a\"\npath = [\"a\"]\nrelation = \"range\"\nreason = \"x\"\n", "min and max"),
        ("[[rule]]\nname = 1\n", "line 2"),
    ] {
        folder.write("bad.toml", text);
        let refused = folder.refused("rules check bad.toml");
        assert!(refused.contains(message), "{refused}");
    }
    folder.refused("rules check absent.toml");
}

#[test]
fn suppressed_differences_can_be_listed() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "");
    let replay = "replay node.tape -r unix://DIR/r.sock --pace max";
    let listed = folder.run(&format!("{replay} --show-suppressed")).done();
    assert!(listed.contains("\n  time-of-event  "), "{listed}");
    assert!(listed.contains("ContainerStatus status.created_at: \""), "{listed}");
    let report = folder.json(&format!("{replay} -o json"));
    let examples = report["suppressed"]["examples"].as_array().unwrap();
    assert!(examples.iter().any(|it| it["rule"] == "time-of-event" && it["call"].is_u64()));
    for rule in report["suppressed"]["rules"].as_array().unwrap() {
        let count = examples.iter().filter(|it| it["rule"] == rule["rule"]).count();
        assert!(count <= 10, "{count} of {rule}");
    }
}

#[test]
fn rules_that_let_everything_pass_are_told_of() {
    let folder = Folder::new();
    folder.write(
        "all.toml",
        "[[rule]]\nname = \"all\"\npath = [\"**\"]\nrelation = \"ignore\"\nreason = \"x\"\n",
    );
    let listed = folder.run("rules list --rules all.toml");
    assert!(listed.stderr.contains("note: rules in all.toml let too much pass"), "{}", listed.stderr);
}

#[test]
fn the_first_of_several_rules_files_counts() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "");
    for name in ["one", "other"] {
        let rule = format!(
            "[[rule]]\nname = \"{name}\"\npath = [\"**.created_at\"]\nrelation = \"ignore\"\nreason = \"x\"\n"
        );
        folder.write(&format!("{name}.toml"), &rule);
    }
    let report = folder
        .json("replay node.tape -r unix://DIR/r.sock --pace max --rules one.toml --rules other.toml -o json");
    let rules: Vec<_> =
        report["suppressed"]["rules"].as_array().unwrap().iter().map(|it| &it["rule"]).collect();
    assert!(rules.contains(&&"one".into()) && !rules.contains(&&"other".into()), "{rules:?}");
}

#[test]
fn a_runtime_as_it_should_be_breaks_no_oracle() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let direct = Kubelet::connect(&folder.path("r.sock"));
    direct.pull();
    let pod = direct.run_pod("theirs");
    direct.run_container(&pod, "theirs", "main", "sleep 600");
    let before = folder.listing();
    let read = report(&folder.run("check -r unix://DIR/r.sock -o json"));
    assert_eq!((&read["verdict"], found(&read)), (&"same".into(), vec![]));
    let unchecked = read["unchecked"].to_string();
    for told in ["--active", "idempotent-stop-and-remove", "events-complete", "labels-and-annotations-echoed"]
    {
        assert!(unchecked.contains(told), "{told}: {unchecked}");
    }
    assert!(folder.run("check -r unix://DIR/r.sock").done().contains("\nnot checked: "));

    let active = report(&folder.run("check -r unix://DIR/r.sock --active -o json"));
    assert_eq!((&active["verdict"], found(&active)), (&"same".into(), vec![]));
    assert_eq!(active["unchecked"], serde_json::json!(["dns: no status tells it"]));
    let left: Vec<_> = direct.sandboxes().into_iter().map(|sandbox| sandbox.id).collect();
    assert_eq!((left, folder.listing()), (vec![pod], before), "what it made is left behind");
}

/// An image is removed only where it was not there before.
#[test]
fn a_check_removes_the_image_that_it_pulled() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let direct = Kubelet::connect(&folder.path("r.sock"));
    let images = || direct.images().into_iter().map(|image| image.id).collect::<BTreeSet<_>>();
    let check = format!("check -r unix://DIR/r.sock --active --image {IMAGE} -o json");
    let before = images();
    assert_eq!(report(&folder.run(&check))["verdict"], "same");
    assert_eq!(images(), before);
    direct.pull();
    let there = images();
    assert_eq!(there.len(), before.len() + 1);
    folder.run(&check).done();
    assert_eq!(images(), there);
}

#[test]
fn regressions_break_oracles() {
    let folder = Folder::new();
    let mut missed = Vec::new();
    for (regression, expected) in [
        ("containerd-10122", "PodSandboxStatus status.created_at oracle"),
        ("containerd-10527", "StopContainer outcome.code oracle"),
        ("containerd-12036", "Status runtime_handlers[] oracle"),
        ("cri-dockerd-218", "ImageFsInfo image_filesystems[].timestamp oracle"),
        ("cri-dockerd-299", "ImageStatus image.size oracle"),
        ("cri-o-8582", "PodSandboxStatus status.created_at oracle"),
    ] {
        let _simulator = folder.simulator("r.sock", &format!("--regression {regression}"));
        Kubelet::connect(&folder.path("r.sock")).pull();
        let ended = folder.run("check -r unix://DIR/r.sock --active -o json");
        let found = found(&report(&ended));
        if ended.code != Some(1) || !found.contains(&expected.to_owned()) {
            missed.push(format!("{regression}: {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// The id of the first finding of this RPC.
#[track_caller]
fn id_of<'a>(report: &'a Value, rpc: &str) -> &'a str {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|it| it["method"].as_str().unwrap().ends_with(rpc)).unwrap()["id"].as_str().unwrap()
}

/// A check has no tape: its report alone tells what was asked, what came before, and how to see it again.
#[test]
fn what_a_check_finds_is_explained() {
    let folder = Folder::new();
    let _simulator =
        folder.simulator("r.sock", "--regression containerd-12036 --regression containerd-10527");
    Kubelet::connect(&folder.path("r.sock")).pull();
    let endpoint = format!("unix://{}", folder.path("r.sock").display());
    let ended = folder.run("check -r unix://DIR/r.sock --active -o json --report report.json");
    let report = report(&ended);
    let explained = |rpc: &str| folder.json(&format!("explain report.json {} -o json", id_of(&report, rpc)));

    let status = explained("Status");
    let evidence = &status["finding"]["evidence"];
    assert_eq!(evidence["live"]["method"], "/runtime.v1.RuntimeService/Status");
    assert!(evidence["live"]["responses"][0]["runtimeHandlers"].is_array(), "{evidence:#}");
    assert_eq!(
        status["repeat"],
        serde_json::json!([format!("crictl -r {endpoint} info"), format!("critape check -r {endpoint}")]),
        "it is seen without a pod"
    );

    let stop = explained("StopContainer");
    let evidence = &stop["finding"]["evidence"];
    assert!(evidence["live"]["requests"][0]["containerId"].is_string(), "{evidence:#}");
    assert_eq!(evidence["about"], "critape/critape-check/check");
    let before: Vec<_> = evidence["before"].as_array().unwrap().iter().map(|it| &it["method"]).collect();
    assert!(before.contains(&&"/runtime.v1.RuntimeService/RemoveContainer".into()), "{before:?}");
    assert_eq!(stop["repeat"], serde_json::json!([format!("critape check -r {endpoint} --active")]));
    let text = folder.run(&format!("explain report.json {}", id_of(&report, "StopContainer"))).done();
    assert!(!text.contains("no room") && !text.contains("unknown runtime"), "{text}");
}

/// An oracle that a replay finds broken shows its call as well.
#[test]
fn what_an_oracle_finds_in_a_replay_is_explained() {
    let folder = Folder::new();
    folder.run("demo --keep node.tape");
    let _simulator = folder.simulator("r.sock", "--regression containerd-12036");
    let ended = folder.run("replay node.tape -r unix://DIR/r.sock --pace max -o json");
    let report = report(&ended);
    let findings = report["findings"].as_array().unwrap();
    let oracle = findings
        .iter()
        .find(|it| it["rule"] == "runtime-handlers")
        .unwrap_or_else(|| panic!("{findings:#?}"));
    let evidence = &oracle["evidence"];
    assert!(evidence["recorded"]["id"].is_u64() && evidence["live"]["responses"].is_array(), "{oracle:#}");
    assert!(oracle["examples"][0]["at"].is_string(), "{oracle:#}");
}

/// What the recorded runtime did as well is what its clients live with.
#[test]
fn an_oracle_that_the_recorded_side_broke_too_is_no_finding() {
    let folder = Folder::new();
    workload::record_with(&folder, "node.tape", "cri-dockerd-299");
    let _simulator = folder.simulator("r.sock", "--regression cri-dockerd-299");
    let ended = folder.run("replay node.tape -r unix://DIR/r.sock --pace max -o json");
    assert_eq!((ended.code, found(&report(&ended))), (Some(0), vec![]));
}

/// Noise that calibration learns is let pass afterwards, and what it did not see is still found.
#[test]
fn what_is_calibrated_is_no_finding_afterwards() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let simulator = folder.simulator("r.sock", "");
    let calibrate = "calibrate node.tape -r unix://DIR/r.sock -n 2 --pace max --output noise.toml";
    folder.run(calibrate).done();
    let quiet = fs::read_to_string(folder.path("noise.toml")).unwrap();
    assert!(!quiet.contains("[["), "{quiet}");
    // Sizes and times held to the letter: the one is a constant, the others differ in every run.
    folder.write(
        "strict.toml",
        "[[rule]]\nname = \"strict\"\nmethod = [\"ContainerStatus\"]\npath = [\"status.created_at\"]\n\
         relation = \"number\"\nwithin = 0\nreason = \"x\"\n",
    );
    let replay = "replay node.tape -r unix://DIR/r.sock --pace max --settle 1s -o json";
    let strict = folder.run(&format!("{replay} --rules strict.toml"));
    assert_eq!(found(&report(&strict)), ["ContainerStatus status.created_at value"]);
    folder.run(&format!("{calibrate} --rules strict.toml")).done();
    let noise = fs::read_to_string(folder.path("noise.toml")).unwrap();
    assert!(noise.contains("path = [\"status.created_at\"]\nrelation = \"timestamp\""), "{noise}");
    folder.run("rules check noise.toml").done();
    folder.run(&format!("{replay} --rules noise.toml --rules strict.toml")).done();
    drop(simulator);
    let _simulator = folder.simulator("r.sock", "--regression cri-dockerd-299");
    let broken = folder.run(&format!("{replay} --rules noise.toml --rules strict.toml"));
    assert!(
        found(&report(&broken)).contains(&"ImageStatus image.size value".to_owned()),
        "{}",
        broken.stdout
    );
}

#[test]
fn a_difference_that_is_always_the_same_is_not_calibrated_away() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "--regression cri-dockerd-299");
    let ended = folder
        .run("calibrate node.tape -r unix://DIR/r.sock -n 2 --pace max --settle 1s --output noise.toml");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("still a finding: ImageStatus image.size: the same in all 2 runs"),
        "{}",
        ended.stderr
    );
    assert!(!fs::read_to_string(folder.path("noise.toml")).unwrap().contains("image.size\"]"));
}
