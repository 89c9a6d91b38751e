//! A tape, read and put in order.

pub(crate) mod followed;
pub(crate) mod hindsight;
pub(crate) mod image_changes;
pub(crate) mod itself;
pub(crate) mod polls;
pub(crate) mod read_ahead;
pub(crate) mod script;
pub(crate) mod shelf;
pub(crate) mod slice;
pub(crate) mod survey;

use std::collections::BTreeSet;

use cri::{Class, IdentityKind};
use critape_calls::{Call, CallId, Code, IdentityMap, Unbound, decode, identities, merged};
use critape_differ::{Effect, Limitation, LimitationKind, SideInfo};
use critape_tape::{SealPolicy, Tape, TapeError};
use thiserror::Error;

use crate::judging::witness::Veil;
use crate::preflight::{Tally, has_token, names};
use read_ahead::Told;
use shelf::Shelf;
use survey::Survey;

/// The calls of a tape in the order of their starts, all in memory, and what they say about objects.
#[derive(Debug)]
pub struct Recording {
    /// Calls of CRI, in the order of their starts.
    pub(crate) calls: Shelf,
    /// The runtime that was recorded.
    pub side: SideInfo,
    /// What is sealed on it and can't be opened, because the tape's key is not there.
    pub sealed: SealPolicy,
    /// Seals again what its key has opened, for a report.
    pub(crate) veil: Veil,
    pub(crate) survey: Survey,
}

/// Why a tape can't be replayed.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// It can't be read.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// There is nothing on it.
    #[error("{0} holds no calls: record something first")]
    Empty(std::path::PathBuf),
    /// There is nothing on it that was asked for.
    #[error("{0} holds no such calls: see `critape tape show` with the same options")]
    NoneSelected(std::path::PathBuf),
}

impl Recording {
    /// Reads a tape, with its secrets where its key is there.
    pub fn read(tape: &Tape) -> Result<Self, RecordingError> {
        let mut survey = Survey::default();
        let mut calls = Shelf::default();
        let sealed = each_call(tape, &mut survey, |_, call| calls.put(call))?;
        if calls.len() == 0 {
            return Err(RecordingError::Empty(tape.path().to_owned()));
        }
        calls.sort();
        let veil = Veil::of(tape, survey.sealed)?;
        Ok(Self { calls, side: survey.side(), sealed, veil, survey })
    }

    /// Its calls of CRI, in the order of their starts.
    pub fn calls(&self) -> impl Iterator<Item = Call> {
        (0..self.calls.len()).map(|place| self.calls.call(place))
    }

    /// How many calls it has.
    pub fn count(&self) -> usize {
        self.calls.len()
    }

    /// What is sealed on it, where its key is not there: in how many calls, and in calls of which methods.
    pub fn sealed_limitation(&self) -> Option<Limitation> {
        if self.sealed == SealPolicy::None {
            return None;
        }
        let mut methods = BTreeSet::new();
        let mut tally = Tally::default();
        for call in self.calls().filter(holds_sealed) {
            tally.add(call.id);
            methods.insert(call.path.rsplit('/').next().unwrap_or_default().to_owned());
        }
        let summary = format!(
            "{} is sealed and its key is not here: what is sealed counts as the same, in calls of {}",
            self.side.tape.as_deref().unwrap_or("a tape"),
            names(methods)
        );
        Some(tally.limitation(LimitationKind::Sealed, Effect::Inconclusive, summary))
    }

    /// The ids that the tape shows, each without a counterpart yet: made by one of its calls, or older than it.
    pub fn declare(&self, ids: &mut IdentityMap) {
        self.survey.declare(ids);
    }
}

/// Hands out every call of a tape in common terms, in the order of their ends, after the survey has seen it. Gives what stays sealed.
pub(crate) fn each_call(
    tape: &Tape,
    survey: &mut Survey,
    mut take: impl FnMut(&mut Survey, Call),
) -> Result<SealPolicy, TapeError> {
    let mut events = tape.unsealed()?.events();
    read_ahead::each(&mut events, |told| match told {
        Told::Opening(opening) => survey.opening(&opening),
        Told::Call(call) => {
            survey.call(&call);
            take(survey, *call);
        }
    })?;
    survey.sealed = events.sealed();
    survey.tape = Some(tape.path().display().to_string());
    Ok(events.left_sealed())
}

fn holds_sealed(call: &Call) -> bool {
    let bodies = call.requests.iter().chain(&call.responses).filter_map(|message| message.body.kept());
    bodies.into_iter().any(|body| has_token(body)) || has_token(call.outcome.message.as_bytes())
}

/// Whether the call is a stream of events.
pub(crate) fn is_event_stream(call: &Call) -> bool {
    call.method().is_some_and(|method| method.name == "GetContainerEvents")
}

/// Whether a call of a method that no generation has is only the question whether CRI's services have it, and they had not.
pub(crate) fn is_question(call: &Call) -> bool {
    let service = call.path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let is_of_cri = service.starts_with("runtime.")
        && (service.ends_with(".RuntimeService") || service.ends_with(".ImageService"));
    is_of_cri && call.outcome.code == Code::UNIMPLEMENTED
}

/// Whether the call changes something.
pub(crate) fn is_mutating(call: &Call) -> bool {
    call.method().is_some_and(|method| method.class != Class::ReadOnly)
}

/// Whether the call changes something that reads show: running a command does not.
pub(crate) fn changes_objects(call: &Call) -> bool {
    let executes =
        |name: &str| matches!(name, "ExecSync" | "Exec" | "Attach" | "PortForward" | "ReopenContainerLog");
    is_mutating(call) && call.method().is_some_and(|method| !executes(&method.name))
}

/// Whether this kind of id names a sandbox or a container.
pub(crate) fn is_object(kind: IdentityKind) -> bool {
    matches!(kind, IdentityKind::Sandbox | IdentityKind::Container | IdentityKind::Object)
}

/// Whether this kind of id may be written as the beginning of one.
pub(crate) fn is_thing(kind: IdentityKind) -> bool {
    !matches!(kind, IdentityKind::PodUid | IdentityKind::Token)
}

/// The identities in the request of a call.
pub(crate) fn request_ids(call: &Call) -> Vec<(IdentityKind, String)> {
    let Some((method, bytes)) = call.method().zip(call.request()) else { return Vec::new() };
    let Some(message) = decode(method.input(), bytes) else { return Vec::new() };
    identities(&message, &method.request_ids).into_iter().map(|id| (id.kind, id.value)).collect()
}

/// The identities in the answer of a call that went well, each with whether the call made it.
pub(crate) fn response_ids(call: &Call) -> Vec<(IdentityKind, String, bool)> {
    let answer = call.method().filter(|_| call.outcome.is_ok()).zip(merged(call));
    let Some((method, bytes)) = answer else { return Vec::new() };
    let Some(message) = decode(method.output(), &bytes) else { return Vec::new() };
    identities(&message, &method.response_ids)
        .into_iter()
        .map(|id| (id.kind, id.value, id.produced))
        .collect()
}

/// The call that made each id: for telling a reader why something is missing.
pub(crate) fn inconclusive_reason(unbound: Unbound) -> String {
    match unbound {
        Unbound::ProducerFailed(call) | Unbound::NotYetMade(call) => made_by(call),
        Unbound::OlderThanTape => "it names an object that is older than the tape".to_owned(),
    }
}

fn made_by(call: CallId) -> String {
    format!("it names what call {call} made, which was not made here")
}
