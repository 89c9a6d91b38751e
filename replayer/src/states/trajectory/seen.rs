//! The trajectory as one read sees it: what may be shown instead of what was recorded.

use std::time::Duration;

use cri::v1;
use critape_calls::{Call, Stamp};
use critape_differ::{Change, Trajectories};
use prost_reflect::{DynamicMessage, Value};

use super::{State, Trajectory, is_exited};
use crate::states::lives::Lives;
use crate::states::shown::Asked;

/// An event's states are read within this of the moment that it tells.
const AROUND: Duration = Duration::from_millis(100);

/// The trajectory as one read sees it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) trajectory: &'a Trajectory,
    /// When the read was recorded.
    pub(crate) from: Stamp,
    pub(crate) to: Stamp,
    /// What the live run has done so far.
    pub(crate) lives: &'a Lives,
    /// The live answer, where it is one of a replay.
    pub(crate) asked: Option<Asked<'a>>,
    /// Whether it names something that nobody knows the state of: about that nothing can be said. In the answers to other reads
    /// either state of it may be seen.
    pub(crate) is_of_unknown: bool,
}

impl<'a> Seen<'a> {
    pub(crate) fn of(call: &Call, trajectory: &'a Trajectory, lives: &'a Lives) -> Self {
        let is_of_unknown = lives.unknown_of(call).is_some();
        Self { trajectory, from: call.started, to: call.ended, lives, asked: None, is_of_unknown }
    }
}

impl Trajectories for Seen<'_> {
    fn later(&self, id: &str, message_type: &str) -> Vec<DynamicMessage> {
        let until = self.trajectory.next_change(id, self.to);
        let states = self.trajectory.states.get(id).and_then(|states| states.get(message_type));
        let later = states.into_iter().flatten().filter(|state| state.at > self.from);
        // Containers live in real time: one that ended by itself a moment after this read may have ended a moment before it here, also
        // where a call to stop it was under way by then.
        let life = self.trajectory.lives.get(id).filter(|life| life.was_brief());
        let may_have_ended = self.may_have_ended(id);
        let ends = may_have_ended || life.is_some_and(|life| life.finished > self.from);
        let in_list = Some(id).filter(|_| may_have_ended && message_type == "Container");
        later
            .filter_map(|state| Some((state.at, state.message()?)))
            .filter(|(at, message)| *at < until || ends && is_exited(message))
            .map(|(_, message)| message)
            .chain(in_list.and_then(|id| self.ended_in_list(id)))
            .collect()
    }

    fn is_changing(&self, id: &str) -> bool {
        let is_unknown = !self.is_of_unknown && self.lives.is_unknown(id);
        is_unknown || self.lives.is_changing(id) || self.trajectory.changes_during(id, self.from, self.to)
    }

    fn is_under(&self, change: Change, id: &str) -> bool {
        let calls = self.trajectory.kinds.get(&change);
        self.lives.is_changing(id)
            || calls.is_some_and(|calls| self.trajectory.is_during(calls, id, self.from, self.to))
    }

    fn may_have_ended(&self, id: &str) -> bool {
        let life = self.trajectory.own_end(id).filter(|life| life.finished > self.from);
        life.is_some_and(|life| self.lives.may_have_lived(id, life.finished.since(life.started)))
    }

    fn is_over(&self, id: &str) -> bool {
        self.lives.is_over(id)
    }

    fn before(&self, id: &str, message_type: &str) -> Option<DynamicMessage> {
        self.asked?.before((id, message_type), self.trajectory, self.lives)
    }

    fn all(&self, id: &str, message_type: &str) -> Option<Vec<DynamicMessage>> {
        let states = self.asked.and(self.trajectory.states.get(id))?.get(message_type)?;
        Some(states.iter().filter_map(State::message).collect())
    }

    fn will_end(&self, id: &str) -> bool {
        self.trajectory.will_end(id, self.from, self.to)
    }

    fn was_cut_short(&self, id: &str) -> bool {
        self.lives.was_cut_short(id)
    }

    fn around(&self, at: Stamp) -> Option<Box<dyn Trajectories + '_>> {
        Some(Box::new(Self { from: at.minus(AROUND), to: at.plus(AROUND), asked: None, ..*self }))
    }

    fn during_change(&self, id: &str, at: Stamp) -> Option<Box<dyn Trajectories + '_>> {
        let mut calls = self.trajectory.changes.get(id)?.iter();
        let (from, to) = *calls.find(|(started, ended)| (*started..=*ended).contains(&at))?;
        Some(Box::new(Self { from, to, ..*self }))
    }
}

impl Seen<'_> {
    /// The container as a list would have shown it when it had ended, where none did.
    fn ended_in_list(&self, id: &str) -> Option<DynamicMessage> {
        let states = self.trajectory.states.get(id)?.get("Container")?;
        let mut last = states.iter().rev().find(|state| state.at <= self.to)?.message()?;
        let ended = Value::EnumNumber(v1::ContainerState::ContainerExited as i32);
        last.try_set_field_by_name("state", ended).ok()?;
        Some(last)
    }
}
