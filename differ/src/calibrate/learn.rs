//! From what was seen to the narrowest relation that explains all of it.

use std::collections::{BTreeMap, BTreeSet};

use critape_calls::SEALED_PREFIX;
use serde_json::Value;

use super::Place;
use crate::report::spread::{Seen, Spread};
use crate::rules::relation::{is_time, plain};

/// More values than this are no choice of some.
const MAX_CHOICES: usize = 8;
/// A choice is believed where each of its values was seen about so often.
const SEEN_EACH: usize = 3;
/// The least that must stay the same of a text whose rest varies.
const MIN_COMMON: usize = 3;

/// What one run showed of one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    seen: Vec<Seen>,
    count: u64,
}

impl Run {
    pub(super) fn add(&mut self, spread: &Spread, count: u64) {
        self.seen.extend(spread.seen.iter().cloned());
        self.count += count;
    }

    /// What tells this run from another: which calls showed what. Ids differ anyway.
    fn shape(&self) -> Vec<(Option<u64>, String)> {
        let form = |value: &Value| match text(value) {
            Some(number) if number.parse::<f64>().is_ok() => number,
            other => plain(&other.unwrap_or_default()),
        };
        let mut shape: Vec<_> = self.seen.iter().map(|seen| (seen.call, form(&seen.live))).collect();
        shape.sort();
        shape
    }
}

/// What was learnt of one place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lesson {
    pub(super) relation: Learned,
    /// What was seen, for people.
    pub(super) seen: String,
}

/// A relation to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Learned {
    Timestamp,
    Sometime,
    Optional,
    Text,
    Presence,
    Range {
        min: f64,
        max: f64,
    },
    OneOf(Vec<String>),
    Pattern(String),
    /// Of a list, with its keys.
    AnyOrder(Vec<Vec<String>>),
}

/// What explains all that was seen at a place; or why nothing should.
pub(super) fn lesson(place: &Place, runs: &[Run], keys: Option<Vec<Vec<String>>>) -> Result<Lesson, String> {
    let first = runs.first().map(Run::shape).unwrap_or_default();
    if runs.len() > 1 && runs.iter().all(|run| run.shape() == first && run.count == runs[0].count) {
        return Err(format!("the same in all {} runs, so it is no noise", runs.len()));
    }
    let within = runs.iter().filter(|run| run.count > 0).count();
    let times: u64 = runs.iter().map(|run| run.count).sum();
    let how_often = format!("in {within} of {} runs, {times} times", runs.len());
    if place.is_order {
        let Some(keys) = keys.filter(|keys| !keys.is_empty()) else {
            return Err("its elements have no key".to_owned());
        };
        return Ok(Lesson { relation: Learned::AnyOrder(keys), seen: format!("another order {how_often}") });
    }
    let all: Vec<&Seen> = runs.iter().flat_map(|run| &run.seen).collect();
    let values: Option<Vec<String>> =
        all.iter().flat_map(|seen| [text(&seen.recorded), text(&seen.live)]).collect();
    let is_map_or_list = |value: &Value| value.is_object() || value.is_array();
    let whole = all.iter().any(|seen| is_map_or_list(&seen.recorded) || is_map_or_list(&seen.live));
    let absent = all.iter().any(|seen| seen.recorded.is_null() || seen.live.is_null());
    if (whole || absent) && place.path.len() < 2 {
        return Err("a rule would let a whole object pass".to_owned());
    }
    if whole || absent {
        let appears = format!("there on one side only {how_often}");
        return if all.iter().all(|seen| seen.recorded.is_null() != seen.live.is_null()) {
            Ok(Lesson { relation: Learned::Optional, seen: appears })
        } else {
            Err("sometimes it is not there, and sometimes it is another".to_owned())
        };
    }
    let values = values.unwrap_or_default();
    // A token tells that there is a value, and no more.
    let is_sealed = |value: &String| value.contains(SEALED_PREFIX);
    if values.iter().any(is_sealed) {
        return Ok(Lesson { relation: Learned::Presence, seen: format!("sealed values, {how_often}") });
    }
    let relation = relation(&values);
    Ok(Lesson { relation, seen: format!("{}, {how_often}", summary(&values)) })
}

/// The text of a leaf; empty where it is not there. `None` for what is no leaf.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn relation(values: &[String]) -> Learned {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    values.iter().for_each(|value| *counted.entry(value).or_default() += 1);
    let choices = || counted.keys().map(|value| (*value).to_owned()).collect();
    let numbers: Option<Vec<f64>> = values.iter().map(|value| value.parse().ok()).collect();
    if let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) {
        let set: Vec<&String> = values.iter().filter(|value| *value != "0").collect();
        if !set.is_empty() && set.iter().all(|value| is_time(value)) {
            return if set.len() < values.len() { Learned::Sometime } else { Learned::Timestamp };
        }
        return range(&numbers);
    }
    if counted.len() <= MAX_CHOICES && (values.len() >= SEEN_EACH * counted.len() || is_flag(&counted)) {
        return Learned::OneOf(choices());
    }
    let forms: BTreeSet<String> = values.iter().map(|value| plain(value)).collect();
    if forms.len() == 1 {
        return Learned::Text;
    }
    pattern(&counted.keys().copied().collect::<Vec<_>>())
}

fn is_flag(counted: &BTreeMap<&str, usize>) -> bool {
    counted.keys().all(|value| matches!(*value, "true" | "false"))
}

/// What was seen, and as much again on either side: the next run need not stay within what a few have shown.
fn range(numbers: &[f64]) -> Learned {
    let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = max - min;
    // What was never below nothing will not be.
    let low = if min >= 0.0 { (min - margin).max(0.0) } else { min - margin };
    Learned::Range { min: low.floor(), max: (max + margin).ceil() }
}

/// Texts that begin and end alike, whatever is in between.
fn pattern(values: &[&str]) -> Learned {
    let set: Vec<Vec<char>> =
        values.iter().filter(|value| !value.is_empty()).map(|value| value.chars().collect()).collect();
    let Some(first) = set.first() else { return Learned::Presence };
    let common = |at: &dyn Fn(&Vec<char>, usize) -> Option<char>| {
        (0..first.len())
            .take_while(|index| set.iter().all(|value| at(value, *index) == at(first, *index)))
            .count()
    };
    let shortest = set.iter().map(Vec::len).min().unwrap_or_default();
    let before = common(&|value, index| value.get(index).copied());
    let after = common(&|value, index| value.get(value.len().wrapping_sub(index + 1)).copied());
    let after = after.min(shortest - before.min(shortest));
    if before + after < MIN_COMMON {
        return Learned::Presence;
    }
    let part = |range: std::ops::Range<usize>| regex::escape(&first[range].iter().collect::<String>());
    let whole = format!("{}.*{}", part(0..before), part(first.len() - after..first.len()));
    Learned::Pattern(if set.len() < values.len() { format!("(?:{whole})?") } else { whole })
}

/// What values were seen, shortly.
fn summary(values: &[String]) -> String {
    let distinct: BTreeSet<&String> = values.iter().collect();
    let numbers: Option<Vec<f64>> = distinct.iter().map(|value| value.parse().ok()).collect();
    if let Some(numbers) = numbers.filter(|numbers| numbers.len() > 2) {
        let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        return format!("{} numbers from {min} to {max}", numbers.len());
    }
    let shown: Vec<String> = distinct.iter().take(3).map(|value| format!("{:?}", cut(value))).collect();
    let more = if distinct.len() > shown.len() {
        format!(" and {} more", distinct.len() - shown.len())
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}
