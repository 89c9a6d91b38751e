//! Compares two messages, field by field.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use cri::{IdentityKind, Method};
use critape_calls::{IdentityMap, Live, Recorded, Resolution, Spelling};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MapKey, ReflectMessage, Value};

use crate::align::{align, key_of};
use crate::relation;
use crate::{Divergence, Kind, ListOrder, ListRule, Path, Relation, Rules, Severity};

/// The label that a replay puts on its sandboxes. It is no difference.
pub const OWNED_LABEL: &str = "io.critape.replay";

/// Later recorded states of objects, for reads that come too late to see the recorded one.
pub trait Trajectories {
    /// The messages of this type in which the recording showed the object from now until its next mutating call, in order.
    fn later(&self, id: &str, message_type: &str) -> Vec<DynamicMessage>;

    /// Whether a call that makes, changes or removes the object was on its way while the recorded or the live read was.
    fn is_changing(&self, id: &str) -> bool;
}

/// No states but the recorded one.
#[derive(Clone, Copy, Debug)]
pub struct NoTrajectories;

impl Trajectories for NoTrajectories {
    fn later(&self, _id: &str, _message_type: &str) -> Vec<DynamicMessage> {
        Vec::new()
    }

    fn is_changing(&self, _id: &str) -> bool {
        false
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// What no rule explains.
    pub divergences: Vec<Divergence>,
    /// Differences that a rule let pass, by rule.
    pub passed: BTreeMap<String, u64>,
    /// List elements that belong to one side only because they are none of the recording's or replay's business.
    pub left_out: u64,
}

impl Compared {
    pub(crate) fn pass(&mut self, rule: &str) {
        *self.passed.entry(rule.to_owned()).or_default() += 1;
    }

    /// Adds what another comparison found.
    pub fn merge(&mut self, other: Self) {
        self.divergences.extend(other.divergences);
        for (rule, count) in other.passed {
            *self.passed.entry(rule).or_default() += count;
        }
        self.left_out += other.left_out;
    }

    /// Whether waiting may change the result.
    pub fn may_settle(&self) -> bool {
        self.divergences.iter().any(|divergence| divergence.settles)
    }
}

/// Compares answers by the rules, in the light of which id stands for which.
#[derive(Debug)]
pub struct Comparer<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) ids: &'a IdentityMap,
    orders: &'a RefCell<Orders>,
}

/// The order in which lists without one came, to see whether it stays.
#[derive(Debug, Default)]
pub(crate) struct Orders(HashMap<(String, Path), Seen>);

#[derive(Clone, Debug, Default)]
struct Seen {
    recorded: BTreeSet<Order>,
    live: BTreeSet<Order>,
}

/// The keys of a list's elements, in the order in which they came.
type Order = Vec<String>;

fn order_of(rule: &ListRule, elements: &[Value]) -> Order {
    elements
        .iter()
        .filter_map(|element| key_of(&rule.keys[0], element, &str::to_owned))
        .map(|key| key.join(" "))
        .collect()
}

/// What a comparer remembers from call to call.
#[derive(Debug, Default)]
pub struct Memory(RefCell<Orders>);

impl<'a> Comparer<'a> {
    /// A comparer with these rules and ids; `memory` outlives it and is shared by all comparers of a run.
    pub fn new(rules: &'a Rules, ids: &'a IdentityMap, memory: &'a Memory) -> Self {
        Self { rules, ids, orders: &memory.0 }
    }

    /// Compares two answers of `method`.
    pub fn messages(
        &self,
        method: &Method,
        recorded: Recorded<&DynamicMessage>,
        live: Live<&DynamicMessage>,
        trajectories: &dyn Trajectories,
    ) -> Compared {
        let mut walk = Walk { comparer: self, method, trajectories, compared: Compared::default() };
        walk.message(&Path::default(), recorded.0, live.0);
        walk.compared
    }
}

struct Walk<'a> {
    comparer: &'a Comparer<'a>,
    method: &'a Method,
    trajectories: &'a dyn Trajectories,
    compared: Compared,
}

/// Both sides of one value.
struct Pair<'a> {
    recorded: &'a Value,
    live: &'a Value,
}

impl Walk<'_> {
    fn message(&mut self, path: &Path, recorded: &DynamicMessage, live: &DynamicMessage) {
        for field in recorded.descriptor().fields() {
            // Containing oneofs and presence are the field's own affair; CRI has neither oneofs nor optional scalars.
            self.field(path, &field, recorded, live);
        }
        self.unknown_fields(path, recorded, live);
    }

    fn field(
        &mut self,
        parent: &Path,
        field: &FieldDescriptor,
        recorded: &DynamicMessage,
        live: &DynamicMessage,
    ) {
        let (before, now) = (recorded.get_field(field), live.get_field(field));
        let pair = Pair { recorded: &before, live: &now };
        if field.is_list() {
            self.list(&parent.elements(field.name()), field, &pair);
        } else if field.is_map() {
            self.map(&parent.field(field.name()), &pair);
        } else if let FieldKind::Message(_) = field.kind() {
            let path = parent.field(field.name());
            self.optional_message(&path, field, recorded.has_field(field), live.has_field(field), &pair);
        } else {
            self.leaf(&parent.field(field.name()), Some(field), &pair);
        }
    }

    fn optional_message(
        &mut self,
        path: &Path,
        field: &FieldDescriptor,
        before: bool,
        now: bool,
        pair: &Pair<'_>,
    ) {
        match (before, now, pair.recorded, pair.live) {
            (true, true, Value::Message(recorded), Value::Message(live)) => {
                self.object(path, recorded, live);
            }
            (true, false, ..) | (false, true, ..) => {
                let shown = |there: bool, value: &Value| {
                    if there { to_json(value, Some(field)) } else { serde_json::Value::Null }
                };
                let (recorded, live) = (shown(before, pair.recorded), shown(now, pair.live));
                self.presence(path, before, recorded, live);
            }
            _ => {}
        }
    }

    /// A message that may be the state of an object: where the recorded state does not fit, a later one may.
    fn object(&mut self, path: &Path, recorded: &DynamicMessage, live: &DynamicMessage) {
        let id = own_id(recorded);
        let compared = self.apart(path, recorded, live);
        let Some(id) = id.filter(|_| compared.may_settle()) else {
            self.compared.merge(compared);
            return;
        };
        if self.trajectories.is_changing(&id) {
            // A call on the object was under way: either state may be seen. What cannot change with time is still compared.
            let mut kept = compared;
            kept.divergences.retain(|divergence| !divergence.settles);
            kept.pass("state-was-changing");
            self.compared.merge(kept);
            return;
        }
        // Where no state agrees, the nearest one tells best what is wrong.
        let unsettled = |compared: &Compared| compared.divergences.iter().filter(|it| it.settles).count();
        let later = self.trajectories.later(&id, recorded.descriptor().name());
        let nearest = later.iter().map(|state| self.apart(path, state, live)).min_by_key(unsettled);
        match nearest.filter(|nearest| unsettled(nearest) < unsettled(&compared)) {
            Some(mut nearest) => {
                nearest.pass("later-state");
                self.compared.merge(nearest);
            }
            None => self.compared.merge(compared),
        }
    }

    /// Compares without keeping the result.
    fn apart(&self, path: &Path, recorded: &DynamicMessage, live: &DynamicMessage) -> Compared {
        let mut walk = Walk {
            comparer: self.comparer,
            method: self.method,
            trajectories: self.trajectories,
            compared: Compared::default(),
        };
        walk.message(path, recorded, live);
        walk.compared
    }

    fn list(&mut self, path: &Path, field: &FieldDescriptor, pair: &Pair<'_>) {
        let (Value::List(recorded), Value::List(live)) = (pair.recorded, pair.live) else { return };
        if recorded.is_empty() && live.is_empty() {
            return;
        }
        if self.ignored(path, recorded == live) {
            return;
        }
        let rule = self.comparer.rules.list(&self.method.name, path);
        let alignment = align(rule, recorded, live, &|text| self.comparer.ids.to_recorded(text));
        for (before, now) in &alignment.pairs {
            match (&recorded[*before], &live[*now]) {
                (Value::Message(before), Value::Message(now)) => self.object(path, before, now),
                (before, now) => self.leaf(path, Some(field), &Pair { recorded: before, live: now }),
            }
        }
        for index in &alignment.recorded_only {
            self.missing(path, field, &recorded[*index]);
        }
        for index in &alignment.live_only {
            self.surplus(path, field, &live[*index]);
        }
        self.order(path, rule, &alignment, recorded, live);
    }

    fn order(
        &mut self,
        path: &Path,
        rule: Option<&ListRule>,
        alignment: &crate::align::Alignment,
        recorded: &[Value],
        live: &[Value],
    ) {
        let Some(rule) = rule.filter(|rule| !rule.keys.is_empty()) else { return };
        match rule.order {
            ListOrder::Any => {
                if !alignment.in_order() {
                    self.compared.pass(&rule.name);
                }
            }
            ListOrder::Kept => {
                if !alignment.in_order() {
                    let (recorded, live) = (order_of(rule, recorded).into(), order_of(rule, live).into());
                    self.out_of_order(path, rule, Kind::Order, recorded, live);
                }
            }
            ListOrder::Stable => {
                if let Some(seen) = self.unstable(path, rule, recorded, live) {
                    let shown = |orders: BTreeSet<Order>| orders.into_iter().collect::<Vec<_>>().into();
                    self.out_of_order(path, rule, Kind::Oracle, shown(seen.recorded), shown(seen.live));
                } else if !alignment.in_order() {
                    self.compared.pass(&rule.name);
                }
            }
        }
    }

    /// The orders seen so far, where the live one changes from call to call and the recorded one did not.
    fn unstable(&self, path: &Path, rule: &ListRule, recorded: &[Value], live: &[Value]) -> Option<Seen> {
        let mut orders = self.comparer.orders.borrow_mut();
        let seen = orders.0.entry((self.method.path.clone(), path.clone())).or_default();
        seen.recorded.insert(order_of(rule, recorded));
        seen.live.insert(order_of(rule, live));
        let changes = |orders: &BTreeSet<Order>| {
            // Only orders of the same elements can be told from each other.
            let mut sets: Vec<BTreeSet<&String>> =
                orders.iter().map(|order| order.iter().collect()).collect();
            sets.sort();
            sets.windows(2).any(|two| two[0] == two[1])
        };
        (changes(&seen.live) && !changes(&seen.recorded)).then(|| seen.clone())
    }

    fn out_of_order(
        &mut self,
        path: &Path,
        rule: &ListRule,
        kind: Kind,
        recorded: serde_json::Value,
        live: serde_json::Value,
    ) {
        self.diverge(Divergence {
            path: path.clone(),
            kind,
            transition: None,
            recorded,
            live,
            rule: rule.name.clone(),
            severity: Severity::Behaviour,
            settles: false,
        });
    }

    /// A recorded element that has no live counterpart.
    fn missing(&mut self, path: &Path, field: &FieldDescriptor, element: &Value) {
        if let Some((kind, id)) = self.identity_of(path, element) {
            // Older than the tape, or never made here: not this replay's business.
            if !matches!(self.comparer.ids.resolve(kind, &id), Resolution::Live(_)) {
                self.compared.left_out += 1;
                return;
            }
            if self.trajectories.is_changing(&id) {
                self.compared.pass("state-was-changing");
                return;
            }
        }
        let shown = to_json(element, Some(field));
        self.presence(path, true, shown, serde_json::Value::Null);
    }

    /// A live element that has no recorded counterpart.
    fn surplus(&mut self, path: &Path, field: &FieldDescriptor, element: &Value) {
        if let Some((_, id)) = self.identity_of(path, element) {
            if !self.comparer.ids.is_bound_live(&id) {
                self.compared.left_out += 1;
                return;
            }
            if self.trajectories.is_changing(&self.comparer.ids.to_recorded(&id)) {
                self.compared.pass("state-was-changing");
                return;
            }
        }
        let shown = to_json(element, Some(field));
        self.presence(path, false, serde_json::Value::Null, shown);
    }

    /// The identity that this list's elements are known by, as the table of methods has it.
    fn identity_of(&self, path: &Path, element: &Value) -> Option<(IdentityKind, String)> {
        let Value::Message(message) = element else { return None };
        let list = path.to_string();
        self.method.response_ids.iter().find_map(|id| {
            let field = id.path.as_str().strip_prefix(list.as_str())?.strip_prefix('.')?;
            let own = matches!(field, "id" | "attributes.id" | "pod_sandbox_id" | "container_id");
            let relative = cri::FieldPath::parse(field, &message.descriptor()).ok().filter(|_| own)?;
            Some((id.kind, relative.texts(message).into_iter().next()?))
        })
    }

    fn map(&mut self, path: &Path, pair: &Pair<'_>) {
        let (Value::Map(recorded), Value::Map(live)) = (pair.recorded, pair.live) else { return };
        let keys: BTreeSet<String> = recorded.keys().chain(live.keys()).map(key_text).collect();
        for key in keys {
            let entry = path.field(&key);
            let map_key = MapKey::String(key.clone());
            match (recorded.get(&map_key), live.get(&map_key)) {
                (Some(recorded), Some(live)) => self.leaf(&entry, None, &Pair { recorded, live }),
                (None, Some(_)) if key == OWNED_LABEL => self.compared.pass("owned-label"),
                (recorded, live) => {
                    let shown =
                        |value: Option<&Value>| value.map_or(serde_json::Value::Null, |it| to_json(it, None));
                    self.presence(&entry, recorded.is_some(), shown(recorded), shown(live));
                }
            }
        }
    }

    fn leaf(&mut self, path: &Path, field: Option<&FieldDescriptor>, pair: &Pair<'_>) {
        if pair.recorded == pair.live {
            return;
        }
        let rule = self.comparer.rules.rule(&self.method.name, path);
        let (name, agrees) = match rule {
            Some(rule) => (rule.name.as_str(), self.relates(rule.relation, pair)),
            None => match self.identity_at(path) {
                Some((kind, produced)) => ("id", self.same_identity(kind, produced, pair)),
                None => ("exact", self.same_text(pair)),
            },
        };
        if agrees {
            self.compared.pass(if name == "exact" { "id-in-text" } else { name });
            return;
        }
        let rule = name.to_owned();
        let (recorded, live) = (to_json(pair.recorded, field), to_json(pair.live, field));
        let text = |value: &Value| value.as_str().map(str::is_empty);
        let (kind, transition) = match (text(pair.recorded), text(pair.live)) {
            (Some(true), Some(false)) => (Kind::Presence, Some("absent→present".to_owned())),
            (Some(false), Some(true)) => (Kind::Presence, Some("present→absent".to_owned())),
            _ => (Kind::Value, enum_transition(pair, field)),
        };
        let severity = self.severity(path, kind, transition.as_deref());
        let settles = self.comparer.rules.settles(path);
        let path = path.clone();
        self.diverge(Divergence { path, kind, transition, recorded, live, rule, severity, settles });
    }

    fn relates(&self, relation: Relation, pair: &Pair<'_>) -> bool {
        if let (Some(recorded), Some(live)) = (pair.recorded.as_str(), pair.live.as_str()) {
            return relation::texts(relation, recorded, live, self.comparer.ids);
        }
        if let (Some(recorded), Some(live)) = (whole(pair.recorded), whole(pair.live)) {
            return relation::numbers(relation, recorded, live);
        }
        if let (Value::F64(recorded), Value::F64(live)) = (pair.recorded, pair.live) {
            return relation::fractions(relation, *recorded, *live);
        }
        match (pair.recorded, pair.live) {
            (Value::Bytes(recorded), Value::Bytes(live)) => {
                relation == Relation::Ignore
                    || relation == Relation::Presence && recorded.is_empty() == live.is_empty()
            }
            _ => relation == Relation::Ignore,
        }
    }

    fn identity_at(&self, path: &Path) -> Option<(IdentityKind, bool)> {
        let text = path.to_string();
        self.method.response_ids.iter().find(|id| id.path.as_str() == text).map(|id| (id.kind, id.produces))
    }

    /// Whether two ids name the same thing in the same way.
    fn same_identity(&self, kind: IdentityKind, produced: bool, pair: &Pair<'_>) -> bool {
        let (Some(recorded), Some(live)) = (pair.recorded.as_str(), pair.live.as_str()) else { return false };
        if Spelling::of(recorded) != Spelling::of(live) {
            return false;
        }
        let ids = self.comparer.ids;
        if produced && kind != IdentityKind::Image || ids.to_recorded(live) == recorded {
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
                self.comparer.ids.to_recorded(live) == *recorded
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

    fn unknown_fields(&mut self, parent: &Path, recorded: &DynamicMessage, live: &DynamicMessage) {
        let collect = |message: &DynamicMessage| -> BTreeMap<u32, Vec<Vec<u8>>> {
            let mut fields: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
            for field in message.unknown_fields() {
                let mut bytes = Vec::new();
                field.encode(&mut bytes);
                fields.entry(field.number()).or_default().push(bytes);
            }
            fields
        };
        let (before, now) = (collect(recorded), collect(live));
        for number in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let (before, now) = (before.get(number), now.get(number));
            if before == now {
                continue;
            }
            let path = parent.field(&number.to_string());
            let shown = |bytes: Option<&Vec<Vec<u8>>>| {
                bytes.map_or(serde_json::Value::Null, |bytes| base64_text(&bytes.concat()).into())
            };
            if before.is_some() != now.is_some() {
                self.presence(&path, before.is_some(), shown(before), shown(now));
            } else if !self.ignored(&path, false) {
                self.diverge(Divergence {
                    severity: self.severity(&path, Kind::Value, None),
                    path,
                    kind: Kind::Value,
                    transition: None,
                    recorded: shown(before),
                    live: shown(now),
                    rule: "exact".to_owned(),
                    settles: false,
                });
            }
        }
    }

    /// Something is there on one side only.
    fn presence(&mut self, path: &Path, before: bool, recorded: serde_json::Value, live: serde_json::Value) {
        if self.ignored(path, false) {
            return;
        }
        let transition = if before { "present→absent" } else { "absent→present" };
        let severity = self.severity(path, Kind::Presence, Some(transition));
        self.diverge(Divergence {
            path: path.clone(),
            kind: Kind::Presence,
            transition: Some(transition.to_owned()),
            recorded,
            live,
            rule: "exact".to_owned(),
            severity,
            settles: self.comparer.rules.settles(path),
        });
    }

    /// Whether a rule says that nothing is compared here; a difference is counted under its name.
    fn ignored(&mut self, path: &Path, same: bool) -> bool {
        let rule = self.comparer.rules.rule(&self.method.name, path);
        let Some(rule) = rule.filter(|rule| rule.relation == Relation::Ignore) else { return false };
        if !same {
            self.compared.pass(&rule.name);
        }
        true
    }

    fn severity(&self, path: &Path, kind: Kind, transition: Option<&str>) -> Severity {
        // A field that a newer runtime adds, an older kubelet does not see. One more element of a list it does see.
        let element = path.to_string().ends_with("[]");
        if transition == Some("absent→present") && kind == Kind::Presence && !element {
            return Severity::Cosmetic;
        }
        self.comparer.rules.severity(&self.method.name, path).unwrap_or(Severity::Behaviour)
    }

    fn diverge(&mut self, divergence: Divergence) {
        self.compared.divergences.push(divergence);
    }
}

/// The id of the object whose state this message is.
fn own_id(message: &DynamicMessage) -> Option<String> {
    let text = |message: &DynamicMessage| {
        let value = message.get_field_by_name("id")?.into_owned();
        value.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
    };
    text(message).or_else(|| {
        let attributes = message.get_field_by_name("attributes")?.into_owned();
        attributes.as_message().and_then(text)
    })
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

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A value as reports show it.
fn to_json(value: &Value, field: Option<&FieldDescriptor>) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::I64(value) => value.to_string().into(),
        Value::U64(value) => value.to_string().into(),
        Value::F32(value) => f64::from(*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(text) => text.clone().into(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => base64_text(bytes).into(),
        },
        Value::EnumNumber(number) => {
            let kind = field.map(FieldDescriptor::kind);
            let known = kind.as_ref().and_then(|kind| kind.as_enum()?.get_value(*number));
            known.map_or_else(|| (*number).into(), |value| value.name().into())
        }
        Value::Message(message) => cri::json::to_value(message, cri::json::Defaults::LeftOut),
        Value::List(items) => items.iter().map(|item| to_json(item, field)).collect::<Vec<_>>().into(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key_text(key), to_json(value, None))).collect()
        }
    }
}
