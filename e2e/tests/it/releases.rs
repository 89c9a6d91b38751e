//! A tape of every RPC, for each release: kept in `golden`, and replayed on itself and on the releases after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cri::{Generation, methods};
use critape_e2e::critape::Replay;
use critape_e2e::parts::require;
use critape_e2e::{Crictl, Critape, Part, Version, golden};
use serde_json::Value;

use crate::crictl::script;
use crate::place::Place;
use crate::{session, text};

/// Calls that are replayed on the runtime that was recorded, at least.
const MANY: usize = 1000;

#[test]
fn of_1_6_replays_a_thousand_calls_without_a_finding() {
    replays_on_itself(Version::V1_6);
}

#[test]
fn of_1_7_replays_a_thousand_calls_without_a_finding() {
    replays_on_itself(Version::V1_7);
}

#[test]
fn of_2_1_replays_a_thousand_calls_without_a_finding() {
    replays_on_itself(Version::V2_1);
}

#[test]
fn of_1_6_replays_on_1_7_with_what_has_changed() {
    replays_on("containerd-1.6", Version::V1_7);
}

#[test]
fn of_1_6_replays_on_2_1_with_what_has_changed() {
    replays_on("containerd-1.6", Version::V2_1);
}

#[test]
fn of_1_7_replays_on_2_1_with_what_has_changed() {
    replays_on("containerd-1.7", Version::V2_1);
}

#[test]
fn of_v1alpha2_replays_on_2_1_with_what_has_changed() {
    replays_on("containerd-1.6-v1alpha2", Version::V2_1);
}

/// Records until there are many calls, and replays them without any calibration.
#[track_caller]
fn replays_on_itself(version: Version) {
    if require(&[Part::Containerd(version), Part::Crictl]).is_none() {
        return;
    }
    let (place, critape) = (Place::new(), Critape::get());
    let tape = record(&critape, &place, version, MANY, Generation::V1);
    let runtime = place.runtime(version);
    println!("the tape of {version} on {version}\n");
    let replay = critape.replay(&tape, &runtime.socket(), &["--allow-node-changes"]);
    let findings = replay.report["findings"].as_array().unwrap().iter();
    // The machine may have been busier at one time than at the other.
    let found: Vec<&Value> = findings.filter(|finding| finding["kind"] != "latency").collect();
    assert!(found.is_empty(), "{found:#?}");
    let calls = &replay.report["calls"];
    assert!(calls["compared"].as_u64() >= Some(MANY as u64), "{calls}");
    // Where an id's beginning fits several objects, it does so by chance.
    let is_chance = |why: &Value| text(why, "/reason") == "its id is a prefix that fits several objects";
    let inconclusive = replay.report["inconclusive"].as_array().unwrap();
    assert!(inconclusive.iter().all(is_chance), "{inconclusive:?}");
    assert_eq!(calls["skipped"], 0);
}

/// Replays a golden tape, and holds the findings against those that are known.
#[track_caller]
fn replays_on(tape: &str, version: Version) {
    if require(&[Part::Containerd(version)]).is_none() {
        return;
    }
    let (place, critape) = (Place::of_golden_tapes(), Critape::get());
    let imported = imported(&critape, &place, tape);
    let runtime = place.runtime(version);
    println!("{tape} on {version}\n");
    let replay: Replay = critape.replay(&imported, &runtime.socket(), &["--allow-node-changes"]);
    assert_eq!(replay.code, 1);
    golden::expect(&replay.report, &format!("{tape}-on-{version}.json"));
}

#[test]
fn every_rpc_is_on_the_golden_tapes() {
    let (place, critape) = (Place::new(), Critape::get());
    let mut answers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for version in [Version::V1_6, Version::V1_7, Version::V2_1] {
        let tape = imported(&critape, &place, &format!("containerd-{version}"));
        let codes = codes(&critape.calls(&tape));
        for method in methods().iter().filter(|method| method.generation == Generation::V1) {
            let codes = codes.get(&method.path).unwrap_or_else(|| panic!("{version}: no {}", method.name));
            let served = !codes.contains("UNIMPLEMENTED");
            let well = ["OK", "CANCELLED", OPEN].iter().any(|code| codes.contains(*code))
                || method.name == NEEDS_CRIU;
            assert!(!served || well, "{version}: {} never goes well: {codes:?}", method.name);
            let told =
                if served { codes.iter().cloned().collect::<Vec<_>>().join(" ") } else { "-".to_owned() };
            answers.entry(&method.name).or_default().push(told);
        }
    }
    let mut table = "| RPC | 1.6 | 1.7 | 2.1 |\n| --- | --- | --- | --- |\n".to_owned();
    for (rpc, answers) in &answers {
        table.extend([format!("| {rpc} | {} |\n", answers.join(" | "))]);
    }
    golden::section("rpcs", &table);
}

#[test]
fn every_finding_is_judged_and_no_known_change_is_missed() {
    let unjudged = golden::unjudged();
    assert!(unjudged.is_empty(), "{}", unjudged.join("\n"));
    let unseen = golden::unseen_changes();
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
    golden::section("findings", &golden::findings_table());
    golden::section("changes", &golden::changes_table());
}

/// Fails on a machine without CRIU.
const NEEDS_CRIU: &str = "CheckpointContainer";

/// In place of a code, of a stream that the client left without a word.
const OPEN: &str = "open";

/// The codes with which calls ended, by path.
fn codes(calls: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut codes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for call in calls {
        let is_open = text(call, "/outcome/kind") == "truncated";
        let code = if is_open { OPEN } else { text(call, "/outcome/code") }.to_owned();
        codes.entry(text(call, "/method").to_owned()).or_default().insert(code);
    }
    codes
}

#[test]
#[ignore = "writes the golden tapes anew"]
fn golden_tapes_of_every_rpc_are_written() {
    for (version, generation, name) in [
        (Version::V1_6, Generation::V1, "containerd-1.6"),
        (Version::V1_7, Generation::V1, "containerd-1.7"),
        (Version::V2_1, Generation::V1, "containerd-2.1"),
        (Version::V1_6, Generation::V1Alpha2, "containerd-1.6-v1alpha2"),
    ] {
        if require(&[Part::Containerd(version), Part::Crictl]).is_none() {
            return;
        }
        let (place, critape) = (Place::of_golden_tapes(), Critape::get());
        let tape = record(&critape, &place, version, 1, generation).display().to_string();
        let file = golden::file(&format!("{name}.critape")).display().to_string();
        let _ = std::fs::remove_file(&file);
        critape.run(&["tape", "export", &tape, &file, "--with-key"]).well();
    }
}

/// Records crictl and the session on a new runtime, over and over until there are so many calls; crictl speaks v1 only.
fn record(
    critape: &Critape,
    place: &Place,
    version: Version,
    calls: usize,
    generation: Generation,
) -> PathBuf {
    let tape = place.join("tape");
    let parts = require(&[Part::Crictl]).unwrap();
    let runtime = place.runtime(version);
    let recorder = critape.record(&tape, &runtime.socket(), &place.join("rec.sock"));
    let crictl = Crictl::new(&parts, place.path(), recorder.socket());
    let mut made = 0;
    while made < calls {
        if generation == Generation::V1 {
            script::run(&crictl, place);
        }
        made += session::run_in(place, recorder.socket(), generation).len();
    }
    recorder.end();
    tape
}

fn imported(critape: &Critape, place: &Place, name: &str) -> PathBuf {
    let file = golden::file(&format!("{name}.critape")).display().to_string();
    let tape = place.join(name);
    critape.run(&["tape", "import", &file, &tape.display().to_string()]).well();
    tape
}
