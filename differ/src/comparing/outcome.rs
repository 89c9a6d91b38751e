//! How two calls ended.

use bytes::Bytes;
use critape_calls::{CallId, Code, Ending, Live, Outcome, Recorded, outcome_to_json, sealed_apart};
use serde_json::{Value, json};

use crate::comparing::comparer::{Compared, Comparer};
use crate::rules::relation;
use crate::{Divergence, Kind, Path, Relation, Severity};

/// Codes that waiting does not change: an invalid argument, and what is not served.
const NEVER_SETTLE: [Code; 2] = [Code(3), Code::UNIMPLEMENTED];

/// Stands for the code of a call that found no runtime.
pub(crate) const GONE: &str = "gone";
/// Stands for the code of a call whose answer is no message of its method: clients fail at it.
pub(crate) const UNREADABLE: &str = "unreadable";
/// What has become of a runtime that had to be connected to again.
pub(crate) const BACK: &str = "back";

impl Comparer<'_> {
    /// Compares how two calls of `method` (its name, as `StopContainer`) ended.
    pub fn outcomes(&self, method: &str, recorded: Recorded<&Outcome>, live: Live<&Outcome>) -> Compared {
        let (recorded, live) = (recorded.0, live.0);
        let mut compared = Compared::default();
        if recorded.code != live.code {
            let transition = format!("{}→{}", recorded.code, live.code);
            let ok = [recorded, live].map(|outcome| outcome.code.0 == 0);
            let path = Path::of(&["outcome", "code"]);
            let usual = if ok[0] == ok[1] { Severity::Behaviour } else { Severity::Breaking };
            let kind = if is_capability(recorded.code, live.code) { Kind::Capability } else { Kind::Outcome };
            let severity = self.rules.severity(method, &path, kind, Some(&transition));
            compared.divergences.push(Divergence {
                path,
                kind,
                transition: Some(transition),
                recorded: brief(recorded),
                live: brief(live),
                rule: "outcome".to_owned(),
                severity: severity.unwrap_or(usual),
                // What is not served, or can't be understood, will not be a moment later.
                settles: ![recorded, live].iter().any(|outcome| NEVER_SETTLE.contains(&outcome.code)),
                about: None,
            });
            return compared;
        }
        // Only a runtime has something to say about it.
        if recorded.ending == Ending::Status && live.ending == Ending::Status {
            self.messages_of(method, recorded, live, &mut compared);
        }
        details(recorded, live, &mut compared);
        compared
    }

    /// That `method` is served on one side only, told by how calls of it ended.
    pub fn capability(&self, method: &str, recorded: Recorded<&Outcome>, live: Live<&Outcome>) -> Divergence {
        let (recorded, live) = (recorded.0, live.0);
        let path = Path::of(&["outcome", "code"]);
        let transition = format!("{}→{}", recorded.code, live.code);
        let severity = self.rules.severity(method, &path, Kind::Capability, Some(&transition));
        Divergence {
            path,
            kind: Kind::Capability,
            transition: Some(transition),
            recorded: brief(recorded),
            live: brief(live),
            rule: "outcome".to_owned(),
            severity: severity.unwrap_or(Severity::Behaviour),
            settles: false,
            about: None,
        }
    }

    /// That the runtime answers no more, from this call of `method` on.
    pub fn gone(&self, method: &str, recorded: Recorded<&Outcome>, call: CallId) -> Compared {
        let gone = self.presence(GONE, method, recorded, call);
        Compared { divergences: vec![gone], ..Compared::default() }
    }

    /// That the runtime broke its connection, and answers on another from this call of `method` on.
    pub fn back(&self, method: &str, recorded: Recorded<&Outcome>, call: CallId) -> Divergence {
        self.presence(BACK, method, recorded, call)
    }

    /// That a call of `method` went well on both sides, and its live answer can't be read as its message.
    pub(crate) fn unreadable(&self, method: &str, live: Live<&Bytes>) -> Divergence {
        let path = Path::of(&["outcome", "code"]);
        let transition = format!("{}→{UNREADABLE}", Code::OK);
        let severity = self.rules.severity(method, &path, Kind::Outcome, Some(&transition));
        Divergence {
            path,
            kind: Kind::Outcome,
            transition: Some(transition),
            recorded: json!({ "kind": "status", "code": Code::OK.to_string() }),
            live: json!({ "kind": UNREADABLE, "bytes": live.0.len() }),
            rule: "unreadable".to_owned(),
            severity: severity.unwrap_or(Severity::Breaking),
            settles: false,
            about: None,
        }
    }

    fn presence(&self, now: &str, method: &str, recorded: Recorded<&Outcome>, call: CallId) -> Divergence {
        let path = Path::of(&["outcome", "code"]);
        let transition = format!("{}→{now}", recorded.0.code);
        let severity = self.rules.severity(method, &path, Kind::Outcome, Some(&transition));
        Divergence {
            path,
            kind: Kind::Outcome,
            transition: Some(transition),
            recorded: brief(recorded.0),
            live: json!({ "kind": now, "call": call.0 }),
            rule: "runtime-gone".to_owned(),
            severity: severity.unwrap_or(Severity::Breaking),
            settles: false,
            about: None,
        }
    }

    fn messages_of(&self, method: &str, recorded: &Outcome, live: &Outcome, compared: &mut Compared) {
        if recorded.message == live.message {
            return;
        }
        let path = Path::of(&["outcome", "message"]);
        let rule = self.rules.rule(method, &path);
        let relation = rule.map_or(&Relation::Text, |rule| &rule.relation);
        let name = rule.map_or("exact", |rule| rule.name.as_str());
        if relation::texts(relation, &recorded.message, &live.message, self.ids) {
            compared.pass(name);
            return;
        }
        if sealed_apart(recorded.message.as_bytes(), live.message.as_bytes()) {
            compared.pass("sealed");
            return;
        }
        compared.divergences.push(Divergence {
            severity: self.rules.severity(method, &path, Kind::Value, None).unwrap_or(Severity::Cosmetic),
            path,
            kind: Kind::Value,
            transition: None,
            recorded: Value::String(recorded.message.clone()),
            live: Value::String(live.message.clone()),
            rule: name.to_owned(),
            settles: false,
            about: None,
        });
    }
}

/// Whether one side serves what the other does not. Of one that can't be reached nobody knows.
fn is_capability(recorded: Code, live: Code) -> bool {
    let is_served = |code: Code| code != Code::UNIMPLEMENTED;
    is_served(recorded) != is_served(live) && ![recorded, live].contains(&Code::UNAVAILABLE)
}

/// Which kinds of details a status has; their content is the runtime's own.
fn details(recorded: &Outcome, live: &Outcome, compared: &mut Compared) {
    let kinds = |outcome: &Outcome| -> Vec<String> {
        outcome.details.iter().map(|detail| detail.type_url.clone()).collect()
    };
    let (before, now) = (kinds(recorded), kinds(live));
    if before == now {
        if recorded.details != live.details {
            compared.pass("status-details");
        }
        return;
    }
    let transition = match (before.is_empty(), now.is_empty()) {
        (true, false) => "absent→present",
        (false, true) => "present→absent",
        _ => "other→other",
    };
    compared.divergences.push(Divergence {
        path: Path::of(&["outcome", "details[]"]),
        kind: Kind::Presence,
        transition: Some(transition.to_owned()),
        recorded: Value::from(before),
        live: Value::from(now),
        rule: "exact".to_owned(),
        severity: Severity::Cosmetic,
        settles: false,
        about: None,
    });
}

/// Kind, code and message of an outcome: enough to see what happened.
fn brief(outcome: &Outcome) -> Value {
    let mut value = outcome_to_json(outcome);
    if let Some(object) = value.as_object_mut() {
        object.remove("metadata");
        object.remove("details");
    }
    value
}

#[cfg(test)]
mod tests {
    use critape_calls::IdentityMap;

    use super::*;
    use crate::{Memory, Rules};

    #[test]
    fn what_one_side_alone_serves_is_a_capability() {
        let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
        let comparer = Comparer::new(&rules, &ids, &memory);
        let with = |code: Code| Outcome { ending: Ending::Status, code, ..Outcome::truncated() };
        let kinds = |method: &str, before: Code, now: Code| {
            let compared = comparer.outcomes(method, Recorded(&with(before)), Live(&with(now)));
            compared.divergences.into_iter().map(|it| (it.kind, it.severity)).collect::<Vec<_>>()
        };
        let (ok, unknown, unimplemented) = (Code::OK, Code(2), Code::UNIMPLEMENTED);
        let capability = |severity| vec![(Kind::Capability, severity)];
        assert_eq!(kinds("RuntimeConfig", unimplemented, ok), capability(Severity::Behaviour));
        assert_eq!(kinds("CheckpointContainer", unimplemented, unknown), capability(Severity::Behaviour));
        assert_eq!(kinds("StopContainer", ok, unimplemented), capability(Severity::Breaking));
        for (before, now) in [(ok, unknown), (unimplemented, Code::UNAVAILABLE)] {
            assert_eq!(kinds("RuntimeConfig", before, now)[0].0, Kind::Outcome);
        }
    }
}
