//! The states of objects in the order in which the recording's reads showed them.

mod seen;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cri::{IdentityKind, Method, v1};
use critape_calls::{Call, Identity, Stamp, decode};
use critape_differ::Change;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};

use crate::recording::{changes_objects, is_object, request_ids};

pub(crate) use seen::Seen;

/// How long a brief life is at most.
const MOMENT: Duration = Duration::from_millis(500);
/// Exit codes from here on say by which signal a process was ended.
const FIRST_OF_SIGNALS: i64 = 128;

/// Messages that are the state of an object, by the name of their type.
const STATES: [&str; 4] = ["PodSandbox", "PodSandboxStatus", "Container", "ContainerStatus"];

/// One state of an object, and when it was first seen.
#[derive(Debug)]
struct State {
    at: Stamp,
    /// As bytes, which take a tenth of the memory.
    bytes: Bytes,
    of: MessageDescriptor,
}

impl State {
    fn message(&self) -> Option<DynamicMessage> {
        decode(self.of.clone(), &self.bytes)
    }
}

/// What the recording tells of every object over time.
#[derive(Debug, Default)]
pub(crate) struct Trajectory {
    /// By object, then by type of message; repeated states are left out.
    states: HashMap<String, HashMap<String, Vec<State>>>,
    /// When calls that make, change or remove an object were under way.
    changes: HashMap<String, Vec<(Stamp, Stamp)>>,
    /// The same of those that do this to it alone.
    kinds: HashMap<Change, HashMap<String, Vec<(Stamp, Stamp)>>>,
    /// When images were pulled or removed.
    image_changes: Vec<(Stamp, Stamp)>,
    /// Which sandbox a container is in: what happens to the sandbox happens to it.
    sandboxes: HashMap<String, String>,
    /// The containers of each sandbox.
    containers: HashMap<String, Vec<String>>,
    /// When containers were started.
    starts: HashMap<String, Stamp>,
    /// The lives of containers, as their runtime told of them.
    lives: HashMap<String, Life>,
}

/// From when to when a container ran, and how it ended.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    started: Stamp,
    finished: Stamp,
    exit_code: i64,
}

impl Trajectory {
    /// Takes note of a call, whose answer holds these ids.
    pub(crate) fn add_change(&mut self, call: &Call, answered: &[Identity]) {
        // Running a command changes nothing that reads show.
        if !changes_objects(call) {
            return;
        }
        let made: Vec<String> = answered
            .iter()
            .filter(|id| id.produced && is_object(id.kind))
            .map(|id| id.value.clone())
            .collect();
        let is = |name: &str| call.method().is_some_and(|method| method.name == name);
        // Making a container does not change its sandbox.
        let creates = is("CreateContainer");
        let is_of_image = is("PullImage") || is("RemoveImage");
        if is_of_image {
            self.image_changes.push((call.started, call.ended));
        }
        let is_changed = |kind| is_object(kind) || kind == IdentityKind::Image && is_of_image;
        let named = request_ids(call).into_iter().filter(|(kind, _)| is_changed(*kind)).map(|(_, id)| id);
        let named: Vec<String> = named.collect();
        if creates {
            for (container, sandbox) in made.iter().zip(&named) {
                self.sandboxes.insert(container.clone(), sandbox.clone());
                self.containers.entry(sandbox.clone()).or_default().push(container.clone());
            }
        }
        if is("StartContainer") && call.outcome.is_ok() {
            self.starts.extend(named.iter().map(|id| (id.clone(), call.ended)));
        }
        let changed = if creates { made } else { [named, made].concat() };
        let kinds = call.method().map_or(&[][..], |method| what_it_does(&method.name));
        for id in changed {
            for change in kinds {
                let of_kind = self.kinds.entry(*change).or_default();
                of_kind.entry(id.clone()).or_default().push((call.started, call.ended));
            }
            self.changes.entry(id).or_default().push((call.started, call.ended));
        }
    }

    /// Takes note of the states in an answer that was given at this moment.
    pub(crate) fn add_states(&mut self, method: &Method, at: Stamp, answer: &DynamicMessage) {
        if !matches!(
            method.name.as_str(),
            "ListPodSandbox" | "ListContainers" | "PodSandboxStatus" | "ContainerStatus"
        ) {
            return;
        }
        for (_, value) in answer.fields() {
            match value {
                Value::Message(message) => self.add_state(at, message),
                Value::List(items) => {
                    items.iter().filter_map(Value::as_message).for_each(|item| self.add_state(at, item));
                }
                _ => {}
            }
        }
    }

    fn add_state(&mut self, at: Stamp, message: &DynamicMessage) {
        let name = message.descriptor().name().to_owned();
        if !STATES.contains(&name.as_str()) {
            return;
        }
        let Some(id) = message.get_field_by_name("id").and_then(|id| id.as_str().map(str::to_owned)) else {
            return;
        };
        if let Some(life) = Life::of(message) {
            self.lives.insert(id.clone(), life);
        }
        let states = self.states.entry(id).or_default().entry(name).or_default();
        if states.last().and_then(State::message).is_none_or(|last| last != *message) {
            states.push(State { at, bytes: message.encode_to_vec().into(), of: message.descriptor() });
        }
    }

    /// The containers that were made in this sandbox.
    pub(crate) fn containers_of(&self, sandbox: &str) -> impl Iterator<Item = &str> {
        self.containers.get(sandbox).into_iter().flatten().map(String::as_str)
    }

    /// The sandbox in which this container was made.
    pub(crate) fn sandbox_of(&self, container: &str) -> Option<&str> {
        self.sandboxes.get(container).map(String::as_str)
    }

    /// How long the object took to get, from the last change to it on, to where it was at this moment.
    pub(crate) fn took(&self, id: &str, at: Stamp) -> Duration {
        let shown = self.states.get(id).into_iter().flat_map(HashMap::values).flatten().map(|state| state.at);
        let Some(reached) = shown.filter(|shown| *shown <= at).max() else { return Duration::ZERO };
        let changed = |id: &str| self.changes.get(id).into_iter().flatten().map(|(_, ended)| *ended);
        let sandbox = self.sandboxes.get(id).map_or("", String::as_str);
        let last = changed(id).chain(changed(sandbox)).filter(|ended| *ended <= reached).max();
        last.map_or(Duration::ZERO, |last| reached.since(last))
    }

    /// Whether the recording has this container end by itself, a moment after its start, while the call was under way that was to stop
    /// it.
    pub(crate) fn ended_by_itself(&self, id: &str, call: &Call) -> bool {
        let life = self.lives.get(id).filter(|life| life.was_brief());
        life.is_some_and(|life| (call.started..=call.ended).contains(&life.finished))
    }

    /// The changes of an object and of the sandbox that it is in.
    pub(crate) fn changes_of(&self, id: &str) -> Changes {
        let sandbox = self.sandboxes.get(id).map_or("", String::as_str);
        let of = |id: &str| self.changes.get(id).into_iter().flatten().copied();
        Changes(of(id).chain(of(sandbox)).collect())
    }

    /// Whether the recording has this container end within this time.
    pub(crate) fn ended(&self, id: &str, from: Stamp, to: Stamp) -> bool {
        self.lives.get(id).is_some_and(|life| (from..=to).contains(&life.finished))
    }

    /// Whether it has any container end within this time.
    pub(crate) fn any_ended(&self, from: Stamp, to: Stamp) -> bool {
        self.lives.values().any(|life| (from..=to).contains(&life.finished))
    }

    /// Whether any object was being made, changed or removed in the recording within this time.
    pub(crate) fn any_changes(&self, from: Stamp, to: Stamp) -> bool {
        self.changes.values().flatten().any(|(started, ended)| *started < to && *ended > from)
    }

    /// The life of a container that no call ended.
    fn own_end(&self, id: &str) -> Option<Life> {
        let life = self.lives.get(id)?;
        let stops = |id: &str| {
            let changes = self.changes.get(id).into_iter().flatten();
            changes.map(|(began, _)| *began).any(|began| (life.started..=life.finished).contains(&began))
        };
        let is_stopped = stops(id) || self.sandboxes.get(id).is_some_and(|sandbox| stops(sandbox));
        (!is_stopped).then_some(*life)
    }

    /// How long a container had run at this moment, which is after its start.
    pub(crate) fn age(&self, id: &str, at: Stamp) -> Option<Duration> {
        self.starts.get(id).filter(|started| **started <= at).map(|started| at.since(*started))
    }

    /// When the next call that changes the object began, after `from`.
    fn next_change(&self, id: &str, from: Stamp) -> Stamp {
        let next = |id: &str| {
            self.changes
                .get(id)
                .into_iter()
                .flatten()
                .map(|(started, _)| *started)
                .filter(|at| *at > from)
                .min()
        };
        let own = next(id);
        let sandbox = self.sandboxes.get(id).and_then(|sandbox| next(sandbox));
        own.into_iter().chain(sandbox).min().unwrap_or(Stamp(u64::MAX))
    }

    /// Whether the last that happened to the object by this moment is that it was made.
    pub(crate) fn was_made_last(&self, id: &str, at: Stamp) -> bool {
        let changes = self.changes.get(id).into_iter().flatten();
        let mut so_far = changes.filter(|(started, _)| *started <= at);
        let Some((made, _)) = so_far.next() else { return false };
        so_far.next().is_none() && !self.sandbox_of(id).is_some_and(|it| self.changes_during(it, *made, at))
    }

    /// Whether a container that has been started by the end of this time ends by itself after its beginning.
    pub(crate) fn will_end(&self, id: &str, from: Stamp, to: Stamp) -> bool {
        self.own_end(id).is_some_and(|life| life.started <= to && life.finished > from)
    }

    /// Whether any image is pulled or removed within this time.
    pub(crate) fn images_change(&self, from: Stamp, to: Stamp) -> bool {
        self.image_changes.iter().any(|(started, ended)| *started < to && *ended > from)
    }

    pub(crate) fn changes_during(&self, id: &str, from: Stamp, to: Stamp) -> bool {
        self.is_during(&self.changes, id, from, to)
    }

    /// Whether one of these calls on the object, or on its sandbox, was under way within this time.
    fn is_during(
        &self,
        calls: &HashMap<String, Vec<(Stamp, Stamp)>>,
        id: &str,
        from: Stamp,
        to: Stamp,
    ) -> bool {
        let during = |id: &str| {
            // A call that ended before the read began is no longer under way.
            calls.get(id).into_iter().flatten().any(|(started, ended)| *started < to && *ended > from)
        };
        during(id) || self.sandboxes.get(id).is_some_and(|sandbox| during(sandbox))
    }
}

/// When calls were under way that change one object.
#[derive(Clone, Debug)]
pub(crate) struct Changes(Vec<(Stamp, Stamp)>);

impl Changes {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many had ended when this call began, and how many had begun when it ended.
    pub(crate) fn around(&self, call: &Call) -> (usize, usize) {
        let count = |is: &dyn Fn(&(Stamp, Stamp)) -> bool| self.0.iter().filter(|it| is(it)).count();
        (count(&|(_, ended)| *ended <= call.started), count(&|(started, _)| *started < call.ended))
    }

    /// How long before this call the last one had ended.
    pub(crate) fn since_last(&self, call: &Call) -> Option<Duration> {
        let ended = self.0.iter().map(|(_, ended)| *ended).filter(|ended| *ended <= call.started);
        ended.max().map(|ended| call.started.since(ended))
    }
}

impl Life {
    /// What the status of a container that has ended tells.
    fn of(message: &DynamicMessage) -> Option<Self> {
        let number = |field: &str| message.get_field_by_name(field)?.as_i64();
        let time = |field: &str| number(field).and_then(|time| u64::try_from(time).ok()).map(Stamp);
        let finished = time("finished_at").filter(|finished| *finished > Stamp(0))?;
        let exit_code = message.get_field_by_name("exit_code")?.as_i32()?.into();
        Some(Self { started: time("started_at")?, finished, exit_code })
    }

    /// Whether it was over a moment after it began, and not by a signal: what happens within it may come in another order in the next
    /// run.
    fn was_brief(&self) -> bool {
        self.finished.since(self.started) <= MOMENT && self.exit_code < FIRST_OF_SIGNALS
    }
}

/// What a call does to the objects that it changes.
fn what_it_does(method: &str) -> &'static [Change] {
    match method {
        "RunPodSandbox" | "CreateContainer" => &[Change::Makes],
        "StopPodSandbox" | "StopContainer" => &[Change::Ends],
        // Whatever runs is stopped first.
        "RemovePodSandbox" | "RemoveContainer" => &[Change::Ends, Change::Removes],
        _ => &[],
    }
}

fn is_exited(message: &DynamicMessage) -> bool {
    let is_container = message.descriptor().name().starts_with("Container");
    let state = message.get_field_by_name("state").and_then(|state| state.as_enum_number());
    is_container && state == Some(v1::ContainerState::ContainerExited as i32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cri::v1;

    use critape_differ::Trajectories;

    use super::*;
    use crate::made_up::{call, ms};
    use crate::states::lives::Lives;

    /// A container that is started at 1 s and asked for 6 ms later, stopped at once, and asked for once more.
    fn stopped(exit_code: i32, finished: u64) -> (Trajectory, Vec<Call>) {
        let status = |state: v1::ContainerState, finished: u64, exit_code| v1::ContainerStatusResponse {
            status: Some(v1::ContainerStatus {
                id: "c".to_owned(),
                state: state.into(),
                started_at: ms(1000) as i64,
                finished_at: ms(finished) as i64,
                exit_code,
                ..Default::default()
            }),
            ..Default::default()
        };
        let asked = v1::ContainerStatusRequest { container_id: "c".to_owned(), verbose: false };
        let stop = v1::StopContainerRequest { container_id: "c".to_owned(), timeout: 5 };
        let running = status(v1::ContainerState::ContainerRunning, 0, 0);
        let exited = status(v1::ContainerState::ContainerExited, finished, exit_code);
        let calls = vec![
            call(1, "ContainerStatus", (1006, 1007), &asked, &running),
            call(2, "StopContainer", (1008, 3500), &stop, &v1::StopContainerResponse::default()),
            call(3, "ContainerStatus", (3600, 3601), &asked, &exited),
        ];
        let mut trajectory = Trajectory::default();
        for call in &calls {
            let method = call.method().unwrap();
            let answer = decode(method.output(), call.responses[0].body.kept().unwrap()).unwrap();
            trajectory.add_states(method, call.started, &answer);
            trajectory.add_change(call, &[]);
        }
        (trajectory, calls)
    }

    fn later(trajectory: &Trajectory, read: &Call) -> usize {
        let lives = Lives::default();
        Seen::of(read, trajectory, &lives).later("c", "ContainerStatus").len()
    }

    #[test]
    fn a_container_may_end_a_moment_before_the_read_that_it_outlived() {
        let (trajectory, calls) = stopped(3, 1016);
        assert_eq!(later(&trajectory, &calls[0]), 1, "though it was being stopped");
        let (trajectory, calls) = stopped(3, 2600);
        assert_eq!(later(&trajectory, &calls[0]), 0, "this one was not about to end");
        let (trajectory, calls) = stopped(143, 1016);
        assert_eq!(later(&trajectory, &calls[0]), 0, "it did not end by itself");
    }

    #[test]
    fn a_stop_may_race_with_the_end_of_a_container_that_ends_by_itself() {
        let races = |exit_code, finished| {
            let (trajectory, calls) = stopped(exit_code, finished);
            trajectory.ended_by_itself("c", &calls[1])
        };
        assert!(races(3, 1016));
        assert!(!races(143, 1016), "ended by a signal");
        assert!(!races(3, 1007), "ended before the stop");
        assert!(!races(3, 2600), "it had run for a while");
    }

    #[test]
    fn what_an_object_took_counts_from_its_own_last_change() {
        let (mut trajectory, calls) = stopped(3, 1016);
        let other = v1::StopContainerRequest { container_id: "d".to_owned(), timeout: 0 };
        let other = call(4, "StopContainer", (3550, 3560), &other, &v1::StopContainerResponse::default());
        trajectory.add_change(&other, &[]);
        assert_eq!(trajectory.took("c", calls[2].ended), Duration::from_millis(100));
        assert_eq!(trajectory.took("c", calls[0].ended), Duration::ZERO);
    }
}
