//! Leaves: whether two values are the same, or a rule lets them pass.

use cri::IdentityKind;
use critape_calls::{Resolution, Spelling, sealed_apart};
use prost_reflect::{FieldDescriptor, Value};

use crate::comparing::walk::{Pair, Walk};
use crate::report::shown::to_json;
use crate::rules::relation;
use crate::rules::severity::told_by;
use crate::{Divergence, Kind, Path, Relation};

impl Walk<'_> {
    pub(crate) fn leaf(&mut self, path: &Path, field: Option<&FieldDescriptor>, pair: &Pair<'_>) {
        if pair.recorded == pair.live {
            return;
        }
        let rule = self.comparer.rules.rule(&self.method.name, path);
        if rule.is_some_and(|rule| rule.relation == Relation::Json) && self.json_texts(path, pair) {
            return;
        }
        let (name, agrees) = match rule {
            Some(rule) => (rule.name.as_str(), self.relates(&rule.relation, pair, field)),
            None => match self.identity_at(path) {
                Some((kind, produced)) => {
                    ("id", self.same_identity(kind, produced, pair) && !self.is_renamed(path, pair))
                }
                None => ("exact", self.same_text(pair)),
            },
        };
        if agrees {
            let name = if name == "exact" { "id-in-text" } else { name };
            self.pass(name, path, || pair.shown(field));
            return;
        }
        if let (Some(recorded), Some(live)) = (bytes(pair.recorded), bytes(pair.live))
            && sealed_apart(recorded, live)
        {
            self.pass("sealed", path, || pair.shown(field));
            return;
        }
        let rule = name.to_owned();
        let (recorded, live) = pair.shown(field);
        let text = |value: &Value| value.as_str().map(str::is_empty);
        let (kind, transition) = match (text(pair.recorded), text(pair.live)) {
            (Some(true), Some(false)) => (Kind::Presence, Some("absent→present".to_owned())),
            (Some(false), Some(true)) => (Kind::Presence, Some("present→absent".to_owned())),
            _ => (Kind::Value, enum_transition(pair, field)),
        };
        let severity = self.severity(path, kind, [transition.as_deref(), told_by(path, &recorded, &live)]);
        let settles = self.comparer.rules.settles(path);
        let path = path.clone();
        let about = None;
        self.diverge(Divergence { path, kind, transition, recorded, live, rule, severity, settles, about });
    }

    fn relates(&self, relation: &Relation, pair: &Pair<'_>, field: Option<&FieldDescriptor>) -> bool {
        if let (Relation::OneOf(values), Value::EnumNumber(_)) = (relation, pair.live) {
            return to_json(pair.live, field).as_str().is_some_and(|name| values.iter().any(|it| it == name));
        }
        if let (Some(recorded), Some(live)) = (pair.recorded.as_str(), pair.live.as_str()) {
            return relation::texts(relation, recorded, live, self.comparer.ids);
        }
        if let (Some(recorded), Some(live)) = (whole(pair.recorded), whole(pair.live)) {
            if *relation == Relation::Port {
                return self.is_same_port(recorded, live);
            }
            return relation::numbers(relation, recorded, live);
        }
        if let (Value::F64(recorded), Value::F64(live)) = (pair.recorded, pair.live) {
            return relation::fractions(relation, *recorded, *live);
        }
        match (pair.recorded, pair.live) {
            (Value::Bytes(recorded), Value::Bytes(live)) => {
                *relation == Relation::Ignore
                    || *relation == Relation::Presence && recorded.is_empty() == live.is_empty()
                    || *relation == Relation::Optional && (recorded.is_empty() || live.is_empty())
            }
            (Value::Bool(recorded), Value::Bool(live)) => match relation {
                Relation::OneOf(values) => values.contains(&live.to_string()),
                Relation::Optional => !recorded || !live,
                other => *other == Relation::Ignore,
            },
            _ => *relation == Relation::Ignore,
        }
    }

    fn is_same_port(&self, recorded: i128, live: i128) -> bool {
        let ports = u16::try_from(recorded).ok().zip(u16::try_from(live).ok());
        recorded == live
            || ports.is_some_and(|(recorded, live)| self.comparer.ids.is_same_port(recorded, live))
    }

    fn identity_at(&self, path: &Path) -> Option<(IdentityKind, bool)> {
        let text = path.to_string();
        self.method.response_ids.iter().find(|id| id.path.as_str() == text).map(|id| (id.kind, id.produces))
    }

    /// Whether a runtime has another id for an image of the same content. What echoes a request has the id that was
    /// sent.
    fn is_renamed(&self, path: &Path, pair: &Pair<'_>) -> bool {
        let ids = pair.recorded.as_str().zip(pair.live.as_str());
        ids.is_some_and(|(recorded, live)| self.comparer.ids.is_renamed(recorded, live))
            && !matches!(path.segments(), [.., last] if last == "image")
            && !matches!(path.segments(), [.., spec, last] if spec == "image" && last == "image_ref")
    }

    /// Whether two ids name the same thing in the same way.
    fn same_identity(&self, kind: IdentityKind, produced: bool, pair: &Pair<'_>) -> bool {
        let (Some(recorded), Some(live)) = (pair.recorded.as_str(), pair.live.as_str()) else { return false };
        let ids = self.comparer.ids;
        if ids.mapped_reference(recorded) == Some(live) {
            return true;
        }
        if Spelling::of(recorded) != Spelling::of(live) {
            return false;
        }
        if produced && kind != IdentityKind::Image || ids.to_recorded(live) == recorded {
            return true;
        }
        // Where a tag moved in the recording alone, one live image stands for several.
        if kind == IdentityKind::Image
            && matches!(ids.resolve(kind, recorded), Resolution::Live(bound) if bound == live)
        {
            return true;
        }
        // Neither side has met it: older than the tape here, foreign there.
        kind != IdentityKind::Image
            && !matches!(ids.resolve(kind, recorded), Resolution::Live(_))
            && !ids.is_bound_live(live)
    }

    /// Whether texts are the same once ids are taken for what they stand for.
    fn same_text(&self, pair: &Pair<'_>) -> bool {
        match (pair.recorded, pair.live) {
            (Value::String(recorded), Value::String(live)) => {
                let ids = self.comparer.ids;
                ids.to_recorded(live) == *recorded || ids.mapped_reference(recorded) == Some(live)
            }
            (Value::Bytes(recorded), Value::Bytes(live)) => {
                match (std::str::from_utf8(recorded), std::str::from_utf8(live)) {
                    (Ok(recorded), Ok(live)) => self.comparer.ids.to_recorded(live) == recorded,
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    value.as_str().map(str::as_bytes).or_else(|| value.as_bytes().map(AsRef::as_ref))
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::I32(value) | Value::EnumNumber(value) => Some((*value).into()),
        Value::I64(value) => Some((*value).into()),
        Value::U32(value) => Some((*value).into()),
        Value::U64(value) => Some((*value).into()),
        _ => None,
    }
}

/// From one enum value to another, by name.
fn enum_transition(pair: &Pair<'_>, field: Option<&FieldDescriptor>) -> Option<String> {
    let kind = field?.kind();
    let names = kind.as_enum()?;
    let name = |value: &Value| {
        let number = value.as_enum_number()?;
        let known = names.get_value(number).map(|value| value.name().to_owned());
        Some(known.unwrap_or_else(|| number.to_string()))
    };
    Some(format!("{}→{}", name(pair.recorded)?, name(pair.live)?))
}
