//! What a replay takes in place of what was recorded: images, ports, credentials.

use std::fs;

use cri::v1;
use insta::assert_snapshot;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{IMAGE, Kubelet, image, pod};
use crate::workload;

const REPLAY: &str = "replay node.tape --pace max --settle 1s";
const SECRET: &str = "correct-horse-battery";
const OTHER: &str = "wrong-horse-staple";

/// A replay that is recorded itself, so that what it sends can be looked at. Gives its report.
fn replayed(folder: &Folder, flags: &str, code: i32) -> Value {
    let _ = fs::remove_dir_all(folder.path("sent.tape"));
    let simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("sent.tape", "r.sock", "s.sock", "--seal none");
    let ended = folder.run(&format!("{REPLAY} -r unix://DIR/s.sock {flags} -o json --report r.json"));
    recorder.interrupted().done();
    simulator.interrupted().done();
    serde_json::from_str(&ended.with_code(code)).unwrap()
}

/// The requests of a method that were sent.
fn sent(folder: &Folder, tape: &str, method: &str) -> Vec<Value> {
    let calls = folder.json_lines(&format!("tape show {tape} --method {method} -o json"));
    calls.iter().map(|call| call["requests"][0].clone()).collect()
}

#[test]
fn images_are_taken_from_elsewhere_and_nothing_differs() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    for (flag, live) in [
        ("--map-image registry.example/=mirror.example:5000/", "mirror.example:5000/busybox:1.36"),
        (
            "--map-image registry.example/busybox:1.36=mirror.example/other/shell:2",
            "mirror.example/other/shell:2",
        ),
    ] {
        let report = replayed(&folder, flag, 0);
        assert_eq!(report["verdict"], "same", "{:#}", report["findings"]);
        let pulled = sent(&folder, "sent.tape", "PullImage");
        assert!(pulled.iter().any(|it| it["image"]["image"] == live), "{pulled:#?}");
        for method in ["PullImage", "CreateContainer", "ImageStatus", "RemoveImage"] {
            let text = serde_json::to_string(&sent(&folder, "sent.tape", method)).unwrap();
            assert!(!text.contains(IMAGE), "{method}: {text}");
        }
        let text = serde_json::to_string(&sent(&folder, "sent.tape", "CreateContainer")).unwrap();
        assert!(text.contains(live), "{text}");
    }
}

/// What a regression does to another image is seen as well.
#[test]
fn a_regression_is_found_with_images_from_elsewhere() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let flags = "--map-image registry.example/=mirror.example/ -o json";
    for (regression, rpc) in [("containerd-12787", "/ContainerStatus"), ("cri-o-9728", "/PullImage")] {
        let _simulator = folder.simulator("r.sock", &format!("--regression {regression}"));
        let report = folder.run(&format!("{REPLAY} -r unix://DIR/r.sock {flags}")).with_code(1);
        let report: Value = serde_json::from_str(&report).unwrap();
        let findings = report["findings"].as_array().unwrap();
        assert!(findings.iter().any(|it| it["method"].as_str().unwrap().ends_with(rpc)), "{findings:#?}");
    }
}

#[test]
fn a_mapping_that_is_none_or_of_no_use_is_told() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let _simulator = folder.simulator("r.sock", "");
    let replay = format!("{REPLAY} -r unix://DIR/r.sock");
    assert_snapshot!(folder.refused(&format!("{replay} --map-image busybox")), @r#"
    error: invalid value 'busybox' for '--map-image <A=B>': "busybox" is no mapping: it has no =; write it as docker.io/library/app:1=registry.example/app:1, or docker.io/=registry.example/ for all that begins so
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
    assert_snapshot!(folder.refused(&format!("{replay} --map-image docker.io/=mirror.example")), @r#"
    error: invalid value 'docker.io/=mirror.example' for '--map-image <A=B>': "docker.io/=mirror.example" is no mapping: only one side ends with a slash; write it as docker.io/library/app:1=registry.example/app:1, or docker.io/=registry.example/ for all that begins so
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
    let ended = folder.run(&format!("{replay} --map-image docker.io/=mirror.example/"));
    assert_eq!(ended.code, Some(0));
    assert_snapshot!(
        ended.stderr,
        @"note: --map-image docker.io/=mirror.example/: no image on the tape is named so"
    );
}

#[test]
fn ports_of_the_host_are_replaced_by_free_ones() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = i32::from(taken.local_addr().unwrap().port());
    workload::record_of(&folder, "node.tape", "", |socket| {
        let kubelet = Kubelet::connect(socket);
        let mapping = |host_port| v1::PortMapping { container_port: 80, host_port, ..Default::default() };
        for name in ["one", "other"] {
            let config = v1::PodSandboxConfig { port_mappings: vec![mapping(port), mapping(0)], ..pod(name) };
            let request = v1::RunPodSandboxRequest { config: Some(config), ..Default::default() };
            let id = kubelet.ask::<v1::RunPodSandboxResponse>("RunPodSandbox", &request).pod_sandbox_id;
            let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id, verbose: true };
            kubelet.ask::<v1::PodSandboxStatusResponse>("PodSandboxStatus", &request);
        }
    });
    let report = replayed(&folder, "", 0);
    assert_eq!(report["verdict"], "same", "{:#}", report["findings"]);
    let rules = report["suppressed"]["rules"].to_string();
    assert!(rules.contains("host-port"), "{rules}");
    let ports: Vec<Value> = sent(&folder, "sent.tape", "RunPodSandbox")
        .iter()
        .flat_map(|it| it["config"]["portMappings"].as_array().unwrap().clone())
        .map(|mapping| mapping["hostPort"].clone())
        .collect();
    assert_eq!(ports.len(), 4);
    assert_eq!((&ports[0], &ports[1]), (&ports[2], &ports[3]));
    assert!(ports[0] != port && ports[0].as_i64().unwrap() > 0, "{ports:?}");
    assert_eq!(ports[1], 0);
}

/// Records a pull with credentials.
fn record_pull(folder: &Folder, seal: &str) {
    let simulator = folder.simulator("recorded.sock", "");
    let recorder = folder.recorder("node.tape", "recorded.sock", "l.sock", seal);
    let auth = v1::AuthConfig {
        username: "recorded-user".to_owned(),
        password: SECRET.to_owned(),
        ..Default::default()
    };
    let request = v1::PullImageRequest { image: Some(image()), auth: Some(auth), ..Default::default() };
    Kubelet::connect(&folder.path("l.sock")).ask::<v1::PullImageResponse>("PullImage", &request);
    recorder.interrupted().done();
    simulator.interrupted().done();
}

fn credentials(folder: &Folder) {
    folder.write(
        "config.json",
        &format!(
            r#"{{"auths": {{"registry.example": {{"username": "other-user", "password": "{OTHER}"}}}}}}"#
        ),
    );
}

#[test]
fn credentials_of_a_file_make_up_for_sealed_ones() {
    let folder = Folder::new();
    record_pull(&folder, "");
    fs::remove_file(folder.path("node.tape/key")).unwrap();
    credentials(&folder);
    let report = replayed(&folder, "", 2);
    assert_eq!(report["calls"]["inconclusive"], 1, "{report:#}");
    assert_eq!(report["preflight"][0]["kind"], "sealed", "{report:#}");
    let report = replayed(&folder, "--registry-auth config.json", 0);
    assert_eq!(report["verdict"], "same", "{report:#}");
    let pulled = sent(&folder, "sent.tape", "PullImage");
    assert_eq!(pulled[0]["auth"]["password"], OTHER, "{pulled:#?}");
    assert_eq!(pulled[0]["auth"]["username"], "other-user");
}

/// Whatever the tape seals: they are the user's, and of no report's concern.
#[test]
fn credentials_of_a_file_are_in_no_report_and_no_log() {
    for seal in ["", "--seal none"] {
        let folder = Folder::new();
        record_pull(&folder, seal);
        credentials(&folder);
        let _simulator = folder.simulator("r.sock", "--regression cri-o-9728");
        let reports = ["json", "txt", "xml", "md", "html"];
        let flags: Vec<String> = reports.iter().map(|suffix| format!("--report r.{suffix}")).collect();
        let ended = folder.run(&format!(
            "{REPLAY} -r unix://DIR/r.sock --registry-auth config.json -o json -vvv {}",
            flags.join(" ")
        ));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let live = &report["findings"][0]["evidence"]["live"]["requests"][0];
        assert_eq!(live["image"]["image"], IMAGE, "{report:#}");
        let written = reports.map(|suffix| fs::read_to_string(folder.path(&format!("r.{suffix}"))).unwrap());
        for text in written.iter().chain([&ended.stdout, &ended.stderr]) {
            assert!(!text.contains(OTHER) && !text.contains("other-user"), "{seal}: {text}");
        }
    }
}

#[test]
fn credentials_that_can_not_be_used_are_refused_without_showing_them() {
    let folder = Folder::new();
    record_pull(&folder, "");
    let refused = |text: &str| {
        folder.write("config.json", text);
        let refused = folder.refused(&format!("{REPLAY} -r unix://DIR/r.sock --registry-auth config.json"));
        assert!(!refused.contains(SECRET), "{refused}");
        refused
    };
    assert_snapshot!(refused(&format!("{{\"auths\": {{\"a.example\": \"{SECRET}\"}}}}")), @"error: reading credentials from config.json: it is not a config.json of Docker's form: line 1, column 47");
    assert_snapshot!(refused(&format!("{{\"auths\": {{\"a.example\": {{\"auth\": \"{SECRET}\"}}}}}}")), @r#"error: reading credentials from config.json: "auth" of a.example is not base64 of user:password"#);
    assert_snapshot!(refused("{\"auths\": {}, \"credHelpers\": {\"a.example\": \"x\"}}"), @r#"error: reading credentials from config.json: it names credential helpers (credHelpers), which are not run here: put the credentials under "auths""#);
    assert_snapshot!(refused("{\"auths\": {\"a.example\": {}}}"), @r#"error: reading credentials from config.json: it has no credentials under "auths""#);
    assert_snapshot!(refused(&" ".repeat(2 << 20)), @"error: reading credentials from config.json: it is larger than 1048576 bytes");
    assert_snapshot!(
        folder.refused(&format!("{REPLAY} -r unix://DIR/r.sock --registry-auth absent.json")),
        @"error: reading absent.json: No such file or directory (os error 2)"
    );
}
