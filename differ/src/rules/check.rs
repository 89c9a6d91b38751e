//! What is wrong with rules: those that can never take effect.

use std::collections::BTreeSet;

use serde::Serialize;

use super::schema::{Holds, Part, Place, places};
use super::{Matcher, Rule, Rules};
use crate::comparing::path::{Pattern, Segment};
use crate::{Path, Relation};

/// Stands for a key that no rule names.
const ANY_KEY: &str = "\u{1}key";

/// What a rules file says, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RulesCheck {
    /// Its rules.
    pub rules: Vec<RuleCheck>,
    /// What is wrong, in the order of lines.
    pub problems: Vec<Problem>,
}

/// What one rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleCheck {
    /// Its name.
    pub name: String,
    /// Its line in the file, from 1.
    pub line: usize,
    /// The relation, with what it is made of.
    pub relation: String,
    /// What it demands, in a sentence without its end.
    pub meaning: String,
    /// Fields that it is about; those of different RPCs and below different keys of a map each count.
    pub fields: usize,
    /// Rules of the program's own that it comes before.
    pub before: Vec<String>,
    /// Why the same value is not what is meant.
    pub reason: String,
    /// Where that is known from.
    pub source: String,
}

/// Something that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line in the file, from 1.
    pub line: usize,
    /// The rule.
    pub rule: String,
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// What is wrong, in a sentence.
    pub message: String,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemKind {
    /// A path that no answer has.
    Dead,
    /// A relation that no two different values at this path can have.
    Unfit,
    /// All that a rule is about is taken by rules before it.
    Shadowed,
    /// A rule that lets a whole answer pass.
    Broad,
    /// Two rules of one name can't be told apart in reports.
    Twice,
}

impl Rules {
    /// Looks for what is wrong with these rules, which come before `standard`.
    pub fn check(&self, standard: &Self) -> RulesCheck {
        let places: Vec<Place> = places().into_iter().collect();
        let mut check = RulesCheck::default();
        let mut names = BTreeSet::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let about = spots(&rule.matcher, &places, self.rules.iter().chain(&standard.rules));
            let problem = |line, kind, message| Problem { line, rule: rule.name.clone(), kind, message };
            if !names.insert(&rule.name) {
                let message = "a rule before it has the same name".to_owned();
                check.problems.push(problem(rule.line, ProblemKind::Twice, message));
            }
            check.problems.extend(dead_paths(&rule.matcher, &places).map(|(pattern, line)| {
                problem(
                    line,
                    ProblemKind::Dead,
                    format!("{pattern} is no field of any answer that it is about"),
                )
            }));
            check.problems.extend(unfit_paths(rule, &places).map(|(pattern, line, holds)| {
                let relation = &rule.relation;
                problem(
                    line,
                    ProblemKind::Unfit,
                    format!("{relation} is never true of {pattern}: there is {holds}"),
                )
            }));
            if let Some(earlier) = shadow(&self.rules[..index], &about) {
                let message = format!("all that it is about is taken by {earlier} before it");
                check.problems.push(problem(rule.line, ProblemKind::Shadowed, message));
            }
            if let Some(method) = lets_all_pass(rule, &places) {
                let message =
                    format!("it lets whole answers of {method} pass: name the fields that are meant");
                check.problems.push(problem(rule.line, ProblemKind::Broad, message));
            }
            check.rules.push(explained(rule, &about, standard));
        }
        let lists = self.lists.iter().map(|rule| (&rule.name, &rule.matcher));
        for (name, matcher) in lists {
            check.problems.extend(dead_paths(matcher, &places).map(|(pattern, line)| Problem {
                line,
                rule: name.clone(),
                kind: ProblemKind::Dead,
                message: format!("{pattern} is no field of any answer that it is about"),
            }));
        }
        for (kind, matcher) in self.others() {
            check.problems.extend(dead_paths(matcher, &places).map(|(pattern, line)| Problem {
                line,
                rule: kind.to_owned(),
                kind: ProblemKind::Dead,
                message: format!("{pattern} is no field of any answer that it is about"),
            }));
        }
        check.problems.sort_by_key(|problem| problem.line);
        check
    }

    /// Paths that belong to no rule with a name.
    fn others(&self) -> impl Iterator<Item = (&'static str, &Matcher)> {
        let settles = self.settles.iter().map(|matcher| ("settle", matcher));
        settles.chain(self.severities.iter().map(|rule| ("severity", &rule.matcher)))
    }
}

fn explained(rule: &Rule, about: &BTreeSet<Spot>, standard: &Rules) -> RuleCheck {
    let mut before: Vec<String> = Vec::new();
    for (method, path) in about {
        if let Some(other) = standard.rule(method, path)
            && !before.contains(&other.name)
        {
            before.push(other.name.clone());
        }
    }
    RuleCheck {
        name: rule.name.clone(),
        line: rule.line,
        relation: rule.relation.to_string(),
        meaning: rule.relation.meaning().to_owned(),
        fields: about.len(),
        before,
        reason: rule.reason.clone(),
        source: rule.source.clone(),
    }
}

/// A field as one answer has it: the RPC, and the path with keys filled in.
type Spot = (String, Path);

/// All that a matcher is about. Keys of maps are those that some rule names, and one that none does.
fn spots<'a>(matcher: &Matcher, places: &[Place], all: impl Iterator<Item = &'a Rule>) -> BTreeSet<Spot> {
    let mut keys: BTreeSet<&str> = BTreeSet::from([ANY_KEY]);
    for rule in all {
        for (pattern, _) in &rule.matcher.paths {
            keys.extend(pattern.segments().iter().filter_map(|segment| match segment {
                Segment::Exactly(name) => Some(name.as_str()),
                _ => None,
            }));
        }
    }
    let mut found = BTreeSet::new();
    for place in places.iter().filter(|place| matcher.is_about(&place.method)) {
        for (pattern, _) in &matcher.paths {
            if overlaps(pattern.segments(), &place.parts) {
                let filled = filled(pattern, place, &keys).into_iter().filter(|path| pattern.matches(path));
                found.extend(filled.map(|path| (place.method.clone(), path)));
            }
        }
    }
    found
}

/// The paths of a place that a pattern may match.
fn filled(pattern: &Pattern, place: &Place, keys: &BTreeSet<&str>) -> Vec<Path> {
    let named = |part: &Part| match part {
        Part::Named(name) => name.clone(),
        Part::Key | Part::Below => ANY_KEY.to_owned(),
    };
    match place.parts.as_slice() {
        [above @ .., Part::Key] => {
            let above: Vec<String> = above.iter().map(named).collect();
            keys.iter()
                .map(|key| Path::from_segments(above.iter().cloned().chain([(*key).to_owned()])))
                .collect()
        }
        [above @ .., Part::Below] => below(pattern, above.len()),
        parts => vec![Path::from_segments(parts.iter().map(named))],
    }
}

/// What a pattern asks for below the key of a map: its own parts, with something for those that may be anything.
fn below(pattern: &Pattern, depth: usize) -> Vec<Path> {
    let mut paths = Vec::new();
    for fill in 0..=2_usize {
        let segments = pattern.segments().iter().flat_map(|segment| match segment {
            Segment::Exactly(name) => vec![name.clone()],
            Segment::One => vec![ANY_KEY.to_owned()],
            Segment::Any => vec![ANY_KEY.to_owned(); fill],
        });
        let mut segments: Vec<String> = segments.collect();
        if matches!(pattern.segments().first(), Some(Segment::Any)) {
            // Below the info map of the answer itself.
            segments.splice(..fill, ["info".to_owned(), ANY_KEY.to_owned()]);
        }
        if segments.len() > depth && segments.first().is_some_and(|first| first == "info") {
            paths.push(Path::from_segments(segments));
        }
    }
    paths
}

/// Whether some path is of this place and matched by this pattern.
fn overlaps(pattern: &[Segment], parts: &[Part]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((Segment::Any, rest)), None) => overlaps(rest, parts),
        (Some((Segment::Any, rest)), Some((_, tail))) => overlaps(rest, parts) || overlaps(pattern, tail),
        // At least one part, and then any.
        (Some((_, rest)), Some((Part::Below, _))) => rest.is_empty() || overlaps(rest, parts),
        (Some((Segment::Exactly(name), rest)), Some((Part::Named(part), tail))) => {
            name == part && overlaps(rest, tail)
        }
        (Some((_, rest)), Some((_, tail))) => overlaps(rest, tail),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Paths that match nothing, with their lines.
fn dead_paths<'a>(matcher: &'a Matcher, places: &'a [Place]) -> impl Iterator<Item = (&'a Pattern, usize)> {
    let lives = |pattern: &Pattern| {
        places
            .iter()
            .any(|place| matcher.is_about(&place.method) && overlaps(pattern.segments(), &place.parts))
    };
    matcher.paths.iter().filter(move |(pattern, _)| !lives(pattern)).map(|(pattern, line)| (pattern, *line))
}

/// Paths where the relation never is true, with their lines and what is there.
fn unfit_paths<'a>(rule: &'a Rule, places: &'a [Place]) -> impl Iterator<Item = (&'a Pattern, usize, Holds)> {
    rule.matcher.paths.iter().filter_map(|(pattern, line)| {
        let about = places.iter().filter(|place| {
            rule.matcher.is_about(&place.method) && overlaps(pattern.segments(), &place.parts)
        });
        let holds: BTreeSet<Holds> = about.map(|place| place.holds).collect();
        let none_fits = !holds.iter().any(|holds| holds.is_for(&rule.relation));
        holds.first().filter(|_| none_fits).map(|first| (pattern, *line, *first))
    })
}

/// The rules that take all of these spots, where some do.
fn shadow(earlier: &[Rule], about: &BTreeSet<Spot>) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for (method, path) in about {
        let rule = earlier.iter().find(|rule| rule.matcher.matches(method, path))?;
        if !names.contains(&rule.name.as_str()) {
            names.push(&rule.name);
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// An RPC of whose answers nothing is compared any more, if there is one.
fn lets_all_pass<'a>(rule: &Rule, places: &'a [Place]) -> Option<&'a str> {
    if !matches!(rule.relation, Relation::Ignore | Relation::Optional | Relation::Presence) {
        return None;
    }
    let roots = places.iter().filter(|place| {
        matches!(place.parts.as_slice(), [Part::Named(name)] if !matches!(name.as_str(), "events" | "duration"))
    });
    let mut by_method: std::collections::BTreeMap<&str, bool> = std::collections::BTreeMap::new();
    for place in roots {
        let [Part::Named(name)] = place.parts.as_slice() else { continue };
        let passes = rule.matcher.matches(&place.method, &Path::root(name));
        *by_method.entry(&place.method).or_insert(true) &= passes;
    }
    // One field that is all of an answer may well be let pass, as an id; several are the whole answer.
    let several = |method: &str| {
        places.iter().filter(|place| place.method == method && place.parts.len() > 1).count() > 3
    };
    by_method.into_iter().find(|(method, passes)| *passes && several(method)).map(|(method, _)| method)
}

#[cfg(test)]
mod tests;
