//! One sentence about a finding.

use serde_json::Value;

use crate::comparing::outcome::{BACK, GONE, UNREADABLE};
use crate::report::units;
use crate::{Divergence, Kind, Oracle};

/// One sentence about a divergence.
pub(crate) fn summary(method: &str, divergence: &Divergence) -> String {
    let rpc = method.rsplit('/').next().unwrap_or(method);
    let path = divergence.path.to_string();
    match (divergence.kind, divergence.transition.as_deref()) {
        (Kind::Outcome, Some(transition)) if transition.ends_with(&format!("→{GONE}")) => {
            format!("the runtime stopped answering at call {}: {rpc}", divergence.live["call"])
        }
        (Kind::Outcome, Some(transition)) if transition.ends_with(&format!("→{BACK}")) => {
            format!(
                "the runtime broke its connection and had to be connected to again by call {}: {rpc}",
                divergence.live["call"]
            )
        }
        (Kind::Outcome, Some(transition)) if transition.ends_with(&format!("→{UNREADABLE}")) => {
            format!("{rpc} gives an answer that can't be read")
        }
        (Kind::Outcome, Some(transition)) if divergence.rule == "event-stream" => {
            let (before, now) = transition.split_once('→').unwrap_or((transition, ""));
            let events =
                [&divergence.live, &divergence.recorded].into_iter().find_map(|it| it["events"].as_u64());
            let events = events.unwrap_or_default();
            match before {
                "open" => format!(
                    "{rpc} breaks off with {now} after {events} events, and stayed open when recorded"
                ),
                code => format!(
                    "{rpc} broke off with {code} after {events} events when recorded, and stays open now"
                ),
            }
        }
        (Kind::Outcome, Some(transition)) => {
            let (before, now) = transition.split_once('→').unwrap_or((transition, ""));
            format!("{rpc} ended with {before} when recorded and ends with {now} now")
        }
        (Kind::Presence, Some("present→absent")) => {
            format!("{rpc} no longer gives {}", named(&path, &divergence.recorded))
        }
        (Kind::Presence, Some("absent→present")) => {
            format!("{rpc} now gives {}", named(&path, &divergence.live))
        }
        (Kind::Latency, _) if path == "events" => {
            format!("{rpc} tells of what happened later than when it was recorded")
        }
        (Kind::Latency, _) => {
            let slower = divergence.live["p50"].as_u64() > divergence.recorded["p50"].as_u64();
            let how = if slower { "longer" } else { "less long" };
            format!("{rpc} takes {how} than when it was recorded")
        }
        (Kind::Oracle, _) if Oracle::by_name(&divergence.rule).is_some() => {
            let rule = Oracle::by_name(&divergence.rule).map(|oracle| oracle.rule).unwrap_or_default();
            format!("{rpc} breaks a rule at {path}: {rule}")
        }
        (Kind::Order, _) => format!("{rpc} gives {path} in another order"),
        (Kind::Oracle, _) => format!("{rpc} gives {path} in an order that changes from call to call"),
        (Kind::Capability, _) => format!("{rpc} is served by one of the two only"),
        (_, Some(transition)) => {
            let (before, now) = transition.split_once('→').unwrap_or((transition, ""));
            format!("{rpc} gives {now} in {path} where the recording has {before}")
        }
        (_, None) if divergence.rule == units::RULE => {
            let median = |side: &Value| side["median"].as_str().unwrap_or_default().to_owned();
            match (median(&divergence.recorded), median(&divergence.live)) {
                (before, now) if now == "0" => {
                    format!("{rpc} gives 0 in {path}, always, where the recording has {before} as the median")
                }
                (before, now) => {
                    let medians = format!("the median is {now}, and was {before} when recorded");
                    format!("{rpc} seems to give {path} in another unit: {medians}")
                }
            }
        }
        (_, None) if path == "events" => {
            "the events of a container are not those of the recording".to_owned()
        }
        (_, None) => format!("{rpc} gives another {path}"),
    }
}

/// A path, with the type that the element there has: conditions are known by it.
fn named(path: &str, element: &Value) -> String {
    match element["type"].as_str() {
        Some(name) if path.ends_with("conditions[]") => format!("{name} in {path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Path, Severity};

    fn of(path: &[&str], kind: Kind, transition: &str, (recorded, live): (Value, Value)) -> String {
        let divergence = Divergence {
            path: Path::of(path),
            kind,
            transition: Some(transition.to_owned()),
            recorded,
            live,
            rule: "event-stream".to_owned(),
            severity: Severity::Breaking,
            settles: false,
            about: None,
        };
        summary("/runtime.v1.RuntimeService/M", &divergence)
    }

    #[test]
    fn a_condition_is_called_by_its_name() {
        let path = ["status", "conditions[]"];
        let told =
            of(&path, Kind::Presence, "present→absent", (json!({"type": "NetworkReady"}), Value::Null));
        assert_eq!(told, "M no longer gives NetworkReady in status.conditions[]");
    }

    #[test]
    fn a_stream_that_breaks_is_told_with_what_had_come() {
        let path = ["outcome", "code"];
        let ended = json!({"kind": "status", "code": "UNAVAILABLE", "events": 9});
        let open = json!({"kind": "open"});
        assert_eq!(
            of(&path, Kind::Outcome, "open→UNAVAILABLE", (open.clone(), ended.clone())),
            "M breaks off with UNAVAILABLE after 9 events, and stayed open when recorded"
        );
        assert_eq!(
            of(&path, Kind::Outcome, "UNAVAILABLE→open", (ended, open)),
            "M broke off with UNAVAILABLE after 9 events when recorded, and stays open now"
        );
    }
}
