//! One sentence about a finding.

use crate::outcome::{BACK, GONE, UNREADABLE};
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
        (Kind::Outcome, Some(transition)) => {
            let (before, now) = transition.split_once('→').unwrap_or((transition, ""));
            format!("{rpc} ended with {before} when recorded and ends with {now} now")
        }
        (Kind::Presence, Some("present→absent")) => format!("{rpc} no longer gives {path}"),
        (Kind::Presence, Some("absent→present")) => format!("{rpc} now gives {path}"),
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
        (_, None) if path == "events" => {
            "the events of a container are not those of the recording".to_owned()
        }
        (_, None) => format!("{rpc} gives another {path}"),
    }
}
