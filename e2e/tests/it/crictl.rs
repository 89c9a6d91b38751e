//! crictl through the recorder; its tape on this and other releases is part of those in `releases`.

pub mod script;

use std::path::PathBuf;

use critape_e2e::parts::require;
use critape_e2e::{Crictl, Critape, Part, Parts, Version};
use serde_json::{Value, json};

use crate::place::Place;
use crate::text;
use script::{STEPS, Said};

#[test]
fn says_through_the_recorder_what_it_says_directly() {
    let Some(parts) = require(&[Part::Containerd(Version::V1_6), Part::Crictl]) else { return };
    let (place, critape) = (Place::new(), Critape::get());
    let runtime = place.runtime(Version::V1_6);
    // The first to use the new runtime, as in the other tests.
    let recording = Recording::make(&critape, &parts, &place);
    let direct = script::run(&Crictl::new(&parts, place.path(), &runtime.socket()), &place);
    let pairs = recording.said.iter().zip(&direct);
    let differences: Vec<String> =
        pairs.flat_map(|(recorded, direct)| recorded.differences(direct)).collect();
    assert!(differences.is_empty(), "recorded | direct:\n{}", differences.join("\n"));
}

#[test]
fn makes_no_call_that_is_not_on_the_tape() {
    let Some(parts) = require(&[Part::Containerd(Version::V1_6), Part::Crictl]) else { return };
    let (place, critape) = (Place::new(), Critape::get());
    let _runtime = place.runtime(Version::V1_6);
    let Recording { tape, summary, .. } = Recording::make(&critape, &parts, &place);

    let calls = critape.calls(&tape);
    let processes = by_process(&calls);
    assert_eq!(processes.len(), STEPS.len());
    for (step, made) in STEPS.iter().zip(&processes) {
        assert_eq!(*made, step.calls(), "{step:?}");
    }
    for call in &calls {
        assert_eq!(call["outcome"]["kind"], "status", "{call:#}");
        assert_eq!(call["requests"].as_array().map(Vec::len), Some(1), "{call:#}");
        let answers = usize::from(call["outcome"]["code"] == "OK");
        assert_eq!(call["responses"].as_array().map(Vec::len), Some(answers), "{call:#}");
    }

    let info = critape.tape("info", &tape);
    assert_eq!(info, summary);
    assert_eq!(info["calls"], calls.len());
    assert_eq!((&info["clean"], &info["open"], &info["segments"]), (&json!(true), &json!(false), &json!(1)));
    assert_eq!((&info["generations"], &info["gaps"]), (&json!(["runtime.v1"]), &json!([])));
    assert_eq!(info["runtime"]["name"], "containerd");
    assert_eq!(info["peers"], json!([{ "exe": parts.crictl(), "uid": 0, "calls": calls.len() }]));
    let verified = critape.tape("verify", &tape);
    assert_eq!((&verified["whole"], &verified["calls"]), (&json!(true), &info["calls"]));
}

/// What a recording of the script left.
struct Recording {
    tape: PathBuf,
    summary: Value,
    said: Vec<Said>,
}

impl Recording {
    /// Records the script on the runtime that is in this place.
    fn make(critape: &Critape, parts: &Parts, place: &Place) -> Self {
        let tape = place.join("tape");
        let recorder = critape.record(&tape, &place.runtime_socket(), &place.join("rec.sock"));
        let said = script::run(&Crictl::new(parts, place.path(), recorder.socket()), place);
        Self { tape, summary: recorder.end(), said }
    }
}

/// The calls that each process made, and how they ended; without those for the version.
fn by_process(calls: &[Value]) -> Vec<Vec<(&str, &str)>> {
    let pid = |call: &Value| call["peer"]["pid"].clone();
    let processes = calls.chunk_by(|one, next| pid(one) == pid(next));
    let told =
        |call| (text(call, "/method").rsplit('/').next().unwrap_or_default(), text(call, "/outcome/code"));
    processes.map(|calls| calls.iter().map(told).filter(|(rpc, _)| *rpc != "Version").collect()).collect()
}
