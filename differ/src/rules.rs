//! How fields are compared, as data.

use serde::Deserialize;
use thiserror::Error;

use crate::path::Pattern;
use crate::severity::{CONSEQUENCES, SeverityRule};
use crate::{Kind, Path, Severity};

const DEFAULT: &str = include_str!("../rules/default.toml");
const TRANSLATED: &str = include_str!("../rules/translated.toml");
/// A rules file is written by people.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// How two values must relate to count as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Both unset, or both a time of the same unit and sign.
    Timestamp,
    /// As `Timestamp`, and unset on one side is fine.
    Sometime,
    /// Any plausible number.
    Counter,
    /// Same scheme, form of host and path; the token may differ.
    Url,
    /// Same text without ids, longer numbers and addresses.
    Text,
    /// Both there or both not.
    Presence,
    /// Same path once a moved folder is taken back.
    Folder,
    /// Not compared.
    Ignore,
}

/// How one field is compared.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name in reports.
    pub name: String,
    /// How values must relate.
    pub relation: Relation,
    /// Why the same value is not what is meant.
    pub reason: String,
    /// Where that is known from.
    pub source: String,
    matcher: Matcher,
}

/// What the order of a list means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListOrder {
    /// It is compared.
    #[default]
    Kept,
    /// Nothing.
    Any,
    /// Nothing, but it stays as it is from call to call.
    Stable,
}

/// How the elements of one list find each other.
#[derive(Clone, Debug)]
pub struct ListRule {
    /// Its name in reports.
    pub name: String,
    /// Alternative keys, each made of fields of the element; `.` is the element itself, `[]` all elements of a list in it.
    pub keys: Vec<Vec<String>>,
    /// What their order means.
    pub order: ListOrder,
    /// Why.
    pub reason: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    methods: Vec<String>,
    paths: Vec<Pattern>,
}

impl Matcher {
    pub(crate) fn matches(&self, method: &str, path: &Path) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|known| known == method))
            && self.paths.iter().any(|pattern| pattern.matches(path))
    }
}

/// The rules in force, strongest first.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) lists: Vec<ListRule>,
    settles: Vec<Matcher>,
    pub(crate) severities: Vec<SeverityRule>,
}

/// Why a rules file is none.
#[derive(Debug, Error)]
pub enum RulesError {
    /// It is not the TOML that is expected.
    #[error("{name} is not a rules file: {message}")]
    Syntax {
        /// The file.
        name: String,
        /// What is wrong in it, and where.
        message: String,
    },
    /// A path that can't be read.
    #[error(
        "{name}: {pattern:?} is not a path: write field names joined by dots, [] after a list, * or ** for any"
    )]
    Pattern {
        /// The file.
        name: String,
        /// The path.
        pattern: String,
    },
    /// An RPC that CRI doesn't have.
    #[error("{name}: CRI has no method {method:?}")]
    Method {
        /// The file.
        name: String,
        /// The method.
        method: String,
    },
    /// More than people write.
    #[error("{name} is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge {
        /// The file.
        name: String,
    },
}

impl Rules {
    /// The rules that come with the program.
    pub fn standard() -> Self {
        // A test reads them.
        let of = |name, text| Self::parse(name, text).unwrap_or_default();
        of("default rules", DEFAULT).overridden_by(of("consequences", CONSEQUENCES))
    }

    /// These rules, for a tape that is replayed in another generation than it was recorded in.
    #[must_use]
    pub fn for_translation(self) -> Self {
        self.overridden_by(Self::parse("translation rules", TRANSLATED).unwrap_or_default())
    }

    /// Reads a rules file; `name` is what errors call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, RulesError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(RulesError::TooLarge { name: name.to_owned() });
        }
        let file: File = toml::from_str(text)
            .map_err(|error| RulesError::Syntax { name: name.to_owned(), message: syntax(&error, text) })?;
        let matcher = |methods: Vec<String>, paths: Vec<String>| matcher(name, methods, &paths);
        let mut rules = Self::default();
        for entry in file.rule {
            let matcher = matcher(entry.method, entry.path)?;
            let RuleEntry { name, relation, reason, source, .. } = entry;
            rules.rules.push(Rule { name, relation, reason, source, matcher });
        }
        for entry in file.list {
            let matcher = matcher(entry.method, entry.path)?;
            let ListEntry { name, keys, order, reason, .. } = entry;
            rules.lists.push(ListRule { name, keys, order, reason, matcher });
        }
        for entry in file.settle {
            rules.settles.push(matcher(Vec::new(), entry.path)?);
        }
        for entry in file.severity {
            let matcher = matcher(entry.method, entry.path)?;
            let SeverityEntry { severity, reason, kind, transition: transitions, .. } = entry;
            rules.severities.push(SeverityRule { severity, reason, kind, transitions, matcher });
        }
        Ok(rules)
    }

    /// These rules, with `stronger` asked first.
    #[must_use]
    pub fn overridden_by(self, stronger: Self) -> Self {
        let mut all = stronger;
        all.rules.extend(self.rules);
        all.lists.extend(self.lists);
        all.settles.extend(self.settles);
        all.severities.extend(self.severities);
        all
    }

    /// The rule for this field of the answer of `method`, if there is one.
    pub fn rule(&self, method: &str, path: &Path) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matcher.matches(method, path))
    }

    /// The rule for this list, if there is one.
    pub fn list(&self, method: &str, path: &Path) -> Option<&ListRule> {
        self.lists.iter().find(|rule| rule.matcher.matches(method, path))
    }

    /// Whether a difference there may go away by waiting.
    pub fn settles(&self, path: &Path) -> bool {
        self.settles.iter().any(|matcher| matcher.matches("", path))
    }

    /// All rules for fields, strongest first.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
}

/// Where in the file, and what is wrong there.
pub(crate) fn syntax(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return message };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {message}")
}

fn matcher(name: &str, methods: Vec<String>, paths: &[String]) -> Result<Matcher, RulesError> {
    for method in &methods {
        if cri::methods().by_name(cri::Generation::V1, method).is_none() {
            return Err(RulesError::Method { name: name.to_owned(), method: method.clone() });
        }
    }
    let paths = paths
        .iter()
        .map(|text| {
            Pattern::parse(text)
                .ok_or_else(|| RulesError::Pattern { name: name.to_owned(), pattern: text.clone() })
        })
        .collect::<Result<_, _>>()?;
    Ok(Matcher { methods, paths })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<RuleEntry>,
    #[serde(default)]
    list: Vec<ListEntry>,
    #[serde(default)]
    settle: Vec<SettleEntry>,
    #[serde(default)]
    severity: Vec<SeverityEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    name: String,
    #[serde(default)]
    method: Vec<String>,
    path: Vec<String>,
    relation: Relation,
    reason: String,
    #[serde(default)]
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListEntry {
    name: String,
    #[serde(default)]
    method: Vec<String>,
    path: Vec<String>,
    #[serde(default)]
    keys: Vec<Vec<String>>,
    #[serde(default)]
    order: ListOrder,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleEntry {
    path: Vec<String>,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeverityEntry {
    #[serde(default)]
    method: Vec<String>,
    path: Vec<String>,
    kind: Option<Kind>,
    #[serde(default)]
    transition: Vec<String>,
    severity: Severity,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_rules_are_read() {
        let rules = Rules::parse("default", DEFAULT).unwrap();
        assert!(rules.iter().count() > 10);
        assert_eq!(Rules::default().for_translation().iter().count(), 1);
        let path = Path::default().elements("containers").field("created_at");
        assert_eq!(rules.rule("ListContainers", &path).unwrap().relation, Relation::Timestamp);
        assert!(rules.rule("ListContainers", &Path::root("nothing")).is_none());
        assert!(rules.iter().all(|rule| !rule.reason.is_empty() && !rule.source.is_empty()));
    }

    #[test]
    fn a_users_rules_come_first() {
        let mine =
            "[[rule]]\nname = \"mine\"\npath = [\"**.created_at\"]\nrelation = \"ignore\"\nreason = \"x\"\n";
        let rules = Rules::standard().overridden_by(Rules::parse("mine", mine).unwrap());
        let path = Path::default().elements("containers").field("created_at");
        assert_eq!(rules.rule("ListContainers", &path).unwrap().name, "mine");
    }

    #[test]
    fn mistakes_are_named() {
        let with = |path: &str, method: &str| {
            format!(
                "[[rule]]\nname = \"x\"\nmethod = [\"{method}\"]\npath = [\"{path}\"]\nrelation = \"ignore\"\nreason = \"x\"\n"
            )
        };
        assert!(matches!(Rules::parse("f", "[[rule]]"), Err(RulesError::Syntax { .. })));
        assert!(matches!(Rules::parse("f", &with("a..b", "Version")), Err(RulesError::Pattern { .. })));
        assert!(matches!(Rules::parse("f", &with("a", "Versoin")), Err(RulesError::Method { .. })));
    }
}
