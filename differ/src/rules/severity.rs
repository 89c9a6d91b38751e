//! How bad a difference is, and what a kubelet would do about it; and what a rule says, for people who read of it in a report.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::rules::{Matcher, Rules};
use crate::{Kind, ORACLES, Path, RuleText, Severity, Subject};

/// What comes with the program, before the severities of the standard rules.
pub(crate) const CONSEQUENCES: &str = include_str!("../../rules/consequences.toml");

const FIXED: &str = include_str!("../../rules/fixed.toml");

/// A rule that is part of how answers are compared, and can't be changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedRule {
    /// Its name in reports.
    pub name: String,
    /// Why it holds.
    pub reason: String,
    /// Where it is known from.
    pub source: String,
}

/// All rules that can't be changed.
pub fn fixed_rules() -> &'static [FixedRule] {
    #[derive(Deserialize)]
    struct File {
        rule: Vec<FixedRule>,
    }
    // A test reads it.
    static RULES: LazyLock<Vec<FixedRule>> =
        LazyLock::new(|| toml::from_str::<File>(FIXED).map(|file| file.rule).unwrap_or_default());
    &RULES
}

/// Why what is new is cosmetic, whatever it is.
const NEW_FIELD: &str = "a kubelet that does not know the field passes over it";

/// How bad some differences are.
#[derive(Clone, Debug)]
pub(crate) struct SeverityRule {
    pub(crate) severity: Severity,
    /// What a kubelet would do.
    pub(crate) reason: String,
    /// Of any kind where there is none.
    pub(crate) kind: Option<Kind>,
    /// From what to what, `*` for anything; any where there is none.
    pub(crate) transitions: Vec<String>,
    pub(crate) matcher: Matcher,
}

impl SeverityRule {
    fn matches(&self, method: &str, path: &Path, kind: Kind, transitions: &Transitions<'_>) -> bool {
        let goes = |transition: &str| self.transitions.iter().any(|pattern| goes_like(pattern, transition));
        self.kind.is_none_or(|wanted| wanted == kind)
            && (self.transitions.is_empty() || transitions.iter().flatten().any(|it| goes(it)))
            && self.matcher.matches(method, path)
    }
}

/// From what to what, as the finding has it, and as more than it says: [`told_by`], or how a list has too much.
pub(crate) type Transitions<'a> = [Option<&'a str>; 2];

/// Whether a transition is as in the pattern, in which either side may be `*`.
fn goes_like(pattern: &str, transition: &str) -> bool {
    let sides = pattern.split_once('→').zip(transition.split_once('→'));
    sides.is_some_and(|((from, to), (before, now))| {
        (from == "*" || from == before) && (to == "*" || to == now)
    })
}

/// How a number changes that is 0 on one side: its severity may be another one for that, though it is the same finding.
pub(crate) fn to_zero(recorded: &Value, live: &Value) -> Option<&'static str> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        // Those of 64 bits are texts.
        Value::String(text) => text.parse::<i128>().ok().map(|number| number as f64),
        _ => None,
    };
    match (number(recorded)?, number(live)?) {
        (_, 0.0) => Some("more→0"),
        (0.0, _) => Some("0→more"),
        _ => None,
    }
}

/// Conditions of a runtime without which a node is not ready.
const NEEDED_CONDITIONS: [&str; 2] = ["RuntimeReady", "NetworkReady"];

/// What the values say about a difference beyond its transition: of a number that is 0 on one side, and of a condition that is
/// there no more.
pub(crate) fn told_by(path: &Path, recorded: &Value, live: &Value) -> Option<&'static str> {
    let is_condition =
        matches!(path.segments(), [status, last] if status == "status" && last == "conditions[]");
    let is_needed = || recorded["type"].as_str().is_some_and(|name| NEEDED_CONDITIONS.contains(&name));
    if is_condition && live.is_null() && is_needed() {
        return Some("ready→absent");
    }
    to_zero(recorded, live)
}

/// What it says that a difference is in a condition without which a node is ready.
pub(crate) fn told_of(path: &Path, about: Option<&Subject>) -> Option<&'static str> {
    let is_condition = path.segments().get(1).is_some_and(|list| list == "conditions[]");
    let is_needed = |it: &Subject| NEEDED_CONDITIONS.contains(&it.id.as_str());
    about.filter(|it| is_condition && !is_needed(it)).map(|_| "passed over→passed over")
}

impl Rules {
    /// What is said of differences there.
    pub fn severity(
        &self,
        method: &str,
        path: &Path,
        kind: Kind,
        transition: Option<&str>,
    ) -> Option<Severity> {
        self.severity_of(method, path, kind, &[transition, None])
    }

    pub(crate) fn severity_of(
        &self,
        method: &str,
        path: &Path,
        kind: Kind,
        transitions: &Transitions<'_>,
    ) -> Option<Severity> {
        self.severity_rule(method, path, kind, transitions).map(|rule| rule.severity)
    }

    /// What a kubelet would do about such a difference, where the rule that makes it so severe says so.
    pub fn consequence(
        &self,
        method: &str,
        path: &Path,
        kind: Kind,
        transition: Option<&str>,
        severity: Severity,
    ) -> Option<&str> {
        self.consequence_of(method, path, kind, &[transition, None], severity)
    }

    pub(crate) fn consequence_of(
        &self,
        method: &str,
        path: &Path,
        kind: Kind,
        transitions: &Transitions<'_>,
        severity: Severity,
    ) -> Option<&str> {
        let rule = self.severity_rule(method, path, kind, transitions);
        let new = kind == Kind::Presence && transitions[0] == Some("absent→present");
        rule.filter(|rule| rule.severity == severity)
            .map(|rule| rule.reason.as_str())
            .or_else(|| (new && severity == Severity::Cosmetic).then_some(NEW_FIELD))
    }

    fn severity_rule(
        &self,
        method: &str,
        path: &Path,
        kind: Kind,
        transitions: &Transitions<'_>,
    ) -> Option<&SeverityRule> {
        self.severities.iter().find(|rule| rule.matches(method, path, kind, transitions))
    }

    /// What the rule of this name says: one for fields, one for lists, one of those that can't be changed, or an oracle.
    pub fn text(&self, name: &str) -> Option<RuleText> {
        let text =
            |reason: &str, source: &str| RuleText { reason: reason.to_owned(), source: source.to_owned() };
        let rule = self.rules.iter().find(|rule| rule.name == name);
        let list = || self.lists.iter().find(|rule| rule.name == name).map(|rule| text(&rule.reason, ""));
        let fixed = || fixed_rules().iter().find(|rule| rule.name == name);
        let fixed = || fixed().map(|rule| text(&rule.reason, &rule.source));
        let oracle = || ORACLES.iter().find(|oracle| oracle.name == name);
        let oracle = || oracle().map(|oracle| text(oracle.rule, oracle.source));
        rule.map(|rule| text(&rule.reason, &rule.source)).or_else(list).or_else(fixed).or_else(oracle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_rules_have_names_of_their_own() {
        let rules = Rules::standard();
        assert!(fixed_rules().len() > 10, "the file can be read");
        for fixed in fixed_rules() {
            assert!(!fixed.reason.is_empty() && !fixed.source.is_empty(), "{}", fixed.name);
            assert!(rules.iter().all(|rule| rule.name != fixed.name), "{}", fixed.name);
        }
    }

    #[test]
    fn consequences_are_those_of_the_severity() {
        let rules = Rules::standard();
        let code = Path::of(&["outcome", "code"]);
        let said = |transition: &str, severity| {
            rules.consequence("CreateContainer", &code, Kind::Outcome, Some(transition), severity)
        };
        assert!(said("OK→INTERNAL", Severity::Breaking).unwrap().contains("CreateContainerError"));
        assert!(said("UNKNOWN→NOT_FOUND", Severity::Behaviour).is_some());
        assert_eq!(said("OK→INTERNAL", Severity::Cosmetic), None);
    }

    #[test]
    fn a_users_severity_comes_first() {
        let mine = "[[severity]]\npath = [\"outcome.code\"]\nseverity = \"cosmetic\"\nreason = \"mine\"\n";
        let rules = Rules::standard().overridden_by(Rules::parse("mine", mine).unwrap());
        let code = Path::of(&["outcome", "code"]);
        let asked = rules.severity("Version", &code, Kind::Outcome, Some("OK→INTERNAL"));
        assert_eq!(asked, Some(Severity::Cosmetic));
    }

    #[test]
    fn another_size_of_an_image_breaks_nothing_unless_it_is_none() {
        let rules = Rules::standard();
        let path = Path::of(&["image", "size"]);
        let of = |recorded: &str, live: &str| {
            let transition = to_zero(&recorded.into(), &live.into());
            rules.severity("ImageStatus", &path, Kind::Value, transition)
        };
        assert_eq!(of("2048", "4096"), Some(Severity::Behaviour));
        assert_eq!(of("2048", "0"), Some(Severity::Breaking));
        assert_eq!(of("0", "2048"), Some(Severity::Behaviour));
        assert_eq!(to_zero(&"zero".into(), &"0".into()), None);
    }

    #[test]
    fn a_condition_that_the_node_needs_breaks_it_and_another_does_not() {
        let rules = Rules::standard();
        let path = Path::of(&["status", "conditions[]"]);
        let of = |name: &str, live: Value| {
            let recorded = serde_json::json!({ "type": name, "status": true });
            let transitions = [Some("present→absent"), told_by(&path, &recorded, &live)];
            rules.severity_of("Status", &path, Kind::Presence, &transitions)
        };
        assert_eq!(of("NetworkReady", Value::Null), Some(Severity::Breaking));
        assert_eq!(of("RuntimeReady", Value::Null), Some(Severity::Breaking));
        assert_eq!(of("ContainerdHasNoDeprecationWarnings", Value::Null), Some(Severity::Behaviour));
    }

    #[test]
    fn an_answer_without_what_a_kubelet_reads_breaks_it() {
        let rules = Rules::standard();
        for (method, path) in [
            ("ContainerStatus", "status"),
            ("PodSandboxStatus", "status"),
            ("PodSandboxStatus", "status.linux"),
            ("PodSandboxStatus", "status.network"),
            ("PodSandboxStatus", "status.network.ip"),
            ("ImageFsInfo", "image_filesystems[]"),
        ] {
            let path = Path::of(&path.split('.').collect::<Vec<_>>());
            let gone = Some("present→absent");
            let severity = rules.severity(method, &path, Kind::Presence, gone);
            assert_eq!(severity, Some(Severity::Breaking), "{method} {path}");
            assert!(rules.consequence(method, &path, Kind::Presence, gone, Severity::Breaking).is_some());
        }
    }

    #[test]
    fn a_star_is_any_side_of_a_transition() {
        for (pattern, transition, fits) in [
            ("OK→*", "OK→INTERNAL", true),
            ("OK→*", "INTERNAL→OK", false),
            ("*→*", "a→b", true),
            ("*→*", "a", false),
            ("a→b", "a→b", true),
        ] {
            assert_eq!(goes_like(pattern, transition), fits, "{pattern} {transition}");
        }
    }

    #[test]
    fn the_consequences_are_read_and_every_rule_has_a_text() {
        let rules = Rules::parse("consequences", CONSEQUENCES).unwrap();
        assert!(rules.severities.iter().all(|rule| !rule.reason.is_empty()));
        let rules = Rules::standard();
        for name in ["exact", "time-of-event", "runtime-handlers"] {
            assert!(!rules.text(name).unwrap().reason.is_empty(), "{name}");
        }
        assert_eq!(rules.text("nope"), None);
    }
}
