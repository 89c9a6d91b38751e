//! Walks through two messages at once.

use std::collections::{BTreeMap, BTreeSet};

use cri::Method;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MapKey, ReflectMessage, Value};

use crate::comparing::agreed::{AgreeingPair, lasts};
use crate::comparing::comparer::{Compared, Comparer, OWNED_LABEL, Passed, Trajectories};
use crate::report::shown::{base64_text, key_text, to_json};
use crate::rules::host_devices::AskedDevices;
use crate::rules::severity::{Transitions, told_by, told_of};
use crate::{Divergence, Kind, Path, Relation, Severity, Subject};

/// How a container ended.
const ENDINGS: [&str; 3] = ["exit_code", "reason", "message"];
/// Exit codes of programs that SIGTERM or SIGKILL ended.
const BY_SIGNAL: [i64; 2] = [143, 137];

/// A comparison under way.
pub(crate) struct Walk<'a> {
    pub(crate) comparer: &'a Comparer<'a>,
    pub(crate) method: &'a Method,
    pub(crate) trajectories: &'a dyn Trajectories,
    pub(crate) compared: Compared,
    /// The recorded id of the object whose message this is; empty where that has none.
    pub(crate) owner: &'a str,
    /// Elements of lists of the answer itself that agree.
    pub(crate) agreeing: Vec<AgreeingPair>,
    /// Inside what a runtime tells of a privileged container.
    pub(crate) asked_devices: Option<AskedDevices>,
}

/// Both sides of one value.
pub(crate) struct Pair<'a> {
    pub(crate) recorded: &'a Value,
    pub(crate) live: &'a Value,
}

impl Pair<'_> {
    /// Both as reports show them.
    pub(crate) fn shown(&self, field: Option<&FieldDescriptor>) -> (serde_json::Value, serde_json::Value) {
        (to_json(self.recorded, field), to_json(self.live, field))
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        comparer: &'a Comparer<'a>,
        method: &'a Method,
        trajectories: &'a dyn Trajectories,
    ) -> Self {
        Self {
            comparer,
            method,
            trajectories,
            compared: Compared::default(),
            owner: "",
            agreeing: Vec::new(),
            asked_devices: None,
        }
    }
}

impl Walk<'_> {
    pub(crate) fn message(&mut self, path: &Path, recorded: &DynamicMessage, live: &DynamicMessage) {
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
        // Most fields of most messages are on neither side.
        if !recorded.has_field(field) && !live.has_field(field) {
            return;
        }
        let (before, now) = (recorded.get_field(field), live.get_field(field));
        // What order a list came in is told from lists that are the same, too; a message may hold one.
        let is_simple = field.is_map() || !(field.is_list() || matches!(field.kind(), FieldKind::Message(_)));
        if is_simple && before == now {
            return;
        }
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
    pub(crate) fn object(&mut self, path: &Path, recorded: &DynamicMessage, live: &DynamicMessage) {
        let id = own_id(recorded);
        let owner = id.as_deref().unwrap_or(self.owner);
        let mut compared = self.apart(path, owner, recorded, live);
        if let Some(id) = &id {
            self.look_at_life(id, &mut compared);
        }
        let of_runtime = owner.is_empty() && compared.may_settle();
        let Some(id) = id.filter(|_| compared.may_settle()) else {
            if of_runtime {
                self.expect_only_lateness(path, "", (recorded, live), &mut compared);
            }
            self.compared.merge(compared);
            return;
        };
        let has_state = recorded.descriptor().get_field_by_name("state").is_some();
        if self.trajectories.is_changing(&id) || !has_state && self.trajectories.may_have_ended(&id) {
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
        let nearest = later.iter().map(|state| self.apart(path, &id, state, live)).min_by_key(unsettled);
        if let Some(mut nearest) = nearest.filter(|nearest| unsettled(nearest) < unsettled(&compared)) {
            nearest.pass("later-state");
            compared = nearest;
        }
        if compared.may_settle() {
            self.expect_only_lateness(path, &id, (recorded, live), &mut compared);
        }
        self.compared.merge(compared);
    }

    /// What follows from how long the object has lived.
    fn look_at_life(&self, id: &str, compared: &mut Compared) {
        if compared.divergences.is_empty() {
            return;
        }
        let is = |divergence: &Divergence, name: &str| {
            divergence.path.segments().last().is_some_and(|last| last == name)
        };
        // A program that is stopped at once dies of the signal that it would have handled.
        let died = |it: &Divergence| {
            is(it, "exit_code") && it.live.as_i64().is_some_and(|code| BY_SIGNAL.contains(&code))
        };
        if compared.divergences.iter().any(died) && self.trajectories.was_cut_short(id) {
            compared.divergences.retain(|it| !ENDINGS.iter().any(|name| is(it, name)));
            compared.pass("cut-short");
        }
        // Waiting for a state that a call has brought about is waiting for a defect to pass.
        if self.trajectories.is_over(id) && !self.trajectories.is_changing(id) {
            for divergence in compared.divergences.iter_mut().filter(|it| is(it, "state")) {
                divergence.settles = false;
            }
        }
    }

    /// Compares without keeping the result.
    pub(crate) fn apart(
        &self,
        path: &Path,
        owner: &str,
        recorded: &DynamicMessage,
        live: &DynamicMessage,
    ) -> Compared {
        let mut walk = Walk { owner, ..Walk::new(self.comparer, self.method, self.trajectories) };
        walk.message(path, recorded, live);
        walk.compared
    }

    /// An element of a list: as [`Self::object`], and takes note of it where it agrees.
    pub(crate) fn element(&mut self, path: &Path, recorded: &DynamicMessage, live: &DynamicMessage) {
        let before = std::mem::take(&mut self.compared);
        self.object(path, recorded, live);
        let mut own = std::mem::replace(&mut self.compared, before);
        let agrees = lasts(&own) && path.is_list_of_root();
        if (agrees || !own.divergences.is_empty())
            && let Some((recorded, live)) = known_by(recorded).zip(known_by(live))
        {
            if agrees {
                let passed = own.passed.clone();
                self.agreeing.push(AgreeingPair { list: path.clone(), recorded, live, passed });
            } else {
                // What is in it may be about something of its own.
                let about = Subject { id: recorded, live_id: live, ..Subject::default() };
                for divergence in own.divergences.iter_mut().filter(|it| it.about.is_none()) {
                    if let told @ Some(_) = told_of(&divergence.path, Some(&about)) {
                        let transitions = [divergence.transition.as_deref(), told];
                        divergence.severity = self.severity(&divergence.path, divergence.kind, transitions);
                    }
                    divergence.about = Some(about.clone());
                }
            }
        }
        self.compared.merge(own);
    }

    fn map(&mut self, path: &Path, pair: &Pair<'_>) {
        let (Value::Map(recorded), Value::Map(live)) = (pair.recorded, pair.live) else { return };
        let keys: BTreeSet<String> = recorded.keys().chain(live.keys()).map(key_text).collect();
        for key in keys {
            let entry = path.field(&key);
            let map_key = MapKey::String(key.clone());
            match (recorded.get(&map_key), live.get(&map_key)) {
                (recorded, Some(live)) if key == OWNED_LABEL && recorded != Some(live) => {
                    // The recording may be that of a replay.
                    let recorded = recorded.map_or(serde_json::Value::Null, |it| to_json(it, None));
                    self.pass("owned-label", &entry, || (recorded, to_json(live, None)));
                }
                (Some(recorded), Some(live)) => self.leaf(&entry, None, &Pair { recorded, live }),
                (recorded, live) => {
                    let shown =
                        |value: Option<&Value>| value.map_or(serde_json::Value::Null, |it| to_json(it, None));
                    self.presence(&entry, recorded.is_some(), shown(recorded), shown(live));
                }
            }
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
                    severity: self.severity(&path, Kind::Value, [None, None]),
                    path,
                    kind: Kind::Value,
                    transition: None,
                    recorded: shown(before),
                    live: shown(now),
                    rule: "exact".to_owned(),
                    settles: false,
                    about: None,
                });
            }
        }
    }

    /// Something is there on one side only.
    pub(crate) fn presence(
        &mut self,
        path: &Path,
        before: bool,
        recorded: serde_json::Value,
        live: serde_json::Value,
    ) {
        let rule = self.comparer.rules.rule(&self.method.name, path);
        if let Some(rule) = rule.filter(|rule| matches!(rule.relation, Relation::Ignore | Relation::Optional))
        {
            self.pass(&rule.name, path, || (recorded, live));
            return;
        }
        let transition = if before { "present→absent" } else { "absent→present" };
        let told = told_by(path, &recorded, &live);
        let severity = self.severity(path, Kind::Presence, [Some(transition), told]);
        self.diverge(Divergence {
            path: path.clone(),
            kind: Kind::Presence,
            transition: Some(transition.to_owned()),
            recorded,
            live,
            rule: "exact".to_owned(),
            severity,
            settles: self.comparer.rules.settles(path),
            about: None,
        });
    }

    /// Whether a rule says that nothing is compared here; a difference is counted under its name.
    pub(crate) fn ignored(&mut self, path: &Path, same: bool) -> bool {
        let rule = self.comparer.rules.rule(&self.method.name, path);
        let Some(rule) = rule.filter(|rule| rule.relation == Relation::Ignore) else { return false };
        if !same {
            let null = serde_json::Value::Null;
            self.pass(&rule.name, path, || (null.clone(), null));
        }
        true
    }

    /// Counts a difference that a rule lets pass, and keeps it as an example where there are few yet.
    pub(crate) fn pass(
        &mut self,
        rule: &str,
        path: &Path,
        values: impl FnOnce() -> (serde_json::Value, serde_json::Value),
    ) {
        self.compared.pass(rule);
        if self.compared.may_keep(rule, path) && self.comparer.memory.wants(rule) {
            let (recorded, live) = values();
            let passed = Passed { rule: rule.to_owned(), path: path.clone(), recorded, live };
            self.compared.examples.push(passed);
        }
    }

    pub(crate) fn severity(&self, path: &Path, kind: Kind, transitions: Transitions<'_>) -> Severity {
        // A field that a newer runtime adds, an older kubelet does not see. One more element of a list it does see.
        let element = path.to_string().ends_with("[]");
        if transitions[0] == Some("absent→present") && kind == Kind::Presence && !element {
            return Severity::Cosmetic;
        }
        let rules = self.comparer.rules;
        rules.severity_of(&self.method.name, path, kind, &transitions).unwrap_or(Severity::Behaviour)
    }

    pub(crate) fn diverge(&mut self, divergence: Divergence) {
        self.compared.divergences.push(divergence);
    }
}

/// By what an element of a list is known: the id of the object whose state it is, or the type of a condition.
fn known_by(element: &DynamicMessage) -> Option<String> {
    let kind = || Some(element.get_field_by_name("type")?.as_str()?.to_owned());
    own_id(element).or_else(|| kind().filter(|_| element.descriptor().name() == "RuntimeCondition"))
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
