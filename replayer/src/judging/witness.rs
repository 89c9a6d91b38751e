//! Tells a report about the two calls that were compared: which they are, and both in full. What the tape seals is sealed again.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bytes::Bytes;
use cri::json::Defaults;
use cri::wire::text_at;
use critape_calls::{
    Call, CallId, IdentityMap, Outcome, RecordedMessage, Side, Stamp, call_to_json, decode, outcome_to_json,
};
use critape_differ::{Breach, EventSequences, Evidence, Objects, Path, Subject, Witness};
use critape_tape::{Resealer, SealPolicy, Tape, TapeError};
use prost::Message as _;
use serde_json::{Value, json};

use crate::one_call::makes;
use crate::recording::{is_event_stream, request_ids, response_ids};
use crate::sending::answer::Answer;

/// The field of an event that names its container.
const EVENT_CONTAINER: u32 = 1;

/// Seals what a tape seals, where that was opened or comes from a runtime.
#[derive(Debug, Default)]
pub(crate) struct Veil(Option<RefCell<Resealer>>);

impl Veil {
    /// For a tape that seals this much. Nothing is sealed where the tape seals nothing: it is as confidential as the socket, and so
    /// is the report.
    pub(crate) fn of(tape: &Tape, policy: SealPolicy) -> Result<Self, TapeError> {
        if policy == SealPolicy::None {
            return Ok(Self::default());
        }
        Ok(Self(Some(RefCell::new(tape.resealer(policy)?))))
    }

    /// Learns the secrets of a request, so that they are found in error texts from then on.
    pub(crate) fn learn(&self, call: &Call) {
        if let Some(resealer) = &self.0 {
            resealer.borrow_mut().learn(call);
        }
    }

    fn call(&self, call: &Call) -> Value {
        match &self.0 {
            Some(resealer) => call_to_json(&resealer.borrow_mut().call(call)),
            None => call_to_json(call),
        }
    }

    fn message(&self, path: &str, from: Side, message: &Bytes) -> Bytes {
        match &self.0 {
            Some(resealer) => resealer.borrow_mut().message(path, from, message),
            None => message.clone(),
        }
    }

    fn outcome(&self, outcome: &Outcome) -> Outcome {
        match &self.0 {
            Some(resealer) => resealer.borrow_mut().outcome(outcome),
            None => outcome.clone(),
        }
    }

    fn value(&self, path: &str, at: &[String], value: &mut Value) {
        if let Some(resealer) = &self.0 {
            resealer.borrow_mut().value(path, at, value);
        }
    }
}

/// A call whose answer breaks a rule by itself, as it was when that was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone<'a> {
    pub(crate) breach: &'a Breach,
    pub(crate) veil: &'a Veil,
}

impl Witness for Alone<'_> {
    fn recorded(&self) -> Option<CallId> {
        self.breach.call
    }

    fn at(&self) -> Option<Stamp> {
        self.breach.at
    }

    fn objects(&self) -> Objects {
        self.breach.objects.clone()
    }

    fn seal(&self, path: &Path, recorded: &mut Value, live: &mut Value) {
        self.veil.value(&self.breach.method, path.segments(), recorded);
        self.veil.value(&self.breach.method, path.segments(), live);
    }

    fn evidence(&self) -> Option<Evidence> {
        self.breach.evidence.clone()
    }
}

/// The live side of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LiveSide<'a> {
    /// An answer to a call of a replay.
    Answer(&'a Answer),
    /// A stream of events, with its outcome where the runtime ended it.
    Events(&'a EventSequences, Option<&'a Outcome>),
    /// A call of the second tape.
    Call(&'a Call, &'a Veil),
}

/// Two calls that were compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls<'a> {
    pub(crate) recorded: &'a Call,
    pub(crate) veil: &'a Veil,
    pub(crate) live: LiveSide<'a>,
    /// What is called otherwise on the live side of a replay.
    pub(crate) ids: Option<&'a RefCell<IdentityMap>>,
}

impl Witness for Calls<'_> {
    fn recorded(&self) -> Option<CallId> {
        Some(self.recorded.id)
    }

    fn live(&self) -> Option<CallId> {
        match self.live {
            LiveSide::Call(call, _) => Some(call.id),
            LiveSide::Answer(_) | LiveSide::Events(..) => None,
        }
    }

    fn at(&self) -> Option<Stamp> {
        Some(self.recorded.started)
    }

    fn objects(&self) -> Objects {
        let asked: BTreeSet<String> = request_ids(self.recorded).into_iter().map(|(_, id)| id).collect();
        let made =
            response_ids(self.recorded).into_iter().filter(|(.., is_made)| *is_made).map(|(_, id, _)| id);
        let made: BTreeSet<String> = made.collect();
        // What makes something changes that alone, and nothing where it fails.
        let changed = if made.is_empty() && !self.recorded.method().is_some_and(makes) {
            asked.clone()
        } else {
            made.clone()
        };
        Objects { named: asked.into_iter().chain(made).collect(), changed }
    }

    fn subject(&self, live_id: &str) -> Subject {
        let id = self.ids.map_or_else(|| live_id.to_owned(), |ids| ids.borrow().to_recorded(live_id));
        let at = self.last_told(&id);
        Subject { id, live_id: live_id.to_owned(), at, ..Subject::default() }
    }

    fn seal(&self, path: &Path, recorded: &mut Value, live: &mut Value) {
        let method = &self.recorded.path;
        let live_veil = match self.live {
            LiveSide::Call(_, veil) => veil,
            LiveSide::Answer(_) | LiveSide::Events(..) => self.veil,
        };
        self.veil.value(method, path.segments(), recorded);
        live_veil.value(method, path.segments(), live);
    }

    fn evidence(&self) -> Option<Evidence> {
        let path = self.recorded.sent_path();
        let live = match self.live {
            LiveSide::Call(call, veil) => veil.call(call),
            LiveSide::Answer(answer) => {
                let lasted = u64::try_from(answer.lasted.as_nanos()).unwrap_or(u64::MAX);
                // Which message an error has in place of an answer is nobody's business.
                let responses = if answer.outcome.is_ok() || !answer.message.is_empty() {
                    vec![self.message(Side::Runtime, &answer.message)]
                } else {
                    Vec::new()
                };
                json!({
                    "method": answer.path,
                    "duration": lasted,
                    "requests": [self.message(Side::Client, &answer.request)],
                    "responses": responses,
                    "outcome": outcome_to_json(&self.veil.outcome(&answer.outcome)),
                })
            }
            LiveSide::Events(events, outcome) => {
                let responses =
                    events.iter().map(|event| self.message(Side::Runtime, &event.encode_to_vec().into()));
                json!({
                    "method": path,
                    "responses": responses.collect::<Vec<_>>(),
                    "outcome": outcome.map(|outcome| outcome_to_json(&self.veil.outcome(outcome))),
                })
            }
        };
        Some(Evidence {
            recorded: Some(self.veil.call(self.recorded)),
            live: Some(live),
            ..Evidence::default()
        })
    }
}

impl Calls<'_> {
    /// When the recorded stream told last of the container of this id.
    fn last_told(&self, id: &str) -> Option<Stamp> {
        if !is_event_stream(self.recorded) {
            return None;
        }
        let is_of = |message: &&RecordedMessage| {
            message.body.kept().is_some_and(|event| text_at(event, &[EVENT_CONTAINER]) == Some(id))
        };
        self.recorded.responses.iter().rev().find(is_of).map(|message| message.at)
    }

    /// A message of the live side as `tape show` prints one.
    fn message(&self, from: Side, message: &Bytes) -> Value {
        use base64::Engine as _;
        let sealed = self.veil.message(&self.recorded.path, from, message);
        let descriptor = self.recorded.method().map(|method| match from {
            Side::Client => method.input(),
            Side::Runtime => method.output(),
        });
        match descriptor.and_then(|descriptor| decode(descriptor, &sealed)) {
            Some(message) => cri::json::to_value(&message, Defaults::Printed),
            None => json!({"base64": base64::engine::general_purpose::STANDARD.encode(&sealed)}),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cri::v1;
    use critape_calls::Code;

    use super::*;
    use crate::made_up;

    #[test]
    fn a_container_that_is_not_made_changes_nothing() {
        let image = v1::ImageSpec { image: "app:1".to_owned(), ..Default::default() };
        let asked = v1::CreateContainerRequest {
            pod_sandbox_id: "p".to_owned(),
            config: Some(v1::ContainerConfig { image: Some(image), ..Default::default() }),
            ..Default::default()
        };
        let made = v1::CreateContainerResponse { container_id: "c".to_owned() };
        let mut call = made_up::call(1, "CreateContainer", (0, 1), &asked, &made);
        let objects = |call: &Call| {
            let live = LiveSide::Call(call, &Veil(None));
            Calls { recorded: call, veil: &Veil(None), live, ids: None }.objects()
        };
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(objects(&call).changed, set(&["c"]));
        call.responses.clear();
        call.outcome.code = Code::NOT_FOUND;
        assert_eq!(objects(&call), Objects { named: set(&["app:1", "p"]), changed: set(&[]) });
    }
}
