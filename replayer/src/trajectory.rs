//! The states of objects in the order in which the recording's reads showed them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cri::{IdentityKind, Method};
use critape_calls::{Call, Identity, Stamp, decode};
use critape_differ::Trajectories;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};

use crate::recording::{is_mutating, request_ids};

/// Messages that are the state of an object, by the name of their type.
const STATES: [&str; 4] = ["PodSandbox", "PodSandboxStatus", "Container", "ContainerStatus"];

/// An event's states are read within this of the moment that it tells.
const AROUND: Duration = Duration::from_millis(100);

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
    /// Which sandbox a container is in: what happens to the sandbox happens to it.
    sandboxes: HashMap<String, String>,
}

impl Trajectory {
    /// Takes note of a call, whose answer holds these ids.
    pub(crate) fn add_change(&mut self, call: &Call, answered: &[Identity]) {
        if !is_mutating(call) {
            return;
        }
        let named = request_ids(call).into_iter().filter(|(kind, _)| is_object(*kind)).map(|(_, id)| id);
        let made: Vec<String> = answered
            .iter()
            .filter(|id| id.produced && is_object(id.kind))
            .map(|id| id.value.clone())
            .collect();
        // Making a container does not change its sandbox, and running a command changes nothing that reads show.
        let creates = call.method().is_some_and(|method| method.name == "CreateContainer");
        let executes = call.method().is_some_and(|method| {
            matches!(
                method.name.as_str(),
                "ExecSync" | "Exec" | "Attach" | "PortForward" | "ReopenContainerLog"
            )
        });
        if executes {
            return;
        }
        let named: Vec<String> = named.collect();
        if creates {
            for (container, sandbox) in made.iter().zip(&named) {
                self.sandboxes.insert(container.clone(), sandbox.clone());
            }
        }
        let changed = if creates { made } else { [named, made].concat() };
        for id in changed {
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
        let states = self.states.entry(id).or_default().entry(name).or_default();
        if states.last().and_then(State::message).is_none_or(|last| last != *message) {
            states.push(State { at, bytes: message.encode_to_vec().into(), of: message.descriptor() });
        }
    }

    /// The containers that were made in this sandbox.
    pub(crate) fn containers_of(&self, sandbox: &str) -> impl Iterator<Item = &str> {
        self.sandboxes.iter().filter(move |(_, of)| *of == sandbox).map(|(container, _)| container.as_str())
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

    fn changes_during(&self, id: &str, from: Stamp, to: Stamp) -> bool {
        let during = |id: &str| {
            self.changes
                .get(id)
                .into_iter()
                .flatten()
                // A call that ended before the read began is no longer under way.
                .any(|(started, ended)| *started < to && *ended > from)
        };
        during(id) || self.sandboxes.get(id).is_some_and(|sandbox| during(sandbox))
    }
}

fn is_object(kind: IdentityKind) -> bool {
    matches!(kind, IdentityKind::Sandbox | IdentityKind::Container | IdentityKind::Object)
}

/// The trajectory as one read sees it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) trajectory: &'a Trajectory,
    /// When the read was recorded.
    pub(crate) from: Stamp,
    pub(crate) to: Stamp,
    /// Objects that calls under way in the live run change.
    pub(crate) changing: &'a RefCell<HashMap<String, usize>>,
}

impl Trajectories for Seen<'_> {
    fn later(&self, id: &str, message_type: &str) -> Vec<DynamicMessage> {
        let until = self.trajectory.next_change(id, self.to);
        let states = self.trajectory.states.get(id).and_then(|states| states.get(message_type));
        states
            .into_iter()
            .flatten()
            .filter(|state| state.at > self.from && state.at < until)
            .filter_map(State::message)
            .collect()
    }

    fn is_changing(&self, id: &str) -> bool {
        self.changing.borrow().contains_key(id) || self.trajectory.changes_during(id, self.from, self.to)
    }

    fn around(&self, at: Stamp) -> Option<Box<dyn Trajectories + '_>> {
        Some(Box::new(Self { from: at.minus(AROUND), to: at.plus(AROUND), ..*self }))
    }
}
