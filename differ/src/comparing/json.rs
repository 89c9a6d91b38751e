//! JSON inside texts, as `info` maps have it: compared part by part, each by the rules for its path.

use std::collections::BTreeSet;

use prost_reflect::Value;
use serde_json::Value as Json;

use crate::comparing::align::align;
use crate::comparing::comparer::OWNED_LABEL;
use crate::comparing::walk::{Pair, Walk};
use crate::rules::host_devices::{self, AskedDevices};
use crate::{Divergence, Kind, ListOrder, Path, Relation};

impl Walk<'_> {
    /// Compares what is in two texts, where both are JSON; tells whether they were.
    pub(crate) fn json_texts(&mut self, path: &Path, pair: &Pair<'_>) -> bool {
        let text = |value: &Value| value.as_str().and_then(document);
        let (Some(recorded), Some(live)) = (text(pair.recorded), text(pair.live)) else {
            return false;
        };
        let outer = std::mem::replace(&mut self.asked_devices, AskedDevices::of(&recorded, &live));
        self.json(path, &recorded, &live);
        self.asked_devices = outer;
        true
    }

    fn json(&mut self, path: &Path, recorded: &Json, live: &Json) {
        if recorded == live || self.passes_whole(path, recorded, live) {
            return;
        }
        match (recorded, live) {
            (Json::Object(_), Json::Object(_)) => self.json_object(path, recorded, live),
            (Json::Array(recorded), Json::Array(live)) => self.json_array(&path.each(), recorded, live),
            (Json::Null, _) | (_, Json::Null) => {
                self.presence(path, !recorded.is_null(), recorded.clone(), live.clone());
            }
            _ => match (scalar(recorded), scalar(live)) {
                (Some(recorded), Some(live)) => self.json_leaf(path, &recorded, &live),
                _ => self.differs(path, recorded, live),
            },
        }
    }

    /// Whether a rule explains a whole object or array without a look into it.
    fn passes_whole(&mut self, path: &Path, recorded: &Json, live: &Json) -> bool {
        let whole = |value: &Json| value.is_object() || value.is_array() || value.is_null();
        if !whole(recorded) || !whole(live) {
            return false;
        }
        let Some(rule) = self.comparer.rules.rule(&self.method.name, path) else { return false };
        let passes = match rule.relation {
            Relation::Ignore => true,
            Relation::Presence => is_empty(recorded) == is_empty(live),
            Relation::Optional => is_empty(recorded) || is_empty(live),
            _ => false,
        };
        if passes {
            self.pass(&rule.name, path, || (recorded.clone(), live.clone()));
        }
        passes
    }

    fn json_object(&mut self, path: &Path, recorded: &Json, live: &Json) {
        let (Some(before), Some(now)) = (recorded.as_object(), live.as_object()) else { return };
        for key in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let entry = path.field(key);
            match (before.get(key), now.get(key)) {
                (Some(recorded), Some(live)) => self.json(&entry, recorded, live),
                (None, Some(live)) if key == OWNED_LABEL || is_owned_label_alone(live) => {
                    self.pass("owned-label", &entry, || (Json::Null, live.clone()));
                }
                (recorded, live) => {
                    let shown = |value: Option<&Json>| value.cloned().unwrap_or_default();
                    self.presence(&entry, recorded.is_some(), shown(recorded), shown(live));
                }
            }
        }
    }

    fn json_array(&mut self, path: &Path, recorded: &[Json], live: &[Json]) {
        if self.ignored(path, false) {
            return;
        }
        let rule = self.comparer.rules.list(&self.method.name, path);
        let alignment = align(rule, recorded, live, &|text| self.comparer.ids.to_recorded_path(text));
        for (before, now) in &alignment.pairs {
            self.json(path, &recorded[*before], &live[*now]);
        }
        for index in &alignment.recorded_only {
            self.on_one_side(path, true, &recorded[*index]);
        }
        for index in &alignment.live_only {
            self.on_one_side(path, false, &live[*index]);
        }
        let Some(rule) = rule.filter(|rule| !rule.keys.is_empty() && !alignment.in_order()) else { return };
        let both = || (Json::from(recorded), Json::from(live));
        if rule.order == ListOrder::Any {
            self.pass(&rule.name, path, both);
        } else {
            let (recorded, live) = both();
            self.out_of_order(path, rule, Kind::Order, recorded, live);
        }
    }

    /// An element that is there on one side only: on the recorded one where it was there `before`.
    fn on_one_side(&mut self, path: &Path, before: bool, element: &Json) {
        let both = || if before { (element.clone(), Json::Null) } else { (Json::Null, element.clone()) };
        if self.asked_devices.as_ref().is_some_and(|asked| asked.leave_to_host(path, element)) {
            self.pass(host_devices::RULE, path, both);
        } else {
            let (recorded, live) = both();
            self.presence(path, before, recorded, live);
        }
    }

    fn json_leaf(&mut self, path: &Path, recorded: &Value, live: &Value) {
        let pair = Pair { recorded, live };
        // What a runtime tells of its insides is full of paths, and a replay moves some of them.
        let same = recorded
            .as_str()
            .zip(live.as_str())
            .is_some_and(|(recorded, live)| self.comparer.ids.to_recorded_path(live) == recorded);
        if same {
            self.pass("id-in-text", path, || pair.shown(None));
        } else {
            self.leaf(path, None, &pair);
        }
    }

    /// Two values of which one is not even of the other's kind.
    fn differs(&mut self, path: &Path, recorded: &Json, live: &Json) {
        if self.ignored(path, false) {
            return;
        }
        self.diverge(Divergence {
            path: path.clone(),
            kind: Kind::Value,
            transition: None,
            recorded: recorded.clone(),
            live: live.clone(),
            rule: "exact".to_owned(),
            severity: self.severity(path, Kind::Value, [None, None]),
            settles: self.comparer.rules.settles(path),
            about: None,
        });
    }
}

/// Whether these are the labels of something that had none before a replay gave it its own.
fn is_owned_label_alone(labels: &Json) -> bool {
    labels.as_object().is_some_and(|labels| labels.len() == 1 && labels.contains_key(OWNED_LABEL))
}

/// The object or array that a text is. Other texts are JSON by chance, if at all.
pub(crate) fn document(text: &str) -> Option<Json> {
    text.starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten()
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Object(entries) => entries.is_empty(),
        Json::Array(items) => items.is_empty(),
        other => other.is_null(),
    }
}

/// A value as a field of a message would have it.
fn scalar(value: &Json) -> Option<Value> {
    match value {
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::String(text) => Some(Value::String(text.clone())),
        Json::Number(number) => number
            .as_i64()
            .map(Value::I64)
            .or_else(|| number.as_u64().map(Value::U64))
            .or_else(|| number.as_f64().map(Value::F64)),
        _ => None,
    }
}
