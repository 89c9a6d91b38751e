//! Streams of container events, compared container by container: between containers their order means nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::{IdentityKind, Method};
use critape_calls::{Live, Recorded, Resolution};
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::Value;

use crate::comparer::{Compared, Comparer, Trajectories};
use crate::{Divergence, EventStream, Kind, Path, Severity};

/// What each container went through, as an event stream told it.
#[derive(Clone, Debug, Default)]
pub struct EventSequences {
    by_id: BTreeMap<String, Vec<DynamicMessage>>,
}

impl EventSequences {
    /// Takes the next event of the stream.
    pub fn push(&mut self, event: DynamicMessage) {
        let id = event.get_field_by_name("container_id").and_then(|id| id.as_str().map(str::to_owned));
        self.by_id.entry(id.unwrap_or_default()).or_default().push(event);
    }

    /// All events, container by container.
    pub fn iter(&self) -> impl Iterator<Item = &DynamicMessage> {
        self.by_id.values().flatten()
    }

    /// The events, container by container, as oracles see them: whether any are missing is not theirs to say.
    pub fn to_stream(&self) -> EventStream {
        let typed = |event: &DynamicMessage| {
            cri::v1::ContainerEventResponse::decode(event.encode_to_vec().as_slice()).ok()
        };
        let events = self.by_id.values().flatten().filter_map(typed).collect();
        EventStream { events, from: Duration::MAX, until: Duration::ZERO }
    }

    /// Number of events about this id.
    pub fn count(&self, id: &str) -> usize {
        self.by_id.get(id).map_or(0, Vec::len)
    }

    /// The ids, each with the number of its events.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.by_id.iter().map(|(id, events)| (id.as_str(), events.len()))
    }
}

impl Comparer<'_> {
    /// Compares two streams of `method`, which is `GetContainerEvents`. Live events beyond the recorded ones are none where the
    /// client had stopped listening, unless the object was gone.
    pub fn events(
        &self,
        method: &Method,
        recorded: Recorded<&EventSequences>,
        live: Live<&EventSequences>,
        trajectories: &dyn Trajectories,
    ) -> Compared {
        let mut compared = Compared::default();
        let empty = Vec::new();
        for (id, before) in &recorded.0.by_id {
            let Resolution::Live(live_id) = self.ids.resolve(IdentityKind::Object, id) else {
                compared.left_out += 1;
                continue;
            };
            let now = live.0.by_id.get(&live_id).unwrap_or(&empty);
            self.sequence(before, now, &mut compared);
            for (before, now) in
                before.iter().zip(now).filter(|(before, now)| event_kind(before) == event_kind(now))
            {
                let mut one = self.messages(method, Recorded(before), Live(now), trajectories);
                // An event carries the state at the moment it was made up, which races with the state itself.
                if one.may_settle() {
                    one.divergences.retain(|divergence| !divergence.settles);
                    one.pass("state-at-event");
                }
                compared.merge(one);
            }
        }
        for id in live.0.by_id.keys() {
            let recorded_id = self.ids.to_recorded(id);
            if recorded_id == *id {
                compared.left_out += 1;
            } else if !recorded.0.by_id.contains_key(&recorded_id) {
                self.sequence(&empty, &live.0.by_id[id], &mut compared);
            }
        }
        compared
    }

    fn sequence(&self, before: &[DynamicMessage], now: &[DynamicMessage], compared: &mut Compared) {
        let kinds = |events: &[DynamicMessage]| events.iter().map(event_kind).collect::<Vec<_>>();
        let (before, now) = (kinds(before), kinds(now));
        if before == now {
            return;
        }
        let gone = before.last().is_some_and(|kind| kind == "DELETED");
        if !gone && now.starts_with(&before) {
            compared.pass("events-after-the-end");
            return;
        }
        let path = Path::root("events");
        let severity =
            self.rules.severity("GetContainerEvents", &path, Kind::Value, None).unwrap_or(Severity::Breaking);
        compared.divergences.push(Divergence {
            path,
            kind: Kind::Value,
            transition: None,
            recorded: Value::from(before),
            live: Value::from(now),
            rule: "event-sequence".to_owned(),
            severity,
            settles: true,
        });
    }
}

/// The kind of an event, as `CREATED`.
pub fn event_kind(event: &DynamicMessage) -> String {
    use prost_reflect::ReflectMessage as _;
    let Some(field) = event.descriptor().get_field_by_name("container_event_type") else {
        return String::new();
    };
    let number = event.get_field(&field).as_enum_number().unwrap_or(-1);
    let kind = field.kind();
    match kind.as_enum().and_then(|names| names.get_value(number)) {
        Some(value) => {
            let name = value.name();
            name.trim_start_matches("CONTAINER_").trim_end_matches("_EVENT").to_owned()
        }
        None => number.to_string(),
    }
}
