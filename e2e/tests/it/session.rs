//! The driver's session through the recorder: every RPC, and whatever a runtime has to refuse.

use std::collections::BTreeSet;
use std::path::Path;

use cri::Generation;
use critape_e2e::driver::Line;
use critape_e2e::parts::require;
use critape_e2e::{Critape, Part, Version, session};
use serde_json::{Value, json};

use crate::place::Place;
use crate::text;

#[test]
fn of_1_6_ends_alike_directly_recorded_and_replayed() {
    ends_alike(Version::V1_6, &[]);
}

#[test]
fn of_2_1_ends_alike_directly_recorded_and_replayed() {
    // Once with the calls that change the node: they are the session's own, on a runtime of its own.
    ends_alike(Version::V2_1, &["--allow-node-changes"]);
}

/// A client from before Kubernetes 1.26, and a runtime that no longer speaks its generation: what differs is what differs for a client of
/// v1, but for what v1alpha2 never had.
#[test]
fn in_v1alpha2_finds_on_2_1_what_it_finds_in_v1() {
    if require(&[Part::Containerd(Version::V1_6), Part::Containerd(Version::V2_1)]).is_none() {
        return;
    }
    let critape = Critape::get();
    let [old, new] = [Generation::V1Alpha2, Generation::V1].map(|generation| {
        let place = Place::new();
        let tape = place.join("tape");
        let runtime = place.runtime(Version::V1_6);
        let recorder = critape.record(&tape, &runtime.socket(), &place.join("rec.sock"));
        run_in(&place, recorder.socket(), generation);
        recorder.end();
        drop(runtime);
        let runtime = place.runtime(Version::V2_1);
        println!("the session's tape of 1.6 in {generation} on 2.1\n");
        critape.replay(&tape, &runtime.socket(), &["--allow-node-changes"]).report
    });
    assert_eq!(
        (text(&old, "/recorded/generation"), text(&old, "/live/generation")),
        ("runtime.v1alpha2", "runtime.v1")
    );
    let (old, new) = (signatures(&old), signatures(&new));
    let is_of_old = |finding: &&String| {
        let rpc = finding.split(' ').next().unwrap_or_default();
        cri::methods().by_name(Generation::V1Alpha2, rpc).is_some()
    };
    let more: Vec<_> = old.difference(&new).collect();
    let less: Vec<_> = new.difference(&old).filter(is_of_old).collect();
    assert!(more.is_empty() && less.is_empty(), "in v1alpha2 alone: {more:#?}, in v1 alone: {less:#?}");
    // The session asks for the version in each generation, whichever it speaks.
    assert!(old.contains("Version outcome.code OK→UNIMPLEMENTED"), "{old:#?}");
}

/// What a report's findings are, whatever the generation.
fn signatures(report: &Value) -> BTreeSet<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    let of = |finding: &Value| {
        let rpc = text(finding, "/method").rsplit('/').next().unwrap_or_default().to_owned();
        format!("{rpc} {} {}", text(finding, "/path"), finding["transition"].as_str().unwrap_or_default())
    };
    findings.map(of).collect()
}

#[track_caller]
fn ends_alike(version: Version, options: &[&str]) {
    if require(&[Part::Containerd(version)]).is_none() {
        return;
    }
    let (place, critape) = (Place::new(), Critape::get());
    let tape = place.join("tape");

    let runtime = place.runtime(version);
    // The first on the new runtime: the replay begins on one as new.
    let recorder = critape.record(&tape, &runtime.socket(), &place.join("rec.sock"));
    let recorded = run(&place, recorder.socket());
    let summary = recorder.end();
    let direct = run(&place, &runtime.socket());
    drop(runtime);

    let (once, other) = (folded(&recorded), folded(&direct));
    let both = once.iter().zip(&other).filter(|(one, other)| one != other);
    let differences: Vec<String> = both.map(|(one, other)| format!("{one}\n  {other}")).collect();
    assert!(differences.is_empty(), "recorded, and below it direct:\n{}", differences.join("\n"));
    assert_eq!(once.len(), other.len());
    all_is_on_the_tape(&recorded, &critape.calls(&tape), &summary);
    assert_eq!(critape.tape("verify", &tape)["whole"], true);

    let runtime = place.runtime(version);
    println!("the session's tape of {version} on {version}\n");
    let replay = critape.replay(&tape, &runtime.socket(), options);
    replay.same();
    let skipped = &replay.report["calls"]["skipped"];
    assert_eq!(skipped == &json!(0), options.contains(&"--allow-node-changes"), "{skipped} skipped");
}

fn run(place: &Place, socket: &Path) -> Vec<Line> {
    run_in(place, socket, Generation::V1)
}

/// The session in this generation.
pub fn run_in(place: &Place, socket: &Path, generation: Generation) -> Vec<Line> {
    let place = session::Place { socket: socket.to_owned(), folder: place.join("session"), generation };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(session::run(&place))
}

/// How often the session had to ask, and how many containers it took, is another in each run.
fn folded(lines: &[Line]) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| without_mount(&line.to_string())).collect();
    lines.dedup();
    lines
}

/// The text without the number of a temporary mount, which some errors tell.
fn without_mount(text: &str) -> String {
    let mount = "containerd-mount";
    match text.split_once(mount) {
        Some((before, after)) => {
            format!("{before}{mount}N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => text.to_owned(),
    }
}

/// Each line of the session is a call of the tape, in its order, but those to services other than CRI's, which tapes leave
/// out. The call that listens to events is beside them.
#[track_caller]
fn all_is_on_the_tape(lines: &[Line], calls: &[Value], summary: &Value) {
    let events = |call: &&Value| text(call, "/method").ends_with("/GetContainerEvents");
    assert_eq!(calls.iter().filter(events).count(), 1);
    let calls: Vec<&Value> = calls.iter().filter(|call| !events(call)).collect();
    let lines: Vec<&Line> = lines.iter().filter(|line| line.path.starts_with("/runtime.")).collect();
    for (call, line) in calls.iter().zip(&lines) {
        assert_eq!(text(call, "/method"), line.path, "{line}\n{call:#}");
        // At a deadline both sides give up, and the tape has what crossed first.
        let has_run_out =
            line.code == "DEADLINE_EXCEEDED" && call["duration"].as_u64() >= call["deadline"].as_u64();
        let code = text(call, "/outcome/code");
        assert!(code == line.code || has_run_out && code != "OK", "{line}\n{call:#}");
    }
    assert_eq!(calls.len(), lines.len());
    assert_eq!((&summary["calls"], &summary["gaps"]), (&json!(calls.len() + 1), &json!([])));
}
