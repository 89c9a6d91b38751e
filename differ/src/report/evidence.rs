//! What a report holds so that a finding can be explained from it alone: both calls, and what came before.

use critape_calls::{CallId, Stamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::report::causes::Objects;
use crate::{Path, Subject};

/// The largest message that is held as it is, in bytes of JSON.
const MAX_MESSAGE: usize = 64 * 1024;
/// The most that is held of one call's messages.
const MAX_CALL: usize = 256 * 1024;
/// The most that a report holds of all findings.
pub(crate) const MAX_REPORT_EVIDENCE: usize = 2 * 1024 * 1024;
/// The most that is held until the worst findings are known.
pub(crate) const MAX_HELD: usize = 8 * MAX_REPORT_EVIDENCE;
/// Where an event names the container that it is of.
const EVENT_ID: &str = "containerId";
/// Calls of the same pod that are named.
pub const MAX_BEFORE: usize = 10;

/// Tells of the two calls that were compared. It is asked only where they differ.
pub trait Witness {
    /// The recorded call.
    fn recorded(&self) -> Option<CallId>;

    /// The call on the second tape; `None` in a replay.
    fn live(&self) -> Option<CallId> {
        None
    }

    /// When the recorded call began.
    fn at(&self) -> Option<Stamp> {
        None
    }

    /// What they are about, as the recording calls it; nothing where nobody knows.
    fn objects(&self) -> Objects {
        Objects::default()
    }

    /// The one of the things that an answer or a stream tells of that the live side calls this.
    fn subject(&self, live_id: &str) -> Subject {
        Subject { id: live_id.to_owned(), live_id: live_id.to_owned(), ..Subject::default() }
    }

    /// Seals what is secret in the two values that stand at this path. A report is shown around, a tape's key is not: no value goes
    /// into a report but through this.
    fn seal(&self, path: &Path, recorded: &mut Value, live: &mut Value);

    /// Both calls in full, sealed, and what came before.
    fn evidence(&self) -> Option<Evidence> {
        None
    }
}

/// Which calls they were, for what has no secrets and nothing more to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The recorded call.
    pub recorded: Option<CallId>,
    /// The call on the second tape.
    pub live: Option<CallId>,
}

impl Witness for Ids {
    fn recorded(&self) -> Option<CallId> {
        self.recorded
    }

    fn live(&self) -> Option<CallId> {
        self.live
    }

    fn seal(&self, _: &Path, _: &mut Value, _: &mut Value) {}
}

/// The first occurrence of a finding, in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The pod or container that the call, or what its list or stream tells, is about, as `namespace/pod/container`; the id of
    /// what has no such name.
    pub about: Option<String>,
    /// The recorded call, as `tape show -o json` prints it.
    pub recorded: Option<Value>,
    /// The live one; in a replay without what only a tape knows.
    pub live: Option<Value>,
    /// Calls that came before: of the same pod; where the call is about none, those that changed something. Oldest first.
    pub before: Vec<EarlierCall>,
    /// Messages that are left out because they are too large. Each stands as `{"cut": bytes}`.
    #[serde(default)]
    pub cut: u64,
}

/// A call that came before another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierCall {
    /// Its number on the tape.
    pub call: u64,
    /// Request path.
    pub method: String,
    /// When it began, in RFC 3339.
    pub started: String,
    /// Its status code, or the word for another ending.
    pub outcome: String,
    /// What it is about.
    pub object: Option<String>,
}

impl Evidence {
    /// The number of the recorded call; of the live one where nothing was recorded.
    pub fn call(&self) -> Option<u64> {
        self.recorded.as_ref().or(self.live.as_ref())?.get("id")?.as_u64()
    }

    /// The same, about this one thing; of a stream, the events alone that told of it.
    pub(crate) fn about_subject(mut self, subject: Option<&Subject>) -> Self {
        let Some(subject) = subject else { return self };
        let [id, live_id] = match &subject.event_of {
            Some([id, live_id]) => [id, live_id],
            None => [&subject.id, &subject.live_id],
        };
        for (call, id) in [(&mut self.recorded, id), (&mut self.live, live_id)] {
            let events = call.as_mut().and_then(|call| call.get_mut("responses")?.as_array_mut());
            let is_of_other = |event: &Value| event[EVENT_ID].as_str().is_some_and(|of| of != id);
            events.into_iter().for_each(|events| events.retain(|event| !is_of_other(event)));
        }
        self
    }

    /// The same, with messages left out that are too large for a report.
    pub(crate) fn bounded(mut self) -> Self {
        for call in [&mut self.recorded, &mut self.live].into_iter().flatten() {
            let mut room = MAX_CALL;
            for messages in ["requests", "responses"] {
                if let Some(Value::Array(messages)) = call.get_mut(messages) {
                    for message in messages {
                        self.cut += u64::from(cut(message, &mut room));
                    }
                }
            }
        }
        self
    }

    /// Its size as JSON, in bytes.
    pub(crate) fn size(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |text| text.len())
    }
}

/// Leaves a message out where it is larger than allowed, or than `room`.
fn cut(message: &mut Value, room: &mut usize) -> bool {
    let size = serde_json::to_vec(message).map_or(usize::MAX, |text| text.len());
    let fits = size <= MAX_MESSAGE.min(*room);
    if fits {
        *room -= size;
    } else {
        *message = json!({ "cut": size });
    }
    !fits
}

/// The recorded calls over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// When the first call began, in RFC 3339.
    pub from: String,
    /// From then to the end of the last, in ns.
    pub duration: u64,
    /// What calls are about, as `namespace/pod`; an empty name for what is about no pod.
    pub lanes: Vec<String>,
    /// Calls in the order of their starts.
    pub calls: Vec<TimelineCall>,
    /// Calls for which there was no room: those with findings come first, then those that change something.
    pub left_out: u64,
}

/// One call of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineCall {
    /// Its number on the tape.
    pub call: u64,
    /// Its place among the lanes.
    pub lane: usize,
    /// When it began, in ns from the timeline's beginning.
    pub at: u64,
    /// How long it took, in ns.
    pub duration: u64,
    /// The RPC.
    pub method: String,
    /// Its status code, or the word for another ending.
    pub outcome: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_are_left_out_and_counted() {
        let call = |sizes: &[usize]| {
            let messages: Vec<Value> = sizes.iter().map(|size| "x".repeat(*size).into()).collect();
            Some(json!({"requests": ["small"], "responses": messages}))
        };
        let evidence = Evidence {
            recorded: call(&[MAX_MESSAGE, 5]),
            live: call(&[MAX_MESSAGE - 2; 5]),
            ..Evidence::default()
        };
        let bounded = evidence.bounded();
        assert_eq!(bounded.cut, 3);
        let recorded = bounded.recorded.as_ref().unwrap();
        assert_eq!(recorded["responses"], json!([{"cut": MAX_MESSAGE + 2}, "xxxxx"]));
        assert_eq!(recorded["requests"], json!(["small"]));
        assert!(bounded.size() <= 2 * MAX_CALL);
    }
}
