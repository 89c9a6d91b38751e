//! What the events of a stream say of states. Each is a snapshot, which may be taken a moment sooner or later in the next
//! run; that explains much, but neither another end of a container nor a state that such an event never shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cri::{IdentityKind, Method, v1};
use critape_calls::{Live, Recorded, Resolution};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::comparing::comparer::{Change, Compared, Comparer, NoTrajectories, Trajectories};
use crate::events::event_fields::{event_kind, made_at, text};
use crate::{Divergence, EventSequences};

/// The fields of an event that have states.
pub(super) const POD: &str = "pod_sandbox_status";
pub(super) const NETWORK: &str = "network";
const CONTAINERS: &str = "containers_statuses";
/// What is told of the end of a container, and stays so.
const END: [&str; 5] = ["exit_code", "reason", "message", "started_at", "finished_at"];
/// What a state of a container says of its life.
const LIFE: [&str; 3] = ["state", "started_at", "finished_at"];
const EXITED: i32 = v1::ContainerState::ContainerExited as i32;
/// An event of a container that ends this soon after it may be made when that has ended.
const MOMENT: Duration = Duration::from_millis(500);

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// That of the sandbox or container of which the event tells.
    OwnSandbox,
    OwnContainer,
    /// That of the sandbox of that container, and of another container in it.
    Sandbox,
    Container,
}

/// What the events of a recorded stream show.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The states, by the kind of event and by whose they are.
    states: BTreeSet<(Whose, i32, String)>,
    /// Of each state of a container which times are told in it, with a container that has them.
    lives: BTreeMap<(i32, [bool; 2]), DynamicMessage>,
    /// The networks of each sandbox.
    networks: BTreeMap<String, Vec<DynamicMessage>>,
}

impl Shown {
    pub(crate) fn of(stream: &EventSequences) -> Self {
        let mut shown = Self::default();
        for event in stream.iter() {
            let kind = event_kind(event);
            if let Some(pod) = pod(event) {
                shown.states.insert((whose(event, &pod), state(&pod), kind.clone()));
                let networks = shown.networks.entry(text(&pod, &["id"])).or_default();
                let network = only(&pod, &[NETWORK]);
                if !networks.contains(&network) {
                    networks.push(network);
                }
            }
            for container in containers(event) {
                shown.states.insert((whose(event, &container), state(&container), kind.clone()));
                shown.lives.entry(times(&container)).or_insert_with(|| only(&container, &LIFE));
            }
        }
        shown
    }

    /// The networks that events show this sandbox with, each in a status of it.
    pub(super) fn networks(&self, id: &str) -> &[DynamicMessage] {
        self.networks.get(id).map_or(&[], Vec::as_slice)
    }

    /// The recorded container of this id in the state of the live one, with such times as events tell in that state: `None` where
    /// the live one has such.
    fn life(&self, id: &str, live: &DynamicMessage) -> Option<DynamicMessage> {
        let told = times(live);
        if self.lives.contains_key(&told) {
            return None;
        }
        let (_, other) = self.lives.iter().find(|((state, _), _)| *state == told.0)?;
        let mut other = other.clone();
        other.set_field_by_name("id", Value::String(id.to_owned()));
        Some(other)
    }

    fn has(&self, whose: Whose, state: i32, kind: &str) -> bool {
        self.states.contains(&(whose, state, kind.to_owned()))
    }

    /// Whether an event of any kind shows it.
    fn has_at_all(&self, whose: Whose, state: i32) -> bool {
        self.states
            .range((whose, state, String::new())..)
            .next()
            .is_some_and(|it| (it.0, it.1) == (whose, state))
    }
}

/// A recorded event and what it is held against.
pub(crate) struct Snapshot<'a> {
    pub(crate) recorded: &'a DynamicMessage,
    pub(crate) live: &'a DynamicMessage,
    pub(crate) shown: &'a Shown,
    pub(crate) stream: &'a EventSequences,
    pub(crate) trajectories: &'a dyn Trajectories,
}

impl Comparer<'_> {
    /// What the moment of an event does not explain.
    pub(crate) fn snapshots(&self, method: &Method, it: &Snapshot<'_>) -> Vec<Divergence> {
        let (mut recorded, mut live) = (Kept::new(it.recorded), Kept::new(it.live));
        if let Some((before, now)) = pod(it.recorded).zip(pod(it.live))
            && !it.may_show(&before, &now)
        {
            recorded.pod(&before, &["state"]);
            live.pod(&now, &["state"]);
        }
        let all = containers(it.live);
        for before in containers(it.recorded) {
            let Resolution::Live(id) = self.ids.resolve(IdentityKind::Container, &text(&before, &["id"]))
            else {
                continue;
            };
            let Some(now) = all.iter().find(|now| text(now, &["id"]) == id) else { continue };
            let (fields, shown): (&[&str], _) = match (state(&before), state(now)) {
                (EXITED, EXITED) => (&END, None),
                (then, now) if then == now => (&LIFE, None),
                _ if it.may_show(&before, now) => match it.shown.life(&text(&before, &["id"]), now) {
                    Some(mut shown) => {
                        // Where its times are the recorded ones, it may be the state that is wrong.
                        if times(&before).1 == times(now).1 {
                            shown.set_field_by_name("state", Value::EnumNumber(state(&before)));
                        }
                        (&LIFE, Some(shown))
                    }
                    None => continue,
                },
                _ => (&["state"], None),
            };
            recorded.container(shown.as_ref().unwrap_or(&before), fields);
            live.container(now, fields);
        }
        let (recorded, live) = (recorded.finish(), live.finish());
        let compared: Compared = self.messages(method, Recorded(&recorded), Live(&live), &NoTrajectories);
        compared.divergences
    }
}

impl Snapshot<'_> {
    /// Whether the live state may be seen where the recorded one was.
    fn may_show(&self, before: &DynamicMessage, now: &DynamicMessage) -> bool {
        let (whose, now, kind) = (whose(self.recorded, before), state(now), event_kind(self.recorded));
        if now == state(before) || self.shown.has(whose, now, &kind) {
            return true;
        }
        let id = text(before, &["id"]);
        let shows = |it: &DynamicMessage| state(it) == now;
        // What an event tells of has happened by then; the others go their own ways.
        match whose {
            Whose::OwnSandbox => false,
            Whose::OwnContainer => now == EXITED && self.ends(&id).is_some_and(|after| after <= MOMENT),
            Whose::Sandbox => {
                self.shown.has_at_all(whose, now) && self.trajectories.is_under(Change::Ends, &id)
                    || self.trajectories.later(&id, "PodSandboxStatus").iter().any(shows)
            }
            Whose::Container => {
                self.shown.has(Whose::OwnContainer, now, &kind)
                    || self.shown.has_at_all(whose, now) && self.trajectories.is_changing(&id)
                    || now == EXITED && self.ends(&id).is_some()
                    || self.trajectories.later(&id, "ContainerStatus").iter().any(shows)
            }
        }
    }

    /// How long after this event the recorded runtime told that this container had ended.
    fn ends(&self, id: &str) -> Option<Duration> {
        let at = made_at(self.recorded);
        let ends = self.stream.of(id).iter().filter(|event| event_kind(event) == "STOPPED").map(made_at);
        ends.filter(|ended| *ended >= at).map(|ended| ended.since(at)).min()
    }
}

/// An event of which only a part is kept.
pub(super) struct Kept {
    event: DynamicMessage,
    containers: Vec<Value>,
}

impl Kept {
    pub(super) fn new(event: &DynamicMessage) -> Self {
        Self { event: DynamicMessage::new(event.descriptor()), containers: Vec::new() }
    }

    pub(super) fn pod(&mut self, status: &DynamicMessage, fields: &[&str]) {
        self.event.set_field_by_name(POD, Value::Message(only(status, fields)));
    }

    fn container(&mut self, status: &DynamicMessage, fields: &[&str]) {
        self.containers.push(Value::Message(only(status, fields)));
    }

    pub(super) fn finish(mut self) -> DynamicMessage {
        self.event.set_field_by_name(CONTAINERS, Value::List(self.containers));
        self.event
    }
}

/// A status with nothing but its id and these fields.
fn only(status: &DynamicMessage, fields: &[&str]) -> DynamicMessage {
    let mut kept = DynamicMessage::new(status.descriptor());
    for field in ["id"].iter().chain(fields) {
        if let Some(value) = status.get_field_by_name(field) {
            kept.set_field_by_name(field, value.into_owned());
        }
    }
    kept
}

fn whose(event: &DynamicMessage, status: &DynamicMessage) -> Whose {
    let is_own = text(status, &["id"]) == text(event, &["container_id"]);
    match (status.descriptor().name() == "PodSandboxStatus", is_own) {
        (true, true) => Whose::OwnSandbox,
        (true, false) => Whose::Sandbox,
        (false, true) => Whose::OwnContainer,
        (false, false) => Whose::Container,
    }
}

/// The state of a container, and whether it tells when it began and ended.
fn times(status: &DynamicMessage) -> (i32, [bool; 2]) {
    let is_told =
        |field| status.get_field_by_name(field).and_then(|at| at.as_i64()).is_some_and(|at| at != 0);
    (state(status), ["started_at", "finished_at"].map(is_told))
}

fn state(status: &DynamicMessage) -> i32 {
    status.get_field_by_name("state").and_then(|state| state.as_enum_number()).unwrap_or_default()
}

/// The status of the sandbox, where an event has it.
pub(super) fn pod(event: &DynamicMessage) -> Option<DynamicMessage> {
    let field = event.descriptor().get_field_by_name(POD)?;
    let status = event.has_field(&field).then(|| event.get_field(&field).into_owned())?;
    status.as_message().cloned()
}

fn containers(event: &DynamicMessage) -> Vec<DynamicMessage> {
    let statuses = event.get_field_by_name(CONTAINERS);
    let list = statuses.as_deref().and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(Value::as_message).cloned().collect()
}
