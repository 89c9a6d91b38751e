//! crictl's exec, attach and port-forward: what they carry goes past the recorder, the calls that open them do not.

use critape_e2e::parts::require;
use critape_e2e::process::{Ended, until};
use critape_e2e::session::BUSYBOX;
use critape_e2e::{Crictl, Critape, Part, Version, http};
use serde_json::{Value, json};

use crate::place::Place;
use crate::{plain, sealed, text};

/// One command with its input, and what it is to end with and say.
struct Step {
    args: &'static [&'static str],
    input: &'static str,
    code: i32,
    stdout: &'static str,
}

/// What only streams carry.
const WHISPERED: &str = "whispered";

/// In their order; the last one ends the container.
const STEPS: &[Step] = &[
    Step {
        args: &["exec", "-s", "CONTAINER", "cat", "/etc/critape-image"],
        input: "",
        code: 0,
        stdout: "busybox 1.0",
    },
    Step {
        args: &["exec", "-s", "CONTAINER", "sh", "-c", "echo out; exit 5"],
        input: "",
        code: 1,
        stdout: "",
    },
    Step {
        args: &["exec", "CONTAINER", "cat", "/etc/critape-image"],
        input: "",
        code: 0,
        stdout: "busybox 1.0",
    },
    Step {
        args: &["exec", "CONTAINER", "sh", "-c", "echo out; echo err >&2; exit 5"],
        input: "",
        code: 1,
        stdout: "out",
    },
    Step { args: &["exec", "CONTAINER", "no-such-binary"], input: "", code: 1, stdout: "" },
    Step { args: &["exec", "-i", "CONTAINER", "cat"], input: WHISPERED, code: 0, stdout: "whispered" },
    Step {
        args: &["exec", "--transport", "spdy", "-i", "CONTAINER", "cat"],
        input: WHISPERED,
        code: 0,
        stdout: "whispered",
    },
    Step { args: &["attach", "-i", "CONTAINER"], input: WHISPERED, code: 0, stdout: "heard whispered" },
];

#[test]
fn of_1_6_go_past_the_recorder() {
    go_past(Version::V1_6);
}

#[test]
fn of_2_1_go_past_the_recorder() {
    go_past(Version::V2_1);
}

#[track_caller]
fn go_past(version: Version) {
    let Some(parts) = require(&[Part::Containerd(version), Part::Crictl]) else { return };
    let (place, critape) = (Place::new(), Critape::get());
    let runtime = place.runtime(version);
    let tape = place.join("tape");
    let recorder = critape.record(&tape, &runtime.socket(), &place.join("rec.sock"));
    let recorded = session(&Crictl::new(&parts, place.path(), recorder.socket()), &place, "recorded");
    recorder.end();
    let direct = session(&Crictl::new(&parts, place.path(), &runtime.socket()), &place, "direct");
    assert_eq!(recorded, direct);

    let calls = critape.calls(&tape);
    let opened = sealed::opened(&critape, &tape);
    assert!(!opened.contains(WHISPERED));
    let opened: Vec<Value> = opened.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut tokens = Vec::new();
    for (method, count) in [("Exec", 5), ("Attach", 1), ("PortForward", 1)] {
        let of_it = |call: &&Value| text(call, "/method").ends_with(&format!("/{method}"));
        assert_eq!(calls.iter().filter(of_it).count(), count, "{method}");
        for (call, opened) in calls.iter().filter(of_it).zip(opened.iter().filter(of_it)) {
            assert_eq!(text(call, "/outcome/code"), "OK");
            let (url, token) = text(opened, "/responses/0/url").rsplit_once('/').unwrap();
            assert!(text(call, "/responses/0/url").starts_with(&format!("{url}/sealed:v1:")), "{call:#}");
            tokens.push(token);
        }
    }
    sealed::hides(&critape, &tape, &tokens);
    assert_eq!(critape.tape("verify", &tape)["whole"], true);
}

/// Goes through all steps with a pod of this name; how each ended, without what is another in each run.
#[track_caller]
fn session(crictl: &Crictl, place: &Place, name: &str) -> Vec<(i32, String, String)> {
    crictl.run(&["pull", BUSYBOX]).well();
    let (pod, container) = listener(crictl, place, name);
    let forwarded = forward(crictl, &pod);
    let steps = STEPS.iter().map(|step| {
        let args: Vec<&str> =
            step.args.iter().map(|arg| if *arg == "CONTAINER" { &container } else { *arg }).collect();
        let mut process = crictl.start(&args);
        if !step.input.is_empty() {
            process.tell(step.input);
        }
        process.end_input();
        let ended = process.ended();
        // Some of its commands add empty lines.
        let stdout = ended.stdout.trim_end();
        assert_eq!((ended.code(), stdout), (step.code, step.stdout), "{args:?}: {}", ended.stderr);
        let stderr = plain::steady(&plain::named(&ended.stderr, &[(container.clone(), "container")]));
        (ended.code(), ended.stdout, stderr)
    });
    let mut said: Vec<_> = steps.collect();
    said.push((forwarded.code(), forwarded.stdout, forwarded.stderr));
    until("the container ends with its input", || {
        let status = crictl.json(&["inspect", &container]);
        (status["status"]["exitCode"] == 4).then_some(())
    });
    crictl.run(&["rmp", "-f", &pod]).well();
    said
}

/// Makes a pod that serves its /etc, and says what it hears until it has heard one line; gives the ids of both.
#[track_caller]
fn listener(crictl: &Crictl, place: &Place, name: &str) -> (String, String) {
    let pod_file = place.write(
        "pod.json",
        &json!({
            "metadata": { "name": name, "namespace": "default", "uid": name, "attempt": 0 },
            "log_directory": place.join("logs"),
            "linux": { "cgroup_parent": "/critape-e2e" },
        }),
    );
    let container_file = place.write(
        "container.json",
        &json!({
            "metadata": { "name": "main" },
            "image": { "image": BUSYBOX },
            "command": ["sh", "-c", "httpd -p 8080 -h /etc; read line; echo heard $line; exit 4"],
            "log_path": "main.log",
            "stdin": true,
            "stdin_once": true,
        }),
    );
    let pod = crictl.made(&["runp", &pod_file]);
    let container = crictl.made(&["create", &pod, &container_file, &pod_file]);
    crictl.run(&["start", &container]).well();
    (pod, container)
}

/// Reads a file of the pod's through a forwarded port.
#[track_caller]
fn forward(crictl: &Crictl, pod: &str) -> Ended {
    let forwarding = crictl.start(&["port-forward", pod, ":8080"]);
    let port = until("a port is forwarded", || {
        let said = forwarding.stdout();
        let (_, port) = said.split_once("Forwarding from 127.0.0.1:")?;
        port.split_once(' ').map(|(port, _)| port.to_owned())
    });
    let (status, body) = http::get(&format!("http://127.0.0.1:{port}"), "/critape-image", None);
    assert_eq!((status, &*body), (200, "busybox 1.0\n"));
    let mut ended = forwarding.interrupted();
    ended.stdout = ended.stdout.replace(&port, "<port>");
    ended
}
