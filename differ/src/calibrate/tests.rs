//! What varies is learnt as narrowly as it was seen, and what does not is left.

use critape_calls::CallId;
use serde_json::{Value, json};

use super::*;
use crate::{Divergence, Findings, Severity, SideInfo};

const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";

/// A difference of one run: path, kind, recorded and live value.
type Seen<'a> = (&'a [&'a str], Kind, Value, Value);

/// Reports of runs, each with these differences.
fn reports(runs: &[&[Seen<'_>]]) -> Vec<Report> {
    let report = |differences: &&[Seen<'_>]| {
        let mut findings = Findings::default();
        for (path, kind, recorded, live) in *differences {
            let divergence = Divergence {
                path: Path::of(path),
                kind: *kind,
                transition: None,
                recorded: recorded.clone(),
                live: live.clone(),
                rule: "exact".to_owned(),
                severity: Severity::Behaviour,
                settles: false,
                about: None,
            };
            findings.add_divergence(
                STATUS,
                &crate::Ids { recorded: Some(CallId(3)), live: None },
                divergence,
            );
        }
        findings.into_report(SideInfo::default(), SideInfo::default(), &Rules::standard(), 0.01)
    };
    runs.iter().map(report).collect()
}

/// The rules learnt of one field that had this value when recorded and these in the runs.
fn learnt(path: &[&str], recorded: &Value, live: &[Value]) -> Calibration {
    let runs: Vec<Vec<_>> =
        live.iter().map(|live| vec![(path, Kind::Value, recorded.clone(), live.clone())]).collect();
    let runs: Vec<&[_]> = runs.iter().map(Vec::as_slice).collect();
    calibrate(&reports(&runs), &Rules::standard(), "calibrated on simulator 1, 2026-01-02, 3 runs")
}

/// The relation in the rules, as it is read back.
#[track_caller]
fn relation(calibration: &Calibration) -> String {
    let rules = Rules::parse("noise.toml", &calibration.text)
        .unwrap_or_else(|error| panic!("{error}\n{}", calibration.text));
    assert_eq!(rules.check(&Rules::standard()).problems, [], "{}", calibration.text);
    let relations: Vec<_> = rules.iter().map(|rule| rule.relation.to_string()).collect();
    assert_eq!(relations.len(), calibration.rules);
    relations.join("; ")
}

#[test]
fn numbers_are_learnt_as_a_range_with_room() {
    let learnt = learnt(&["status", "exit_code"], &json!(10), &[json!(12), json!(14), json!(11)]);
    assert_eq!(relation(&learnt), "range 6 to 18");
    assert!(learnt.text.contains("# 4 numbers from 10 to 14, in 3 of 3 runs, 3 times"), "{}", learnt.text);
    assert!(learnt.text.contains("source = \"calibrated on simulator 1, 2026-01-02, 3 runs\""));
}

#[test]
fn times_are_learnt_as_times() {
    let now = 1_790_000_000_000_000_000_i64;
    let times = |live: &[i64]| {
        let live: Vec<Value> = live.iter().map(|it| it.to_string().into()).collect();
        relation(&learnt(&["status", "finished_at"], &now.to_string().into(), &live))
    };
    assert_eq!(times(&[now + 1, now + 2]), "timestamp");
    assert_eq!(times(&[now + 1, 0]), "sometime");
}

#[test]
fn texts_are_learnt_as_a_choice_or_by_their_form() {
    let reason = ["status", "reason"];
    let race = [json!("OOMKilled"), json!("Error"), json!("OOMKilled"), json!("OOMKilled")];
    assert_eq!(relation(&learnt(&reason, &json!("Error"), &race)), "oneof Error, OOMKilled");
    let ids = [json!("mount 4711 gone"), json!("mount 4712 and 33 gone")];
    assert_eq!(relation(&learnt(&reason, &json!("mount 17 gone"), &ids)), "pattern mount .* gone");
    assert_eq!(relation(&learnt(&reason, &json!("abc"), &[json!("xyz"), json!("uvw")])), "presence");
}

#[test]
fn what_is_the_same_each_time_stays_a_finding() {
    let learnt = learnt(&["status", "exit_code"], &json!(0), &[json!(255), json!(255), json!(255)]);
    assert_eq!((learnt.rules, relation(&learnt).as_str()), (0, ""));
    assert_eq!(learnt.left, ["ContainerStatus status.exit_code: the same in all 3 runs, so it is no noise"]);
}

#[test]
fn no_rule_lets_a_whole_object_or_an_outcome_pass() {
    let whole = json!({ "id": "x" });
    let some = |path: &'static [&'static str], kind: Kind| {
        let differs = [(path, kind, whole.clone(), Value::Null)];
        calibrate(&reports(&[&differs, &[]]), &Rules::standard(), "x")
    };
    for (path, kind) in [
        (&["status"][..], Kind::Presence),
        (&["containers[]"], Kind::Presence),
        (&["events"], Kind::Value),
        (&["outcome", "code"], Kind::Outcome),
        (&["outcome", "message"], Kind::Value),
        (&["duration"], Kind::Latency),
        (&["status", "created_at"], Kind::Oracle),
    ] {
        let learnt = some(path, kind);
        assert_eq!((learnt.rules, learnt.left.len()), (0, 1), "{path:?} {}", learnt.text);
    }
    let learnt = some(&["status", "user"], Kind::Presence);
    assert_eq!(relation(&learnt), "optional");
}

#[test]
fn an_order_that_varies_is_learnt_for_its_list() {
    let one = [(&["status", "mounts[]"][..], Kind::Order, json!(["a", "b"]), json!(["b", "a"]))];
    let learnt = calibrate(&reports(&[&one, &[]]), &Rules::standard(), "x");
    let rules = Rules::parse("noise.toml", &learnt.text).unwrap();
    let list = rules.lists().next().unwrap();
    assert_eq!((list.order, list.keys.len()), (crate::ListOrder::Any, 2));
}

#[test]
fn odd_keys_and_values_are_written_so_that_they_can_be_read() {
    let path = ["info", "info", "a.b \"c\"", "x"];
    let live = [json!("new\nline \\ \"quote\" 1"), json!("new\nline \\ \"quote\" 22")];
    let learnt = learnt(&path, &json!("new\nline \\ \"quote\" 3"), &live);
    assert!(Rules::parse("noise.toml", &learnt.text).is_ok(), "{}", learnt.text);
}

#[test]
fn of_sealed_values_only_their_presence_is_learnt() {
    let path = ["info", "info", "source"];
    let sealed = |token: &str| json!(format!("sealed:v1:AAAA{token}."));
    let calibration = learnt(&path, &sealed("one"), &["two", "three", "four"].map(sealed));
    assert_eq!(relation(&calibration), "presence");
    assert!(!calibration.text.contains("AAAA"), "{}", calibration.text);
}
