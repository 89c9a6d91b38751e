//! Streams of container events, compared container by container: between containers their order means nothing.

pub(crate) mod event_fields;
mod moments;
pub(crate) mod snapshots;

use std::collections::BTreeMap;
use std::time::Duration;

use cri::{IdentityKind, Method};
use critape_calls::{IdentityMap, Live, Recorded, Resolution, Stamp};
use prost::Message;
use prost_reflect::DynamicMessage;

use crate::comparing::comparer::{Change, Compared, Comparer, Trajectories};
use crate::{Divergence, EventStream, Kind, Path, Severity, Subject};
use event_fields::{created_at, event_kind, made_at, text};
use snapshots::{Shown, Snapshot};

/// The field of an event that has the states of the pod's containers.
const STATES: &str = "containers_statuses[]";
/// The rule that the events of a container are those of the recording.
pub const EVENT_SEQUENCE: &str = "event-sequence";
/// Events that a container has once in its life.
const BEGINNINGS: [&str; 2] = ["CREATED", "STARTED"];
/// The last events of a container.
const STOPPED: &str = "STOPPED";
const DELETED: &str = "DELETED";

/// By how much sooner something may happen in another run, at least, and as a part of what it took.
const SOONER: Duration = Duration::from_millis(100);
const SOONER_PART: u32 = 10;

/// What was known when an event was made. What a call then under way does to a state is for [`moments`] to say; a list has or lacks
/// what is being made or removed.
struct OfEvent<'a> {
    trajectories: &'a dyn Trajectories,
    /// What was known during the call that told of itself by it: who was there then is certain but for what was made or removed
    /// beside it.
    call: Option<&'a dyn Trajectories>,
    /// The container that it tells of.
    own: &'a str,
    /// Whether that may be gone by then.
    is_ending: bool,
}

impl Trajectories for OfEvent<'_> {
    fn later(&self, id: &str, message_type: &str) -> Vec<DynamicMessage> {
        self.trajectories.later(id, message_type)
    }

    fn is_changing(&self, _id: &str) -> bool {
        false
    }

    fn may_lack(&self, id: &str) -> bool {
        let trajectories = self.call.unwrap_or(self.trajectories);
        let is = |change| trajectories.is_under(change, id);
        is(Change::Removes) && (self.is_ending || id != self.own) || is(Change::Makes) && id != self.own
    }

    fn was_cut_short(&self, id: &str) -> bool {
        self.trajectories.was_cut_short(id)
    }
}

/// What each container went through, as an event stream told it.
#[derive(Clone, Debug, Default)]
pub struct EventSequences {
    by_id: BTreeMap<String, Vec<DynamicMessage>>,
    /// When each of them came, where that is known.
    arrived: BTreeMap<String, Vec<Option<Stamp>>>,
    /// When the stream began.
    begun: Stamp,
    /// When the client stopped listening that was recorded; in the live run, when that moment had come there.
    ended: Option<Stamp>,
}

impl EventSequences {
    /// None yet, of a stream that began then.
    pub fn begun_at(begun: Stamp) -> Self {
        Self { begun, ..Self::default() }
    }

    /// The recorded client stopped listening at this moment; of the live run, that moment had come there.
    pub fn end_at(&mut self, ended: Stamp) {
        self.ended = Some(ended);
    }

    /// Whether it is of the time before the stream: some runtimes hand out a few of those.
    fn is_old(&self, event: &DynamicMessage) -> bool {
        u64::try_from(created_at(event)).is_ok_and(|at| at < self.begun.0)
    }

    /// The kinds of these events, without those of the time before the stream.
    fn kinds_since(&self, events: &[DynamicMessage]) -> Vec<String> {
        events.iter().filter(|event| !self.is_old(event)).map(event_kind).collect()
    }

    /// Takes the next event of the stream.
    pub fn push(&mut self, event: DynamicMessage) {
        self.take(event, None);
    }

    /// The same, of one that came at this moment.
    pub fn push_at(&mut self, event: DynamicMessage, at: Stamp) {
        self.take(event, Some(at));
    }

    fn take(&mut self, event: DynamicMessage, at: Option<Stamp>) {
        let id = text(&event, &["container_id"]);
        self.arrived.entry(id.clone()).or_default().push(at);
        self.by_id.entry(id).or_default().push(event);
    }

    /// When the event at this place among those of this id came; where it has none there, when the last did, or when nobody listened
    /// for it any more.
    fn told_at(&self, id: &str, place: usize) -> Option<Stamp> {
        let arrived = self.arrived.get(id).map_or(&[][..], Vec::as_slice);
        arrived.get(place).or(arrived.last()).copied().flatten().or(self.ended)
    }

    /// How long after it was made each event of this id came, with its kind; nothing where it is of the time before the
    /// stream, or was made after it came.
    fn delays(&self, id: &str) -> impl Iterator<Item = (String, Option<Duration>)> {
        let arrived = self.arrived.get(id).into_iter().flatten();
        self.of(id).iter().zip(arrived).map(|(event, arrived)| {
            let at = arrived.filter(|at| !self.is_old(event) && made_at(event) <= *at);
            (event_kind(event), at.map(|at| at.since(made_at(event))))
        })
    }

    /// How long after they were made the events came that two streams have in common, recorded and live, in the order in
    /// which those of the first were made.
    pub fn delays_of_both(
        recorded: Recorded<&Self>,
        live: Live<&Self>,
        ids: &IdentityMap,
    ) -> Vec<(Recorded<Duration>, Live<Duration>)> {
        let mut delays = Vec::new();
        for (id, events) in &recorded.0.by_id {
            let Resolution::Live(live_id) = ids.resolve(IdentityKind::Object, id) else { continue };
            let pairs = recorded.0.delays(id).zip(live.0.delays(&live_id)).zip(events);
            let same = pairs.filter(|((before, now), _)| before.0 == now.0);
            delays.extend(same.filter_map(|((before, now), event)| {
                Some((made_at(event), (Recorded(before.1?), Live(now.1?))))
            }));
        }
        delays.sort_by_key(|(at, _)| *at);
        delays.into_iter().map(|(_, pair)| pair).collect()
    }

    /// All events, container by container.
    pub fn iter(&self) -> impl Iterator<Item = &DynamicMessage> {
        self.by_id.values().flatten()
    }

    /// Of these ids, the one whose event came first of all that are not of the time before the stream.
    pub fn first_id(&self, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        let firsts = self.by_id.iter().filter(|(id, _)| is_meant(id)).filter_map(|(id, events)| {
            let place = events.iter().position(|event| !self.is_old(event))?;
            Some((self.arrived.get(id)?.get(place).copied()?, id.as_str()))
        });
        firsts.min().map(|(_, id)| id)
    }

    /// The events of these ids, container by container, as oracles see them: whether any are missing is not theirs to say.
    pub fn to_stream(&self, is_meant: impl Fn(&str) -> bool) -> EventStream {
        let typed = |event: &DynamicMessage| {
            cri::v1::ContainerEventResponse::decode(event.encode_to_vec().as_slice()).ok()
        };
        let meant = || self.by_id.keys().filter(|id| is_meant(id));
        let arrived = meant().filter_map(|id| self.arrived.get(id)).flatten();
        let arrived = arrived.map(|at| at.map(|at| Duration::from_nanos(at.0)));
        let known = meant().filter_map(|id| self.by_id.get(id)).flatten().zip(arrived);
        let (events, arrived) = known.filter_map(|(event, at)| Some((typed(event)?, at))).unzip();
        EventStream { events, arrived, from: Duration::MAX, until: Duration::ZERO }
    }

    /// The events about this id.
    pub(crate) fn of(&self, id: &str) -> &[DynamicMessage] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// Number of events about this id.
    pub fn count(&self, id: &str) -> usize {
        self.of(id).len()
    }

    /// The ids, each with the number of its events.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.by_id.iter().map(|(id, events)| (id.as_str(), events.len()))
    }
}

impl Comparer<'_> {
    /// Compares two streams of `method`, which is `GetContainerEvents`. Live events beyond the recorded ones are none where the
    /// client had stopped listening before they could come, unless the object was gone.
    pub fn events(
        &self,
        method: &Method,
        recorded: Recorded<&EventSequences>,
        live: Live<&EventSequences>,
        trajectories: &dyn Trajectories,
    ) -> Compared {
        let (mut told, mut left_out, empty) = (Vec::new(), 0, Vec::new());
        let mut tell = |mut compared: Compared, id: &str, live_id: &str, at| {
            for divergence in &mut compared.divergences {
                divergence.about = Some(subject(divergence.about.take(), (id, live_id), at));
            }
            told.push((at, compared));
        };
        let shown = Shown::of(recorded.0);
        for (id, before) in &recorded.0.by_id {
            let Resolution::Live(live_id) = self.ids.resolve(IdentityKind::Object, id) else {
                left_out += 1;
                continue;
            };
            let now = live.0.by_id.get(&live_id).unwrap_or(&empty);
            let sequence = self.sequence(id, (recorded.0, before), (live.0, now), trajectories);
            tell(sequence, id, &live_id, recorded.0.told_at(id, first_other(before, now)));
            for (place, (before, now)) in before.iter().zip(now).enumerate() {
                if event_kind(before) == event_kind(now) {
                    let event = self.event(method, (before, now), (recorded.0, &shown), trajectories);
                    tell(event, id, &live_id, recorded.0.told_at(id, place));
                }
            }
        }
        for (live_id, now) in &live.0.by_id {
            let id = self.ids.to_recorded(live_id);
            if !self.ids.is_bound_live(live_id) {
                left_out += 1;
            } else if !recorded.0.by_id.contains_key(&id) {
                let sequence = self.sequence(&id, (recorded.0, &empty), (live.0, now), trajectories);
                tell(sequence, &id, live_id, recorded.0.told_at(&id, 0));
            }
        }
        // What was found first is told first.
        told.sort_by_key(|(at, _)| *at);
        let mut all = Compared { left_out, ..Compared::default() };
        told.into_iter().for_each(|(_, compared)| all.merge(compared));
        all
    }

    /// Compares two events, of which the first is of the stream that shows these states.
    fn event(
        &self,
        method: &Method,
        (before, now): (&DynamicMessage, &DynamicMessage),
        (stream, shown): (&EventSequences, &Shown),
        trajectories: &dyn Trajectories,
    ) -> Compared {
        let at = u64::try_from(created_at(before)).ok().map(Stamp);
        let id = text(before, &["container_id"]);
        // A runtime hears of an end on another thread; the rest it tells within the call.
        let is_of_call = event_kind(before) != STOPPED;
        let call = at.filter(|_| is_of_call).and_then(|at| trajectories.during_change(&id, at));
        let around = at.and_then(|at| trajectories.around(at));
        let trajectories = around.as_deref().unwrap_or(trajectories);
        // What has stopped may be on its way out.
        let is_ending = [STOPPED, DELETED].contains(&event_kind(before).as_str());
        let is_removed = is_ending && trajectories.is_under(Change::Removes, &id);
        let of_event = OfEvent { trajectories, call: call.as_deref(), own: &id, is_ending };
        let mut one = self.messages(method, Recorded(before), Live(now), &of_event);
        // It carries the states of containers at the moment it was made up, which change by themselves; what is told of one whole
        // goes with the calls that remove it. Whether it is there at all does not.
        let is_state = |it: &Divergence| {
            let [first, rest @ ..] = it.path.segments() else { return false };
            let is_message = it.recorded.is_object() || it.live.is_object();
            it.settles && first == STATES && (!is_message || is_removed && !rest.is_empty())
        };
        if one.divergences.iter().any(is_state) {
            one.divergences.retain(|it| !is_state(it));
            one.pass("state-at-event");
        }
        let snapshot = Snapshot { recorded: before, live: now, shown, stream, trajectories };
        self.explain_sandbox(method, &snapshot, &mut one);
        let unexplained = self.snapshots(method, &snapshot);
        let is_known = |it: &Divergence| one.divergences.iter().any(|known| known.path == it.path);
        let more: Vec<Divergence> = unexplained.into_iter().filter(|it| !is_known(it)).collect();
        one.divergences.extend(more);
        one
    }

    /// Compares the events of one container, whose recorded id this is, each side with the stream that they are of.
    fn sequence(
        &self,
        id: &str,
        (recorded, before): (&EventSequences, &[DynamicMessage]),
        (live, now): (&EventSequences, &[DynamicMessage]),
        trajectories: &dyn Trajectories,
    ) -> Compared {
        let came_late = || came_late(id, (recorded, before), (live, now), trajectories);
        let (since_before, since_now) = (recorded.kinds_since(before), live.kinds_since(now));
        let kinds = |events: &[DynamicMessage]| events.iter().map(event_kind).collect::<Vec<_>>();
        let (before, now) = (kinds(before), kinds(now));
        if before == now {
            return Compared::default();
        }
        let gone = before.last().is_some_and(|kind| kind == DELETED);
        if !gone && now.starts_with(&before) && came_late() {
            return Compared::explained("events-after-the-end");
        }
        if since_before == since_now {
            return Compared::explained("events-before-the-stream");
        }
        if end_in_order(before.clone()) == end_in_order(now.clone()) {
            return Compared::explained("removed-while-running");
        }
        let path = Path::root("events");
        let severity =
            self.rules.severity("GetContainerEvents", &path, Kind::Value, None).unwrap_or(Severity::Breaking);
        let divergence = Divergence {
            path,
            kind: Kind::Value,
            transition: None,
            recorded: before.into(),
            live: now.into(),
            rule: EVENT_SEQUENCE.to_owned(),
            severity,
            settles: true,
            about: None,
        };
        Compared { divergences: vec![divergence], ..Compared::default() }
    }
}

/// Whether the live events beyond the recorded ones are such as came when the recorded client had stopped listening,
/// or may have.
fn came_late(
    id: &str,
    (recorded, before): (&EventSequences, &[DynamicMessage]),
    (live, now): (&EventSequences, &[DynamicMessage]),
    trajectories: &dyn Trajectories,
) -> bool {
    let (common, beyond) = now.split_at(before.len());
    let again = |(place, event): (usize, &DynamicMessage)| {
        let kind = event_kind(event);
        BEGINNINGS.contains(&kind.as_str()) && now[..place].iter().any(|it| event_kind(it) == kind)
    };
    if now.iter().enumerate().skip(before.len()).any(again) {
        return false;
    }
    // What a call makes happen is told while that call is under way, or a moment later.
    let is_changing = |at| trajectories.around(at).is_some_and(|around| around.is_changing(id));
    if before.is_empty() && is_changing(recorded.begun) {
        return true;
    }
    let Some((listened, until)) = recorded.ended.zip(live.ended).filter(|(at, _)| !is_changing(*at)) else {
        return true;
    };
    // By itself a container ends so long after it began, whenever the rest of the run gets there.
    let last = before.last().map(made_at).zip(common.last().map(made_at));
    let outlasts = |at: Stamp| {
        last.is_some_and(|(then, now)| {
            let took = at.since(now);
            took + SOONER.max(took / SOONER_PART) >= listened.since(then)
        })
    };
    beyond.iter().all(|event| live.is_old(event) || made_at(event) >= until || outlasts(made_at(event)))
}

/// What is found in events of this container is about it, or about another of its pod, of which they tell too.
fn subject(known: Option<Subject>, (id, live_id): (&str, &str), at: Option<Stamp>) -> Subject {
    let own = || Subject { id: id.to_owned(), live_id: live_id.to_owned(), event_of: None, at };
    let event_of = Some([id.to_owned(), live_id.to_owned()]);
    let other = known.filter(|other| other.id != id && other.live_id != live_id);
    other.map_or_else(own, |other| Subject { event_of, at, ..other })
}

/// The place of the first event that is of another kind on the other side.
fn first_other(before: &[DynamicMessage], now: &[DynamicMessage]) -> usize {
    let same = before.iter().zip(now).take_while(|(before, now)| event_kind(before) == event_kind(now));
    same.count()
}

/// The end of a container that is removed while it runs is told by chance before or after its removal: containerd hears of it
/// on another thread.
fn end_in_order(mut kinds: Vec<String>) -> Vec<String> {
    if let [.., first, second] = kinds.as_mut_slice()
        && first == DELETED
        && second == STOPPED
    {
        std::mem::swap(first, second);
    }
    kinds
}
