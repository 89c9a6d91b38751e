//! The kubelet by itself, directly and through the recorder.

mod pods;
mod streams;
mod tapes;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use critape_e2e::critape::Recorder;
use critape_e2e::parts::require;
use critape_e2e::process::until;
use critape_e2e::{Crictl, Critape, Kubelet, Part, Version};
use serde_json::{Value, json};

use crate::place::Place;
use crate::{sealed, text};
use pods::{as_destined, manifests, restarts};

/// Has the kubelet listen to events of containers, where else it lists them each second.
const LISTENS: &[&str] = &["--feature-gates", "EventedPLEG=true"];

#[test]
fn lives_on_2_1_through_the_recorder_as_directly() {
    lives(Version::V2_1, LISTENS);
}

#[test]
fn lives_on_1_7_through_the_recorder_as_directly() {
    lives(Version::V1_7, &[]);
}

/// What kubelet says to each runtime, for whatever reads tapes.
#[test]
#[ignore = "writes the golden tapes anew"]
fn golden_tapes_are_written() {
    for (version, arguments) in [(Version::V2_1, LISTENS), (Version::V1_7, &[])] {
        let Some(parts) = require(&[Part::Containerd(version), Part::Kubelet]) else { return };
        let (place, critape) = (Place::new(), Critape::get());
        let runtime = place.runtime(version);
        let recording = Recording::start(&critape, &place);
        let pods = manifests("a planted secret");
        let kubelet = Kubelet::start(&place.join("kubelet"), &recording.socket, &pods, arguments);
        let crictl = Crictl::new(&parts, place.path(), &runtime.socket());
        become_as_destined(&kubelet);
        ["probed", "crashing", "finishing"].into_iter().for_each(|pod| end(&kubelet, &crictl, pod));
        drop((kubelet, runtime));
        recording.recorder.unwrap().end();
        let file = format!("{}/golden/kubelet-{version}.critape", env!("CARGO_MANIFEST_DIR"));
        let tape = recording.tape.display().to_string();
        critape.run(&["tape", "export", &tape, &file, "--with-key"]).well();
    }
}

#[track_caller]
fn lives(version: Version, arguments: &[&str]) {
    let Some(parts) = require(&[Part::Containerd(version), Part::Kubelet]) else { return };
    let (place, critape) = (Place::new(), Critape::get());
    let secret = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned();
    let start =
        |socket: &Path| Kubelet::start(&place.join("kubelet"), socket, &manifests(&secret), arguments);

    let runtime = place.runtime(version);
    let kubelet = start(&runtime.socket());
    let crictl = Crictl::new(&parts, place.path(), &runtime.socket());
    life("directly", &kubelet, &crictl, || {
        runtime.crash();
        runtime.restart();
    });
    drop((kubelet, runtime));

    let runtime = place.runtime(version);
    let mut recording = Recording::start(&critape, &place);
    let kubelet = start(&recording.socket);
    life("through the recorder", &kubelet, &crictl, || recording.crash_and_go_on());
    drop((kubelet, runtime));
    recording.is_whole(&parts.kubelet().display().to_string());
    recording.has_methods(arguments == LISTENS);
    sealed::hides(&critape, &recording.tape, &[&secret]);
}

/// The pods become what they are to be, what is between kubelet and runtime crashes and comes back, and a pod is to end.
#[track_caller]
fn life(how: &str, kubelet: &Kubelet, crictl: &Crictl, crash: impl FnOnce()) {
    let begin = Instant::now();
    become_as_destined(kubelet);
    let became = begin.elapsed();
    crash();
    let begin = Instant::now();
    let before = (restarts(&kubelet.pods()), kubelet.probes());
    until("the kubelet goes on with the pods", || {
        let pods = kubelet.pods();
        let goes_on = restarts(&pods) > before.0 && kubelet.probes() > before.1;
        (as_destined(&pods) && goes_on).then_some(())
    });
    println!("{how}: the pods took {became:.1?}, and {:.1?} to go on after the crash", begin.elapsed());
    end(kubelet, crictl, "probed");
}

#[track_caller]
fn become_as_destined(kubelet: &Kubelet) {
    until("the pods become what they are to be", || as_destined(&kubelet.pods()).then_some(()));
}

/// Takes a pod's manifest away, and waits for what follows.
#[track_caller]
fn end(kubelet: &Kubelet, crictl: &Crictl, pod: &str) {
    kubelet.withdraw(pod);
    until("a pod without manifest ends", || {
        let left = crictl.run(&["pods", "--name", pod, "--state", "ready", "-q"]).well();
        let told = kubelet.pods().iter().any(|one| one.name == pod);
        (left.is_empty() && !told).then_some(())
    });
}

/// A tape with a crash in the middle.
struct Recording<'a> {
    critape: &'a Critape,
    tape: PathBuf,
    runtime: PathBuf,
    socket: PathBuf,
    recorder: Option<Recorder>,
    /// How many calls it had at the crash.
    at_crash: usize,
}

impl<'a> Recording<'a> {
    fn start(critape: &'a Critape, place: &Place) -> Self {
        let (tape, runtime, socket) = (place.join("tape"), place.runtime_socket(), place.join("rec.sock"));
        let recorder = Some(critape.record(&tape, &runtime, &socket));
        Self { critape, tape, runtime, socket, recorder, at_crash: 0 }
    }

    /// Once a probe is on the tape: what was just said may be lost.
    #[track_caller]
    fn crash_and_go_on(&mut self) {
        until("a probe is on the tape", || {
            methods(&self.critape.calls(&self.tape)).contains("ExecSync").then_some(())
        });
        self.recorder.take().unwrap().crash();
        self.at_crash = self.critape.calls(&self.tape).len();
        self.recorder = Some(self.critape.record(&self.tape, &self.runtime, &self.socket));
    }

    /// Ends it.
    #[track_caller]
    fn is_whole(&mut self, kubelet: &str) {
        self.recorder.take().unwrap().end();
        let verified = self.critape.tape("verify", &self.tape);
        assert_eq!((&verified["whole"], &verified["clean"]), (&json!(true), &json!(false)), "{verified:#}");
        let info = self.critape.tape("info", &self.tape);
        assert_eq!((&info["gaps"], &info["segments"]), (&json!([]), &json!(2)), "{info:#}");
        let calls = &info["calls"];
        assert_eq!(info["peers"], json!([{ "exe": kubelet, "uid": 0, "calls": calls }]), "{info:#}");
    }

    #[track_caller]
    fn has_methods(&self, listens: bool) {
        let calls = self.critape.calls(&self.tape);
        let (before, after) = calls.split_at(self.at_crash);
        let started = ["Status", "RunPodSandbox", "PullImage", "CreateContainer", "StartContainer"];
        let always = ["ListPodSandbox", "ListContainers", "PodSandboxStatus", "ContainerStatus", "ExecSync"];
        let ended = ["StopContainer", "StopPodSandbox", "RemoveContainer"];
        let before = methods(before);
        for method in started.iter().chain(&always) {
            assert!(before.contains(method), "no {method} before the crash: {before:?}");
        }
        let after = methods(after);
        for method in always.iter().chain(&ended) {
            assert!(after.contains(method), "no {method} after the crash: {after:?}");
        }
        assert_eq!(before.contains("GetContainerEvents"), listens);
    }
}

fn methods(calls: &[Value]) -> BTreeSet<&str> {
    calls.iter().filter_map(|call| text(call, "/method").rsplit('/').next()).collect()
}
