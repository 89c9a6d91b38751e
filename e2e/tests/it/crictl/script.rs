//! What a person does with crictl in a day, mishaps included.

use std::fs;
use std::path::PathBuf;

use critape_e2e::Crictl;
use critape_e2e::process::until;
use critape_e2e::session::BUSYBOX;
use serde_json::{Value, json};

use crate::place::Place;
use crate::plain;

/// One command.
#[derive(Debug)]
pub struct Step {
    /// Its words; `POD` and `CONTAINER` are the ids of those, `POD_FILE` and `CONTAINER_FILE` their configurations.
    words: &'static str,
    /// Whether its output is of use of memory and time.
    measures: bool,
    /// The calls that it makes, without those for the version that all begin with. `ImageFsInfo` is how it greets an image
    /// service. How a runtime of 1.6 ends a call stands behind a colon where it is not `OK`.
    calls: &'static str,
}

impl Step {
    /// The calls that it makes, and how they end.
    pub fn calls(&self) -> Vec<(&'static str, &'static str)> {
        self.calls.split_whitespace().map(|call| call.split_once(':').unwrap_or((call, "OK"))).collect()
    }
}

const fn does(words: &'static str, calls: &'static str) -> Step {
    Step { words, measures: false, calls }
}

const fn measures(words: &'static str, calls: &'static str) -> Step {
    Step { words, measures: true, calls }
}

/// All commands, in their order. At the end all that they made is gone but the image of sandboxes, which the runtime
/// pulled.
pub const STEPS: &[Step] = &[
    does("version", ""),
    does("info", "Status"),
    does("pull localhost:5000/busybox:1.0", "ImageFsInfo PullImage"),
    does("inspecti localhost:5000/busybox:1.0", "ImageFsInfo ImageStatus"),
    does("runp POD_FILE", "RunPodSandbox"),
    does("pods", "ListPodSandbox"),
    does("pods -o json", "ListPodSandbox"),
    does("create POD CONTAINER_FILE POD_FILE", "CreateContainer"),
    does("ps -a", "ImageFsInfo ListContainers"),
    does("start CONTAINER", "StartContainer"),
    does("exec -s CONTAINER hostname", "ImageFsInfo ExecSync"),
    does("exec -s CONTAINER no-such-binary", "ImageFsInfo ExecSync:UNKNOWN"),
    does("exec -s CONTAINER false", "ImageFsInfo ExecSync"),
    does("ps", "ImageFsInfo ListContainers"),
    does("ps -o json", "ImageFsInfo ListContainers"),
    does("inspect CONTAINER", "ImageFsInfo ContainerStatus"),
    does("inspectp POD", "PodSandboxStatus"),
    does("images", "ImageFsInfo ListImages"),
    does("images -o json", "ImageFsInfo ListImages"),
    measures("stats", "ListContainerStats ListContainerStats"),
    measures("stats -o json", "ListContainerStats"),
    measures("statsp", "ListPodSandboxStats ListPodSandboxStats"),
    measures("imagefsinfo", "ImageFsInfo ImageFsInfo"),
    does("logs CONTAINER", "ContainerStatus"),
    does("stop --timeout 5 CONTAINER", "StopContainer"),
    does("stop CONTAINER", "StopContainer"),
    does("ps -a", "ImageFsInfo ListContainers"),
    does("inspect CONTAINER", "ImageFsInfo ContainerStatus"),
    does("exec -s CONTAINER hostname", "ImageFsInfo ExecSync:UNKNOWN"),
    does("rm CONTAINER", "ContainerStatus RemoveContainer"),
    does("rm CONTAINER", "ContainerStatus:NOT_FOUND"),
    does("stop CONTAINER", "StopContainer:NOT_FOUND"),
    does("inspect CONTAINER", "ImageFsInfo ContainerStatus:NOT_FOUND"),
    does("stopp POD", "StopPodSandbox"),
    does("stopp POD", "StopPodSandbox"),
    does("pods", "ListPodSandbox"),
    does("inspectp POD", "PodSandboxStatus"),
    does("rmp POD", "PodSandboxStatus RemovePodSandbox"),
    does("rmp POD", "PodSandboxStatus:NOT_FOUND"),
    does("stopp POD", "StopPodSandbox:NOT_FOUND"),
    does("pods", "ListPodSandbox"),
    does("ps -a", "ImageFsInfo ListContainers"),
    does("pull localhost:5000/no-such:1.0", "ImageFsInfo PullImage:NOT_FOUND"),
    does("rmi localhost:5000/busybox:1.0", "ImageFsInfo ImageStatus RemoveImage"),
];

/// How one command ended, without what is another in each run.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    command: &'static str,
    code: i32,
    stdout: String,
    stderr: String,
}

impl Said {
    /// In what this differs from the same command's end in another run.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let lines = plain::difference(&self.stdout, &other.stdout);
        let complaints = plain::difference(&self.stderr, &other.stderr);
        let codes = (self.code != other.code).then(|| format!("exit code {} | {}", self.code, other.code));
        let all = codes.into_iter().chain(lines).chain(complaints);
        all.map(|difference| format!("{}: {difference}", self.command)).collect()
    }
}

/// Runs all commands.
pub fn run(crictl: &Crictl, place: &Place) -> Vec<Said> {
    let files = Files::write(place);
    let mut names: Vec<(String, &str)> = Vec::new();
    STEPS.iter().map(|step| files.run(step, crictl, &mut names)).collect()
}

/// The configurations.
struct Files {
    pod: PathBuf,
    container: PathBuf,
    log: PathBuf,
}

impl Files {
    fn write(place: &Place) -> Self {
        let logs = place.join("logs");
        let files = Self {
            pod: place.join("pod.json"),
            container: place.join("container.json"),
            log: logs.join("main.log"),
        };
        // Of an earlier run.
        let _ = fs::remove_file(&files.log);
        let pod = json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "0f3a1c9e-7d21-4b83-9c46-1a2b3c4d5e6f", "attempt": 0 },
            "hostname": "web",
            "log_directory": logs,
            "labels": { "app": "web" },
            "annotations": { "example.com/note": "crictl" },
            "linux": { "cgroup_parent": "/critape-e2e" },
        });
        let container = json!({
            "metadata": { "name": "main" },
            "image": { "image": BUSYBOX },
            "command": ["sh", "-c", "echo hello; trap 'exit 7' TERM; while :; do sleep 0.2; done"],
            "envs": [{ "key": "TOKEN", "value": "correct horse" }],
            "labels": { "role": "main" },
            "log_path": "main.log",
            "linux": { "resources": { "memory_limit_in_bytes": 64 << 20, "cpu_shares": 256 } },
        });
        for (file, value) in [(&files.pod, pod), (&files.container, container)] {
            fs::write(file, value.to_string()).unwrap();
        }
        files
    }

    fn run(&self, step: &Step, crictl: &Crictl, names: &mut Vec<(String, &'static str)>) -> Said {
        if step.words.starts_with("logs") {
            // Written by the runtime some time after the container has said it.
            until("the container's log", || fs::metadata(&self.log).ok().filter(|log| log.len() > 0));
        }
        let args: Vec<String> = step.words.split(' ').map(|word| self.filled_in(word, names)).collect();
        let ended = crictl.run(&args);
        names.extend(learned(&args, &ended.stdout));
        let shown = |text: &str| {
            let text = plain::named(text, names);
            if step.measures { plain::without_figures(&text) } else { plain::steady(&text) }
        };
        Said {
            command: step.words,
            code: ended.code(),
            stdout: shown(&ended.stdout),
            stderr: shown(&ended.stderr),
        }
    }

    fn filled_in(&self, word: &str, names: &[(String, &str)]) -> String {
        let id = |wanted: &str| names.iter().find(|(_, name)| *name == wanted).map(|(id, _)| id.clone());
        match word {
            "POD" => id("pod").unwrap(),
            "CONTAINER" => id("container").unwrap(),
            "POD_FILE" => self.pod.display().to_string(),
            "CONTAINER_FILE" => self.container.display().to_string(),
            word => word.to_owned(),
        }
    }
}

/// What a command tells the name of: the pod, its address, the container.
fn learned(args: &[String], stdout: &str) -> Option<(String, &'static str)> {
    match args[0].as_str() {
        "runp" => Some((stdout.trim().to_owned(), "pod")),
        "create" => Some((stdout.trim().to_owned(), "container")),
        "inspectp" => {
            let status: Value = serde_json::from_str(stdout).ok()?;
            let address = status["status"]["network"]["ip"].as_str().filter(|ip| !ip.is_empty())?;
            Some((address.to_owned(), "address"))
        }
        _ => None,
    }
}
