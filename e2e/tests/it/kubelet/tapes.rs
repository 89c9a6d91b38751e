//! The golden tapes of a kubelet, replayed on the runtimes that made them.

use critape_e2e::parts::require;
use critape_e2e::{Critape, Part, Version};
use serde_json::Value;

use crate::place::Place;

/// Why a call of these tapes may stay inconclusive: the last container of the one that crashes was stopped as it crashed.
const EXPLAINED: &str = "its container ended by itself while it was being stopped";

/// Parts of them.
const PARTS: [&str; 4] =
    ["--pod crashing-n1", "--pod probed-n1", "--method ContainerStatus", "--method List*"];
/// A part of the one with a stream of events.
const EVENTS: &str = "--method GetContainerEvents";

#[test]
fn a_kubelets_tape_from_2_1_replays_there() {
    replays(Version::V2_1);
}

#[test]
fn a_kubelets_tape_from_1_7_replays_there() {
    replays(Version::V1_7);
}

/// In a fresh folder, where the image is not there before it is pulled, as it was.
#[track_caller]
fn replays(version: Version) {
    if require(&[Part::Containerd(version)]).is_none() {
        return;
    }
    let (place, critape) = (Place::new(), Critape::get());
    let file = format!("{}/golden/kubelet-{version}.critape", env!("CARGO_MANIFEST_DIR"));
    let tape = place.join("tape");
    critape.run(&["tape", "import", &file, &tape.display().to_string()]).well();
    let runtime = place.runtime(version);
    let replay = critape.replay(&tape, &runtime.socket(), &[]);
    replay.same();
    for part in PARTS.into_iter().chain((version == Version::V2_1).then_some(EVENTS)) {
        // As a runtime is that had others before.
        let options: Vec<&str> = part.split(' ').chain(["--pace", "max"]).collect();
        println!("{part}\n");
        let replay = critape.replay(&tape, &runtime.socket(), &options);
        assert_eq!(replay.report["findings"].as_array().map(Vec::len), Some(0), "{part}");
        explained(&replay.report);
    }
    let count = |name: &str| replay.report["calls"][name].as_u64().unwrap();
    assert!(count("compared") * 100 >= count("recorded") * 99, "{:#}", replay.report["calls"]);
    assert_eq!(count("compared") + count("inconclusive"), count("recorded"), "{:#}", replay.report["calls"]);
    explained(&replay.report);
}

#[track_caller]
fn explained(report: &Value) {
    for why in report["inconclusive"].as_array().unwrap() {
        assert!(why["reason"].as_str().unwrap().starts_with(EXPLAINED), "{why:#}");
    }
}
