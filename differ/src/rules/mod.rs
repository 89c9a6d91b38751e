//! How fields are compared, as data.

pub(crate) mod addresses;
pub(crate) mod host_devices;
pub(crate) mod relation;
pub(crate) mod rule_numbers;
pub(crate) mod severity;

mod check;
mod file;
mod schema;

pub(crate) use file::syntax;

pub use check::{Problem, ProblemKind, RuleCheck, RulesCheck};

use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use crate::comparing::path::Pattern;
use crate::{Path, Relation};
use severity::{CONSEQUENCES, SeverityRule};

const DEFAULT: &str = include_str!("../../rules/default.toml");
const TRANSLATED: &str = include_str!("../../rules/translated.toml");

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
    /// The line of its file on which it stands, from 1.
    pub line: usize,
    pub(crate) matcher: Matcher,
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
    /// Where that is known from.
    pub source: String,
    pub(crate) matcher: Matcher,
}

/// Which fields of which answers something is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matcher {
    /// Names of RPCs; none for all.
    pub(crate) methods: Vec<String>,
    /// Each with the line of its file on which it stands.
    pub(crate) paths: Vec<(Pattern, usize)>,
}

impl Matcher {
    pub(crate) fn is_about(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|known| known == method)
    }

    fn path_texts(&self) -> Vec<String> {
        self.paths.iter().map(|(pattern, _)| pattern.to_string()).collect()
    }

    pub(crate) fn matches(&self, method: &str, path: &Path) -> bool {
        self.is_about(method) && self.paths.iter().any(|(pattern, _)| pattern.matches(path))
    }
}

impl Rule {
    /// Names of the RPCs that it is about; none for all.
    pub fn methods(&self) -> &[String] {
        &self.matcher.methods
    }

    /// The fields that it is about, as patterns.
    pub fn paths(&self) -> Vec<String> {
        self.matcher.path_texts()
    }
}

impl ListRule {
    /// Names of the RPCs that it is about; none for all.
    pub fn methods(&self) -> &[String] {
        &self.matcher.methods
    }

    /// The lists that it is about, as patterns.
    pub fn paths(&self) -> Vec<String> {
        self.matcher.path_texts()
    }
}

impl fmt::Display for ListOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Any => "any",
            Self::Stable => "stable",
        })
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
        "{name}, line {line}: {pattern:?} is not a path: write field names joined by dots, [] after a list, * or ** for any"
    )]
    Pattern {
        /// The file.
        name: String,
        /// The line in it.
        line: usize,
        /// The path.
        pattern: String,
    },
    /// An RPC that CRI doesn't have.
    #[error("{name}, line {line}: CRI has no method {method:?}")]
    Method {
        /// The file.
        name: String,
        /// The line in it.
        line: usize,
        /// The method.
        method: String,
    },
    /// More than people write.
    #[error("{name} is larger than {} bytes", file::MAX_FILE_BYTES)]
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
        file::parse(name, text)
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

    /// All rules for lists, strongest first.
    pub fn lists(&self) -> impl Iterator<Item = &ListRule> {
        self.lists.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_rules_are_read() {
        let rules = Rules::parse("default", DEFAULT).unwrap();
        assert!(rules.iter().count() > 10);
        assert_eq!(Rules::default().for_translation().iter().count(), 2);
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
