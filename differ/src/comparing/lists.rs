//! Lists: which element is which, what is missing, what the order says.

use std::collections::BTreeSet;

use cri::IdentityKind;
use critape_calls::Resolution;
use prost_reflect::{FieldDescriptor, ReflectMessage, Value};

use crate::comparing::align::{Alignment, align};
use crate::comparing::lateness;
use crate::comparing::order::{ListName, Order, changes, order_of};
use crate::comparing::own::Surplus;
use crate::comparing::walk::{Pair, Walk};
use crate::report::shown::to_json;
use crate::{Divergence, Kind, ListOrder, ListRule, Path, Subject};

impl Walk<'_> {
    pub(crate) fn list(&mut self, path: &Path, field: &FieldDescriptor, pair: &Pair<'_>) {
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
                (Value::Message(before), Value::Message(now)) => self.element(path, before, now),
                (before, now) => self.leaf(path, Some(field), &Pair { recorded: before, live: now }),
            }
        }
        for index in &alignment.recorded_only {
            self.missing(path, field, &recorded[*index], live);
        }
        for index in &alignment.live_only {
            let others = alignment.recorded_only.iter().map(|index| &recorded[*index]);
            self.surplus(path, field, (&live[*index], live), others);
        }
        self.order(path, rule, &alignment, recorded, live);
    }

    fn order(
        &mut self,
        path: &Path,
        rule: Option<&ListRule>,
        alignment: &Alignment,
        recorded: &[Value],
        live: &[Value],
    ) {
        let Some(rule) = rule.filter(|rule| !rule.keys.is_empty()) else { return };
        let name = ListName { method: &self.method.path, path, owner: self.owner };
        match rule.order {
            ListOrder::Any => {}
            ListOrder::Kept => {
                let comparer = self.comparer;
                let mut orders = comparer.memory.orders.borrow_mut();
                let seen = orders.note(name, rule, recorded, live);
                // One that changes in the recording itself means nothing there.
                if !alignment.in_order() && !changes(&seen.recorded) {
                    let (recorded, live) = (order_of(rule, recorded).into(), order_of(rule, live).into());
                    self.out_of_order(path, rule, Kind::Order, recorded, live);
                    return;
                }
            }
            ListOrder::Stable => {
                let comparer = self.comparer;
                let mut orders = comparer.memory.orders.borrow_mut();
                let seen = orders.note(name, rule, recorded, live);
                if changes(&seen.live) && !changes(&seen.recorded) {
                    let shown = |orders: &BTreeSet<Order>| orders.iter().cloned().collect::<Vec<_>>().into();
                    self.out_of_order(path, rule, Kind::Oracle, shown(&seen.recorded), shown(&seen.live));
                    return;
                }
            }
        }
        if !alignment.in_order() {
            self.pass(&rule.name, path, || (order_of(rule, recorded).into(), order_of(rule, live).into()));
        }
    }

    pub(crate) fn out_of_order(
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
            severity: self.severity(path, kind, [None, None]),
            settles: false,
            about: None,
        });
    }

    /// A recorded element that has no live counterpart among `all`.
    fn missing(&mut self, path: &Path, field: &FieldDescriptor, element: &Value, all: &[Value]) {
        if let Some((kind, id)) = self.identity_of(path, element) {
            let is_there = |live: &String| {
                let ids = all.iter().filter_map(|it| self.identity_of(path, it));
                kind == IdentityKind::Image && ids.map(|(_, id)| id).any(|id| id == *live)
            };
            match self.comparer.ids.resolve(kind, &id) {
                // One live image stands for several where a tag moved in the recording alone.
                Resolution::Live(live) if !is_there(&live) => {}
                // Older than the tape, or never made here: not this replay's business.
                _ => {
                    self.compared.left_out += 1;
                    return;
                }
            }
            if self.trajectories.may_lack(&id) {
                self.pass("state-was-changing", path, || {
                    (to_json(element, Some(field)), serde_json::Value::Null)
                });
                return;
            }
        }
        let shown = to_json(element, Some(field));
        self.presence(path, true, shown, serde_json::Value::Null);
        if let Some((kind, id)) = self.identity_of(path, element)
            && let Value::Message(element) = element
            && let Some(divergence) = self.compared.divergences.last_mut()
        {
            if self.trajectories.before(&id, element.descriptor().name()).is_some() {
                lateness::rule_out(divergence, lateness::AS_SHOWN);
            }
            let live_id = match self.comparer.ids.resolve(kind, &id) {
                Resolution::Live(live) => live,
                _ => String::new(),
            };
            divergence.about = Some(Subject { id, live_id, ..Subject::default() });
        }
    }

    /// A live element, of all, that has no recorded counterpart; `others` are recorded ones that have no live one.
    fn surplus<'v>(
        &mut self,
        path: &Path,
        field: &FieldDescriptor,
        (element, all): (&Value, &[Value]),
        others: impl Iterator<Item = &'v Value>,
    ) {
        let identity = self.identity_of(path, element);
        let is_bound = identity.as_ref().is_some_and(|(_, id)| self.comparer.ids.is_bound_live(id));
        // No moment has a sandbox or a container twice in passing.
        let is_object = identity.as_ref().is_some_and(|(kind, _)| *kind != IdentityKind::Image);
        let same = all.iter().filter(|it| self.identity_of(path, it) == identity);
        let is_twice = is_bound && is_object && same.count() > 1;
        if let Some((_, id)) = identity.as_ref().filter(|_| !is_twice) {
            let is_changing = if is_bound {
                self.trajectories.may_lack(&self.comparer.ids.to_recorded(id))
            } else {
                match self.unbound_surplus(id, element, others) {
                    Surplus::LeftOut => {
                        self.compared.left_out += 1;
                        return;
                    }
                    other => other == Surplus::Changing,
                }
            };
            if is_changing {
                self.pass("state-was-changing", path, || {
                    (serde_json::Value::Null, to_json(element, Some(field)))
                });
                return;
            }
        }
        let shown = to_json(element, Some(field));
        self.presence(path, false, serde_json::Value::Null, shown);
        if let Some((_, live_id)) = identity
            && let Some(divergence) = self.compared.divergences.last_mut()
        {
            let id = self.comparer.ids.to_recorded(&live_id);
            divergence.settles &= !is_twice && !self.trajectories.is_over(&id);
            divergence.about = Some(Subject { id, live_id, ..Subject::default() });
        }
    }

    /// The identity that this list's elements are known by, as the table of methods has it.
    fn identity_of(&self, path: &Path, element: &Value) -> Option<(IdentityKind, String)> {
        let Value::Message(message) = element else { return None };
        let list = path.to_string();
        // A container names its sandbox as well: its own id comes first.
        ["id", "attributes.id", "container_id", "pod_sandbox_id"].into_iter().find_map(|own| {
            let named = |id: &&cri::IdentityPath| {
                let field = id.path.as_str().strip_prefix(list.as_str());
                field.and_then(|field| field.strip_prefix('.')) == Some(own)
            };
            let id = self.method.response_ids.iter().find(named)?;
            let relative = cri::FieldPath::parse(own, &message.descriptor()).ok()?;
            Some((id.kind, relative.texts(message).into_iter().next()?))
        })
    }
}
