//! A kubelet of one's own, run by `kubelet.sh`: pods from manifests, no API server.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use crate::http;
use crate::process::{Process, patiently, until};

/// Kubelets take turns: they have files at places that are the same for all.
static TURN: Mutex<()> = Mutex::new(());

/// A kubelet that runs until this is dropped, or the test process ends. Its pods run on.
#[derive(Debug)]
pub struct Kubelet {
    process: Process,
    folder: PathBuf,
    /// Where it answers without TLS.
    address: String,
    _turn: MutexGuard<'static, ()>,
}

impl Kubelet {
    /// Starts one on the runtime at `socket`, with these manifests of pods and arguments, once no other runs.
    ///
    /// It keeps everything in `folder`, which has to be absent, and is deleted at the end.
    ///
    /// # Panics
    /// Where it does not answer.
    #[track_caller]
    pub fn start(folder: &Path, socket: &Path, pods: &[Value], arguments: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(folder.join("pods")).expect("a folder of the test's own");
        for pod in pods {
            let manifest = manifest(folder, pod["metadata"]["name"].as_str().expect("pods have names"));
            fs::write(manifest, pod.to_string()).expect("a folder of the test's own");
        }
        let [port, plain] = free_ports().expect("loopback has free ports");
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("kubelet.sh"));
        command.arg(socket).arg(folder).args([port, plain].map(|port| port.to_string())).args(arguments);
        let process = Process::start(command.stdin(Stdio::piped()));
        let address = format!("http://127.0.0.1:{plain}");
        let mut kubelet = Self { process, folder: folder.to_owned(), address, _turn: turn };
        until("the kubelet answers", || {
            let ended = kubelet.process.has_ended();
            assert!(!ended, "the kubelet does not start: {}", kubelet.process.stderr());
            kubelet.answers().then_some(())
        });
        kubelet
    }

    /// What it tells of its pods, by their names.
    ///
    /// # Panics
    /// Where it does not answer.
    #[track_caller]
    pub fn pods(&self) -> Vec<Pod> {
        let list: Value = serde_json::from_str(&self.told("/pods")).expect("JSON");
        let mut pods: Vec<Pod> = list["items"].as_array().into_iter().flatten().map(Pod::of).collect();
        pods.sort_by(|one, other| one.name.cmp(&other.name));
        pods
    }

    /// How many probes of containers have gone well.
    ///
    /// # Panics
    /// Where it does not answer.
    #[track_caller]
    pub fn probes(&self) -> u64 {
        let metrics = self.told("/metrics/probes");
        let well =
            |line: &&str| line.starts_with("prober_probe_total{") && line.contains("result=\"successful\"");
        let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        metrics.lines().filter(well).filter_map(count).sum()
    }

    #[track_caller]
    fn told(&self, path: &str) -> String {
        let (status, body) = http::get(&self.address, path, None);
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Takes a pod's manifest away, so that the pod is to end.
    ///
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn withdraw(&self, pod: &str) {
        fs::remove_file(manifest(&self.folder, pod)).expect("the pod has a manifest");
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("kubelet.log")).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        let host = self.address.trim_start_matches("http://");
        std::net::TcpStream::connect(host).is_ok()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the end of the kubelet's log:\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
        // The script takes this for the end of the test, and cleans up. Killed, it could not.
        self.process.end_input();
        let ended = patiently(|| self.process.has_ended().then_some(()));
        let complaints = self.process.stderr();
        // No panic: one may be under way.
        if ended.is_none() || !complaints.is_empty() {
            eprintln!("stopping the kubelet in {}: {ended:?} {complaints}", self.folder.display());
        }
    }
}

/// How a pod with one container does, without what is another in each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name, without the node's.
    pub name: String,
    /// As `Running`.
    pub phase: String,
    /// Whether its container is.
    pub ready: bool,
    /// How often its container was started again.
    pub restarts: u64,
    /// The exit code and the reason with which its container ended the last time.
    pub ended: Option<(i64, String)>,
}

impl Pod {
    fn of(pod: &Value) -> Self {
        let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let container = &pod["status"]["containerStatuses"][0];
        let ended = ["state", "lastState"].into_iter().find_map(|state| {
            let ended = &container[state]["terminated"];
            Some((ended["exitCode"].as_i64()?, ended["reason"].as_str()?.to_owned()))
        });
        Self {
            name: text("/metadata/name").trim_end_matches("-n1").to_owned(),
            phase: text("/status/phase").to_owned(),
            ready: container["ready"] == true,
            restarts: container["restartCount"].as_u64().unwrap_or_default(),
            ended,
        }
    }
}

fn manifest(folder: &Path, pod: &str) -> PathBuf {
    folder.join("pods").join(pod).with_extension("json")
}

/// Two ports that nobody has. Somebody may take one before the kubelet does, but the kernel gives them out in no order.
fn free_ports() -> io::Result<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [one, other] = listeners.each_ref().map(TcpListener::local_addr);
    Ok([one?.port(), other?.port()])
}
