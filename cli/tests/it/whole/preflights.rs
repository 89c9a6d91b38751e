//! What a replay knows before its first call: `--preflight`, and what follows from it.

use cri::v1;
use insta::assert_snapshot;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{IMAGE, Kubelet, container, create, image, pod};
use crate::process::until;
use crate::workload;

const REPLAY: &str = "replay node.tape -r unix://DIR/r.sock --pace max --settle 1s";

/// Records this on a simulator that does not have the image yet, unless `before` pulls it past the recorder.
fn record(folder: &Folder, before: impl FnOnce(&Kubelet), drive: impl FnOnce(&Kubelet)) {
    let simulator = folder.simulator("recorded.sock", "");
    before(&Kubelet::connect(&folder.path("recorded.sock")));
    let recorder = folder.recorder("node.tape", "recorded.sock", "l.sock", "");
    drive(&Kubelet::connect(&folder.path("l.sock")));
    recorder.interrupted().done();
    simulator.interrupted().done();
}

fn status(kubelet: &Kubelet) -> Option<v1::Image> {
    let request = v1::ImageStatusRequest { image: Some(image()), verbose: false };
    kubelet.ask::<v1::ImageStatusResponse>("ImageStatus", &request).image
}

fn kinds(report: &Value) -> Vec<(String, String, u64)> {
    let list = report["preflight"].as_array().unwrap().iter();
    list.map(|it| {
        let text = |name: &str| it[name].as_str().unwrap().to_owned();
        (text("kind"), text("effect"), it["calls"].as_u64().unwrap())
    })
    .collect()
}

fn is_of(kinds: &[(String, String, u64)], kind: &str, effect: &str, calls: u64) -> bool {
    kinds.contains(&(kind.to_owned(), effect.to_owned(), calls))
}

fn report(folder: &Folder, line: &str, code: i32) -> Value {
    serde_json::from_str(&folder.run(&format!("{line} -o json")).with_code(code)).unwrap()
}

#[test]
fn nothing_stands_in_the_way_of_a_runtime_that_has_what_is_needed() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let simulator = folder.simulator("r.sock", "");
    let before = folder.listing();
    let ended = folder.run(&format!("{REPLAY} --preflight"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_snapshot!(ended.stdout, @r"
    sent          2 calls  registry: images are pulled from registry.example (first: call 10)
    nothing stands in the way
    ");
    assert_eq!(folder.listing(), before);
    let found = report(&folder, &format!("{REPLAY} --preflight"), 0);
    assert_eq!(kinds(&found).len(), 1, "{found:#}");
    assert!(found["live"]["runtime"].is_string() && found["left_over"] == 0, "{found:#}");
    assert_snapshot!(
        folder.refused(&format!("{REPLAY} --preflight -o html")),
        @"error: --preflight gives a table or JSON: leave -o out, or write -o json"
    );
    assert_eq!(Kubelet::connect(&folder.path("r.sock")).sandboxes(), []);
    drop(simulator);
    let refused = folder.refused(&format!("{REPLAY} --preflight"));
    assert!(refused.contains("no runtime answers"), "{refused}");
}

/// Recorded as absent, pulled, looked at again, and removed; here it was all along.
#[test]
fn an_image_that_is_here_already_is_no_finding() {
    let folder = Folder::new();
    record(
        &folder,
        |_| {},
        |kubelet| {
            assert!(status(kubelet).is_none());
            kubelet.pull();
            assert!(status(kubelet).is_some());
            let remove = v1::RemoveImageRequest { image: Some(image()) };
            kubelet.ask::<v1::RemoveImageResponse>("RemoveImage", &remove);
            assert!(status(kubelet).is_none());
            assert_eq!(kubelet.images().len(), 1);
        },
    );
    let simulator = folder.simulator("r.sock", "");
    Kubelet::connect(&folder.path("r.sock")).pull();
    let found = report(&folder, &format!("{REPLAY} --preflight"), 2);
    assert!(is_of(&kinds(&found), "image-present", "inconclusive", 2), "{found:#}");
    assert!(is_of(&kinds(&found), "node-change", "skipped", 1), "{found:#}");
    let ended = folder.run(&format!("{REPLAY} -o json"));
    let replayed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &replayed["verdict"]), (Some(2), &"inconclusive".into()), "{replayed:#}");
    assert_eq!(replayed["findings"], serde_json::json!([]));
    assert_eq!((&replayed["calls"]["inconclusive"], &replayed["calls"]["skipped"]), (&3.into(), &1.into()));
    assert_eq!(replayed["preflight"], found["preflight"]);
    assert_snapshot!(ended.stderr, @r"
    preflight: inconclusive  2 calls  image-present: on the runtime already, and not there when recorded: registry.example/busybox:1.36 (first: call 1)
    preflight: skipped       1 call  node-change: they remove images that are here already; --allow-node-changes sends them: registry.example/busybox:1.36 (first: call 4)
    ");
    folder.run(&format!("{REPLAY} --max-inconclusive 100%")).done();
    // Where it is removed as it was then, an image that stays is a finding.
    drop(simulator);
    let _simulator = folder.simulator("r.sock", "");
    Kubelet::connect(&folder.path("r.sock")).pull();
    let removed = report(&folder, &format!("{REPLAY} --allow-node-changes"), 2);
    assert_eq!(removed["calls"]["inconclusive"], 1, "{removed:#}");
}

/// Preloaded when recorded, and nowhere here.
#[test]
fn an_image_that_nobody_has_and_nobody_pulls_is_no_finding() {
    let folder = Folder::new();
    record(
        &folder,
        |direct| drop(direct.pull()),
        |kubelet| {
            assert!(status(kubelet).is_some());
            let web = kubelet.run_pod("web");
            kubelet.run_container(&web, "web", "server", "sleep 600");
        },
    );
    let simulator = folder.simulator("r.sock", "");
    let found = report(&folder, &format!("{REPLAY} --preflight"), 2);
    assert!(is_of(&kinds(&found), "image-missing", "inconclusive", 2), "{found:#}");
    assert!(found.to_string().contains(IMAGE), "{found:#}");
    let replayed = report(&folder, REPLAY, 2);
    assert_eq!(replayed["findings"], serde_json::json!([]), "{replayed:#}");
    // To look at it, to make the container, and to start it.
    assert_eq!(replayed["calls"]["inconclusive"], 3, "{replayed:#}");
    // It is here as it was there: nothing is in the way.
    Kubelet::connect(&folder.path("r.sock")).pull();
    let found = report(&folder, &format!("{REPLAY} --preflight"), 0);
    assert_eq!(kinds(&found), [], "{found:#}");
    assert_eq!(report(&folder, REPLAY, 0)["verdict"], "same");
    drop(simulator);
}

/// The image is here when the replay begins, and the runtime denies it later.
#[test]
fn an_image_that_is_lost_on_the_way_is_found() {
    let folder = Folder::new();
    let spec = || v1::ImageSpec { image: "registry.example/other:1".to_owned(), ..Default::default() };
    let load = |direct: &Kubelet| {
        direct.pull();
        let other = v1::PullImageRequest { image: Some(spec()), ..Default::default() };
        direct.ask::<v1::PullImageResponse>("PullImage", &other);
    };
    record(&folder, load, |kubelet| {
        let web = kubelet.run_pod("web");
        let id = kubelet.run_container(&web, "web", "job", "sleep 1");
        until("the container exits", || {
            (workload::status(kubelet, &id).state() == v1::ContainerState::ContainerExited).then_some(())
        });
        let request = v1::ImageStatusRequest { image: Some(spec()), verbose: false };
        assert!(kubelet.ask::<v1::ImageStatusResponse>("ImageStatus", &request).image.is_some());
    });
    let _simulator = folder.simulator("r.sock", "");
    let direct = Kubelet::connect(&folder.path("r.sock"));
    load(&direct);
    let replay = folder.start("replay node.tape -r unix://DIR/r.sock --speed 0.25 --settle 1s -o json");
    until("the replay's sandbox", || (!direct.sandboxes().is_empty()).then_some(()));
    direct.ask::<v1::RemoveImageResponse>("RemoveImage", &v1::RemoveImageRequest { image: Some(spec()) });
    let replayed: Value = serde_json::from_str(&replay.ended().with_code(1)).unwrap();
    assert_eq!(replayed["preflight"], serde_json::json!([]));
    let found = &replayed["findings"][0];
    assert_eq!(
        (&found["path"], &found["transition"]),
        (&"image".into(), &"present→absent".into()),
        "{found:#}"
    );
}

#[test]
fn a_handler_that_the_runtime_does_not_have_is_no_finding() {
    let folder = Folder::new();
    let simulator = folder.simulator("recorded.sock", "--handler kata");
    let recorder = folder.recorder("node.tape", "recorded.sock", "l.sock", "");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let run = |name: &str, handler: &str| {
        let config = Some(pod(name));
        let request = v1::RunPodSandboxRequest { config, runtime_handler: handler.to_owned() };
        kubelet.ask::<v1::RunPodSandboxResponse>("RunPodSandbox", &request).pod_sandbox_id
    };
    let (web, _) = (run("web", "kata"), run("other", "runc"));
    let stop = v1::StopPodSandboxRequest { pod_sandbox_id: web };
    kubelet.ask::<v1::StopPodSandboxResponse>("StopPodSandbox", &stop);
    recorder.interrupted().done();
    simulator.interrupted().done();
    let simulator = folder.simulator("r.sock", "");
    let found = report(&folder, &format!("{REPLAY} --preflight"), 2);
    assert!(is_of(&kinds(&found), "runtime-handler", "inconclusive", 1), "{found:#}");
    let replayed = report(&folder, REPLAY, 2);
    assert_eq!(replayed["findings"], serde_json::json!([]), "{replayed:#}");
    // To run it, and to stop it.
    assert_eq!(replayed["calls"]["inconclusive"], 2, "{replayed:#}");
    drop(simulator);
    let _simulator = folder.simulator("r.sock", "--handler kata");
    assert_eq!(report(&folder, REPLAY, 0)["verdict"], "same");
}

#[test]
fn what_names_a_pod_older_than_the_tape_is_told_before() {
    let folder = Folder::new();
    let old = std::cell::Cell::new(String::new());
    record(
        &folder,
        |direct| old.set(direct.run_pod("old")),
        |kubelet| {
            let request = v1::PodSandboxStatusRequest { pod_sandbox_id: old.take(), verbose: false };
            kubelet.ask::<v1::PodSandboxStatusResponse>("PodSandboxStatus", &request);
            kubelet.version();
        },
    );
    let _simulator = folder.simulator("r.sock", "");
    let ended = folder.run(REPLAY);
    assert_eq!(ended.code, Some(2));
    assert_snapshot!(
        ended.stderr,
        @"preflight: inconclusive  1 call  older-than-tape: they name a pod or container that is older than the tape (first: call 1)"
    );
    assert!(ended.stdout.contains("preflight: inconclusive  1 call  older-than-tape: "), "{}", ended.stdout);
    assert_snapshot!(folder.run(&format!("{REPLAY} --preflight")).with_code(2), @r"
    inconclusive  1 call  older-than-tape: they name a pod or container that is older than the tape (first: call 1)
    some calls can't be as they were recorded
    ");
}

/// A device and a path that no host has.
#[test]
fn what_this_host_lacks_is_told_before() {
    let folder = Folder::new();
    record(
        &folder,
        |_| {},
        |kubelet| {
            kubelet.pull();
            let web = kubelet.run_pod("web");
            let device = v1::Device {
                container_path: "/dev/x".to_owned(),
                host_path: "/dev/no-such-device".to_owned(),
                permissions: "r".to_owned(),
            };
            let config = v1::ContainerConfig { devices: vec![device], ..container("app", "true") };
            kubelet.ask::<v1::CreateContainerResponse>("CreateContainer", &create(&web, "web", config));
        },
    );
    let _simulator = folder.simulator("r.sock", "");
    let found = report(&folder, &format!("{REPLAY} --preflight"), 2);
    assert!(is_of(&kinds(&found), "device", "inconclusive", 1), "{found:#}");
    // The simulator makes no devices, so nothing follows from it.
    assert_eq!(report(&folder, REPLAY, 0)["verdict"], "same");
}

#[test]
fn what_is_sealed_is_told_before_with_the_number_of_calls() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    std::fs::remove_file(folder.path("node.tape/key")).unwrap();
    let _simulator = folder.simulator("r.sock", "");
    let found = report(&folder, &format!("{REPLAY} --preflight"), 2);
    let sealed: u64 = kinds(&found).iter().filter(|(kind, ..)| kind == "sealed").map(|it| it.2).sum();
    assert!(sealed > 0, "{found:#}");
    let replayed = report(&folder, REPLAY, 2);
    assert!(replayed["calls"]["inconclusive"].as_u64().unwrap() >= sealed, "{replayed:#}");
}

/// A reference may carry the registry's user and password.
#[test]
fn a_preflight_shows_no_secret() {
    const SECRET: &str = "correct-horse-battery";
    let folder = Folder::new();
    let named = format!("me:{SECRET}@registry.example/busybox:1.36");
    record(
        &folder,
        |_| {},
        |kubelet| {
            let spec = Some(v1::ImageSpec { image: named, ..Default::default() });
            let request = v1::ImageStatusRequest { image: spec.clone(), verbose: false };
            let _ = kubelet.call("ImageStatus", &request);
            let _ = kubelet
                .call("PullImage", &v1::PullImageRequest { image: spec.clone(), ..Default::default() });
            let _ = kubelet.call("RemoveImage", &v1::RemoveImageRequest { image: spec });
        },
    );
    let _simulator = folder.simulator("r.sock", "");
    for flags in ["--preflight", "--preflight -o json", "-o json", "-vvv"] {
        let ended = folder.run(&format!("{REPLAY} {flags}"));
        assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET), "{flags}: {ended:?}");
        assert!(flags == "-vvv" || ended.stdout.contains("registry.example"), "{flags}: {ended:?}");
    }
}

/// Only what is replayed counts.
#[test]
fn a_preflight_is_of_the_calls_that_were_asked_for() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    std::fs::remove_file(folder.path("node.tape/key")).unwrap();
    let _simulator = folder.simulator("r.sock", "");
    let found = report(&folder, &format!("{REPLAY} --method Version --preflight"), 0);
    assert_eq!(kinds(&found), [], "{found:#}");
}

/// The calls that a list of reasons counts.
fn counted(report: &Value, list: &str) -> u64 {
    report[list].as_array().unwrap().iter().map(|it| it["count"].as_u64().unwrap()).sum()
}

/// The calls that a preflight says so much of.
fn foretold(report: &Value, effect: &str) -> u64 {
    kinds(report).iter().filter(|(_, of, _)| of == effect).map(|(.., calls)| calls).sum()
}

/// What people type: a beginning that fits one thing at first, then several, then one again; and nothing at all.
#[test]
fn what_names_several_objects_or_none_is_told_before() {
    let folder = Folder::new();
    record(
        &folder,
        |_| {},
        |kubelet| {
            let look = |name: &str| {
                let pod_sandbox_id = name.to_owned();
                drop(kubelet.call(
                    "PodSandboxStatus",
                    &v1::PodSandboxStatusRequest { pod_sandbox_id, verbose: false },
                ));
            };
            let mut ids: Vec<String> = Vec::new();
            // Of seventeen, two begin alike.
            let twins = (0..17).find_map(|number| {
                let id = kubelet.run_pod(&format!("web-{number}"));
                let twin = ids.iter().find(|other| other[..1] == id[..1]).cloned();
                look(&id[..1]);
                ids.push(id.clone());
                twin.map(|twin| (twin, id))
            });
            let (first, second) = twins.unwrap();
            // A prefix that fits both, in a filter.
            let filter = v1::PodSandboxFilter { id: first[..1].to_owned(), ..Default::default() };
            let list = v1::ListPodSandboxRequest { filter: Some(filter) };
            drop(kubelet.call("ListPodSandbox", &list));
            let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: first };
            kubelet.ask::<v1::RemovePodSandboxResponse>("RemovePodSandbox", &remove);
            look(&second[..1]);
            for image in [None, Some(v1::ImageSpec::default())] {
                drop(kubelet.call("RemoveImage", &v1::RemoveImageRequest { image: image.clone() }));
                drop(kubelet.call("ImageStatus", &v1::ImageStatusRequest { image, verbose: false }));
            }
        },
    );
    let _simulator = folder.simulator("r.sock", "");
    let found = report(&folder, &format!("{REPLAY} --preflight"), 2);
    assert!(is_of(&kinds(&found), "ambiguous-id", "inconclusive", 2), "{found:#}");
    assert!(is_of(&kinds(&found), "node-change", "skipped", 2), "{found:#}");
    let replayed = report(&folder, &format!("{REPLAY} --max-inconclusive 100%"), 0);
    assert_eq!(counted(&replayed, "inconclusive"), foretold(&found, "inconclusive"), "{replayed:#}");
    assert_eq!(counted(&replayed, "skipped"), foretold(&found, "skipped"), "{replayed:#}");
    // Where they are sent, nobody says that they are not.
    let allowed = report(&folder, &format!("{REPLAY} --allow-node-changes --preflight"), 2);
    assert_eq!(foretold(&allowed, "skipped"), 0, "{allowed:#}");
}

/// On the tapes of real runtimes, whose clients did all of that.
#[test]
fn what_will_be_inconclusive_on_tapes_of_real_runtimes_is_told_before() {
    let folder = Folder::new();
    for tape in ["containerd-1.6", "containerd-2.1", "containerd-1.6-v1alpha2"] {
        let golden = format!("{}/../e2e/golden/{tape}.critape", env!("CARGO_MANIFEST_DIR"));
        folder.run(&format!("tape import {golden} {tape}.tape")).done();
        let _simulator = folder.simulator("r.sock", "");
        let replay = format!("replay {tape}.tape -r unix://DIR/r.sock --pace max --settle 100ms -o json");
        let ended = folder.run(&replay);
        let replayed: Value = serde_json::from_str(&ended.stdout).unwrap();
        let list = replayed["inconclusive"].as_array().unwrap().iter();
        let ambiguous: Vec<_> = list
            .filter(|it| it["reason"] == "its id is a prefix that fits several objects")
            .map(|it| it["count"].as_u64().unwrap())
            .collect();
        assert!(!ambiguous.is_empty(), "{tape}: {replayed:#}");
        assert!(
            is_of(&kinds(&replayed), "ambiguous-id", "inconclusive", ambiguous[0]),
            "{tape}: {replayed:#}"
        );
        assert_eq!(counted(&replayed, "skipped"), foretold(&replayed, "skipped"), "{tape}: {replayed:#}");
    }
}

/// The one report that there is of a preflight is what it prints.
#[test]
fn a_preflight_is_written_to_files_in_the_forms_in_which_it_is_printed() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    std::fs::remove_file(folder.path("node.tape/key")).unwrap();
    let _simulator = folder.simulator("r.sock", "");
    let read = |name: &str| std::fs::read_to_string(folder.path(name)).unwrap();
    let files = "--report DIR/p.json --report DIR/p.txt";
    let printed = folder.run(&format!("{REPLAY} --preflight {files}")).with_code(2);
    assert_eq!(read("p.txt"), printed);
    assert!(printed.contains("sealed: "), "{printed}");
    let json = folder.run(&format!("{REPLAY} --preflight -o json {files}")).with_code(2);
    assert_eq!((read("p.json"), read("p.txt")), (json, printed));
    assert_snapshot!(
        folder.refused(&format!("{REPLAY} --preflight --report p.html")),
        @"error: p.html: --preflight compares nothing, and is written to .json or .txt only"
    );
}

/// A replay would not begin, and that is the first thing to know.
#[test]
fn sandboxes_of_others_come_first_in_a_preflight() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let _simulator = folder.simulator("r.sock", "");
    Kubelet::connect(&folder.path("r.sock")).run_pod("theirs");
    let calls = folder.json("tape info node.tape -o json")["calls"].as_u64().unwrap();
    let found = report(&folder, &format!("{REPLAY} --preflight"), 2);
    assert_eq!(kinds(&found)[0], ("in-use".to_owned(), "refused".to_owned(), calls), "{found:#}");
    let printed = folder.run(&format!("{REPLAY} --preflight")).with_code(2);
    assert!(printed.ends_with("the replay would not begin\n"), "{printed}");
    assert!(printed.contains("such as default/theirs"), "{printed}");
    assert!(folder.refused(REPLAY).contains("add --share"));
    let shared = report(&folder, &format!("{REPLAY} --preflight --share"), 0);
    assert_eq!(kinds(&shared).len(), kinds(&found).len() - 1, "{shared:#}");
}
