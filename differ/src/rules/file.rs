//! Rules as they stand in a file: TOML, with the line of every path.

use serde::Deserialize;
use toml::Spanned;

use super::{ListOrder, ListRule, Matcher, Rule, Rules, RulesError};
use crate::comparing::path::Pattern;
use crate::rules::relation::{Relation, TextPattern, Within};
use crate::rules::severity::SeverityRule;
use crate::{Kind, Severity};

/// A rules file is written by people.
pub(super) const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// Reads a rules file; `name` is what errors call it.
pub(super) fn parse(name: &str, text: &str) -> Result<Rules, RulesError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(RulesError::TooLarge { name: name.to_owned() });
    }
    let file: File = toml::from_str(text)
        .map_err(|error| RulesError::Syntax { name: name.to_owned(), message: syntax(&error, text) })?;
    let source = Source { name, text };
    let mut rules = Rules::default();
    for entry in file.rule {
        rules.rules.push(source.rule(entry)?);
    }
    for entry in file.list {
        let ListEntry { name, method, path, keys, order, reason, source: origin } = entry;
        let matcher = source.matcher(method, path)?;
        rules.lists.push(ListRule { name, keys, order, reason, source: origin, matcher });
    }
    for entry in file.settle {
        rules.settles.push(source.matcher(Vec::new(), entry.path)?);
    }
    for entry in file.severity {
        let matcher = source.matcher(entry.method, entry.path)?;
        let SeverityEntry { severity, reason, kind, transition: transitions, .. } = entry;
        rules.severities.push(SeverityRule { severity, reason, kind, transitions, matcher });
    }
    Ok(rules)
}

/// Where in the file, and what is wrong there.
pub(crate) fn syntax(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return message };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {message}")
}

struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
    }

    fn rule(&self, entry: RuleEntry) -> Result<Rule, RulesError> {
        let line = self.line(entry.name.span().start);
        let relation = relation(&entry).map_err(|message| RulesError::Syntax {
            name: self.name.to_owned(),
            message: format!("line {line}: rule {:?}: {message}", entry.name.get_ref()),
        })?;
        let matcher = self.matcher(entry.method, entry.path)?;
        let RuleEntry { name, reason, source, .. } = entry;
        Ok(Rule { name: name.into_inner(), relation, reason, source, line, matcher })
    }

    fn matcher(
        &self,
        methods: Vec<Spanned<String>>,
        paths: Vec<Spanned<String>>,
    ) -> Result<Matcher, RulesError> {
        let mut matcher = Matcher::default();
        for method in methods {
            let Some(known) = cri::methods().by_name(cri::Generation::V1, method.get_ref()) else {
                return Err(RulesError::Method {
                    name: self.name.to_owned(),
                    line: self.line(method.span().start),
                    method: method.into_inner(),
                });
            };
            // A streamed list is compared as the list.
            matcher.methods.extend(known.list().map(|list| list.name.clone()));
            matcher.methods.push(method.into_inner());
        }
        for path in paths {
            let line = self.line(path.span().start);
            let Some(pattern) = Pattern::parse(path.get_ref()) else {
                return Err(RulesError::Pattern {
                    name: self.name.to_owned(),
                    line,
                    pattern: path.into_inner(),
                });
            };
            matcher.paths.push((pattern, line));
        }
        Ok(matcher)
    }
}

/// The relation of an entry, with what it is made of; or what is wrong with it.
fn relation(entry: &RuleEntry) -> Result<Relation, String> {
    let named = entry.relation;
    let given = [
        ("min", entry.min.is_some(), RelationName::Range),
        ("max", entry.max.is_some(), RelationName::Range),
        ("within", entry.within.is_some(), RelationName::Number),
        ("values", !entry.values.is_empty(), RelationName::OneOf),
        ("pattern", entry.pattern.is_some(), RelationName::Pattern),
    ];
    if let Some((name, ..)) = given.iter().find(|(_, given, of)| *given && *of != named) {
        return Err(format!("{name} is not for this relation"));
    }
    Ok(match named {
        RelationName::Timestamp => Relation::Timestamp,
        RelationName::Sometime => Relation::Sometime,
        RelationName::Counter => Relation::Counter,
        RelationName::Url => Relation::Url,
        RelationName::Address => Relation::Address,
        RelationName::Text => Relation::Text,
        RelationName::Presence => Relation::Presence,
        RelationName::Optional => Relation::Optional,
        RelationName::Folder => Relation::Folder,
        RelationName::Below => Relation::Below,
        RelationName::Port => Relation::Port,
        RelationName::Id => Relation::Id,
        RelationName::Json => Relation::Json,
        RelationName::Ignore => Relation::Ignore,
        RelationName::Range => match (entry.min, entry.max) {
            (Some(min), Some(max)) if min <= max => Relation::Range { min, max },
            _ => return Err("a range needs min and max, the smaller first".to_owned()),
        },
        RelationName::Number => Relation::Number(match &entry.within {
            Some(WithinEntry::By(by)) if *by >= 0.0 => Within::By(*by),
            Some(WithinEntry::Share(share)) => Within::parse_share(share)?,
            _ => return Err("number needs `within`, as 5 or \"10%\"".to_owned()),
        }),
        RelationName::OneOf if entry.values.is_empty() => return Err("oneof needs `values`".to_owned()),
        RelationName::OneOf => Relation::OneOf(entry.values.iter().map(ValueEntry::text).collect()),
        RelationName::Pattern => match &entry.pattern {
            Some(pattern) => Relation::Pattern(TextPattern::parse(pattern)?),
            None => return Err("pattern needs `pattern`, a regular expression".to_owned()),
        },
    })
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RelationName {
    Timestamp,
    Sometime,
    Counter,
    Url,
    Address,
    Text,
    Presence,
    Optional,
    Folder,
    Below,
    Port,
    Id,
    Json,
    Ignore,
    Range,
    Number,
    OneOf,
    Pattern,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WithinEntry {
    By(f64),
    Share(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ValueEntry {
    Whole(i64),
    Flag(bool),
    Text(String),
}

impl ValueEntry {
    fn text(&self) -> String {
        match self {
            Self::Whole(value) => value.to_string(),
            Self::Flag(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    name: Spanned<String>,
    #[serde(default)]
    method: Vec<Spanned<String>>,
    path: Vec<Spanned<String>>,
    relation: RelationName,
    min: Option<f64>,
    max: Option<f64>,
    within: Option<WithinEntry>,
    #[serde(default)]
    values: Vec<ValueEntry>,
    pattern: Option<String>,
    reason: String,
    #[serde(default)]
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListEntry {
    name: String,
    #[serde(default)]
    method: Vec<Spanned<String>>,
    path: Vec<Spanned<String>>,
    #[serde(default)]
    keys: Vec<Vec<String>>,
    #[serde(default)]
    order: ListOrder,
    reason: String,
    #[serde(default)]
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleEntry {
    path: Vec<Spanned<String>>,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeverityEntry {
    #[serde(default)]
    method: Vec<Spanned<String>>,
    path: Vec<Spanned<String>>,
    kind: Option<Kind>,
    #[serde(default)]
    transition: Vec<String>,
    severity: Severity,
    reason: String,
}
