//! A tape, read and put in order for a replay.

use std::collections::{BTreeMap, BTreeSet};

use cri::{Class, Generation, IdentityKind};
use critape_calls::{
    Assembler, Call, CallId, EventKind, IdentityMap, Opening, Unbound, decode, identities, merged,
};
use critape_differ::SideInfo;
use critape_tape::{SealPolicy, Tape, TapeError};
use thiserror::Error;

use crate::witness::Veil;

/// The calls of a tape in the order of their starts, and what they say about objects.
#[derive(Debug)]
pub struct Recording {
    /// Calls of CRI, in the order of their starts.
    pub calls: Vec<Call>,
    /// What the runtime held when each segment began.
    pub openings: Vec<Opening>,
    /// The runtime that was recorded.
    pub side: SideInfo,
    /// What is sealed on it and can't be opened, because the tape's key is not there.
    pub sealed: SealPolicy,
    /// Seals again what its key has opened, for a report.
    pub(crate) veil: Veil,
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
}

impl Recording {
    /// Reads a tape, with its secrets where its key is there.
    pub fn read(tape: &Tape) -> Result<Self, RecordingError> {
        let mut assembler = Assembler::default();
        let mut calls = Vec::new();
        let mut openings = Vec::new();
        let mut events = tape.unsealed()?.events();
        for event in &mut events {
            let event = event?;
            if let EventKind::Opening(opening) = &event.kind {
                openings.push(opening.clone());
            }
            calls.extend(assembler.push(event));
        }
        calls.extend(assembler.finish());
        if calls.is_empty() {
            return Err(RecordingError::Empty(tape.path().to_owned()));
        }
        calls.sort_by_key(|call| (call.started, call.id));
        let side = SideInfo { tape: Some(tape.path().display().to_string()), ..side(&calls, &openings) };
        let veil = Veil::of(tape, events.sealed())?;
        Ok(Self { calls, openings, side, sealed: events.left_sealed(), veil })
    }

    /// The generation that most of its calls speak.
    pub fn generation(&self) -> Option<Generation> {
        let mut counts: BTreeMap<Generation, usize> = BTreeMap::new();
        for method in self.calls.iter().filter_map(Call::method) {
            *counts.entry(method.generation).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(generation, _)| generation)
    }

    /// The ids that the tape shows, each without a counterpart yet: made by one of its calls, or older than it.
    pub fn declare(&self, ids: &mut IdentityMap) {
        let mut shown: BTreeSet<(IdentityKind, String)> = BTreeSet::new();
        for call in &self.calls {
            for (kind, id, produced) in response_ids(call) {
                if produced {
                    ids.declare(kind, &id, Unbound::NotYetMade(call.id));
                } else {
                    shown.insert((kind, id));
                }
            }
        }
        let older = self.openings.iter().flat_map(opening_ids).chain(shown);
        for (kind, id) in older {
            match kind {
                IdentityKind::Sandbox | IdentityKind::Container => {
                    ids.declare(kind, &id, Unbound::OlderThanTape);
                }
                // An event names either; uids and images are bound in ways of their own.
                _ => {}
            }
        }
    }

    /// When each call may start: after this many of the calls of [`Self::by_end`] have ended.
    pub fn predecessors(&self) -> Vec<usize> {
        let by_end = self.by_end();
        let ends: Vec<_> = by_end.iter().map(|index| self.calls[*index].ended).collect();
        self.calls.iter().map(|call| ends.partition_point(|ended| *ended < call.started)).collect()
    }

    /// The calls that others may have waited for, in the order of their ends. Event streams are none: they have no end of
    /// their own.
    pub fn by_end(&self) -> Vec<usize> {
        let mut order: Vec<usize> =
            (0..self.calls.len()).filter(|index| !is_event_stream(&self.calls[*index])).collect();
        order.sort_by_key(|index| (self.calls[*index].ended, self.calls[*index].id));
        order
    }
}

/// Whether the call is a stream of events.
pub(crate) fn is_event_stream(call: &Call) -> bool {
    call.method().is_some_and(|method| method.name == "GetContainerEvents")
}

/// Whether the call changes something.
pub(crate) fn is_mutating(call: &Call) -> bool {
    call.method().is_some_and(|method| method.class != Class::ReadOnly)
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

fn opening_ids(opening: &Opening) -> Vec<(IdentityKind, String)> {
    opening
        .answers
        .iter()
        .filter_map(|answer| {
            let method = cri::methods().by_path(&answer.path)?;
            let message = decode(method.output(), &answer.response)?;
            Some(identities(&message, &method.response_ids))
        })
        .flatten()
        .map(|id| (id.kind, id.value))
        .collect()
}

/// The runtime as it named itself, last: in the opening state, or in answer to a client.
fn side(calls: &[Call], openings: &[Opening]) -> SideInfo {
    let named = openings.iter().rev().find_map(Opening::runtime).or_else(|| {
        calls.iter().rev().find_map(|call| {
            let version =
                call.method().is_some_and(|method| method.name == "Version") && call.outcome.is_ok();
            let bytes = version.then(|| merged(call)).flatten()?;
            let message = <cri::v1::VersionResponse as prost::Message>::decode(bytes.as_ref()).ok()?;
            Some((message.runtime_name, message.runtime_version))
        })
    });
    let generation = calls.iter().filter_map(Call::method).map(|method| method.generation).max();
    let (runtime, version) = named.unwrap_or_default();
    SideInfo {
        runtime,
        version,
        generation: generation.map(|generation| generation.to_string()).unwrap_or_default(),
        ..SideInfo::default()
    }
}

/// The call that made each id: for telling a reader why something is missing.
pub(crate) fn inconclusive_reason(unbound: Unbound) -> String {
    match unbound {
        Unbound::ProducerFailed(call) | Unbound::NotYetMade(call) => made_by(call),
        Unbound::OlderThanTape => "it names an object that is older than the tape".to_owned(),
    }
}

fn made_by(call: CallId) -> String {
    format!("it names an object whose making, call {call}, did not succeed here")
}
