//! Looks back at a tape when findings are there: what came before each, and how calls lay in time.
//!
//! It reads the tape once more, as it is stored: what is sealed stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cri::IdentityKind;
use critape_calls::{Call, CallId, Ending, EventKind, ObjectIndex, ObjectName, SandboxKey, Stamp, time_text};
use critape_differ::{EarlierCall, Evidence, MAX_BEFORE, Report, Timeline, TimelineCall};
use critape_tape::{Tape, TapeError};

use crate::recording::{is_event_stream, is_mutating, request_ids, response_ids};

/// Calls of a timeline.
const MAX_TIMELINE: usize = 3000;

/// Tells in a report, from the tape it is about, what the calls with findings are about, what came before them, and how all calls
/// lay in time. Does nothing where there are no findings.
pub fn look_back(tape: &Tape, report: &mut Report) -> Result<(), TapeError> {
    if report.findings.is_empty() {
        return Ok(());
    }
    let mut objects = ObjectIndex::default();
    for event in tape.events() {
        if let EventKind::Opening(opening) = event?.kind {
            objects.observe_opening(&opening);
        }
    }
    let mut past = Past { objects, ..Past::default() };
    for call in tape.calls() {
        past.add(&call?);
    }
    past.tell(report);
    Ok(())
}

/// The calls of a tape without their messages.
#[derive(Debug, Default)]
struct Past {
    objects: ObjectIndex,
    calls: Vec<Head>,
}

/// A call without its messages.
#[derive(Debug)]
struct Head {
    id: CallId,
    path: String,
    started: Stamp,
    lasted: Duration,
    outcome: String,
    changes: bool,
    is_stream: bool,
    /// Sandboxes, containers and images that it names or makes.
    ids: Vec<String>,
}

impl Past {
    fn add(&mut self, call: &Call) {
        let changes = is_mutating(call);
        // Lists say nothing that their makers, or the opening, have not said.
        if changes {
            self.objects.observe(call);
        }
        let made = if changes { response_ids(call) } else { Vec::new() };
        let made = made.into_iter().filter(|(_, _, made)| *made).map(|(kind, id, _)| (kind, id));
        let ids = request_ids(call).into_iter().chain(made).filter(|(kind, _)| *kind != IdentityKind::PodUid);
        self.calls.push(Head {
            id: call.id,
            path: call.path.clone(),
            started: call.started,
            lasted: call.duration(),
            outcome: match call.outcome.ending {
                Ending::Status => call.outcome.code.to_string(),
                other => other.name().to_owned(),
            },
            changes,
            is_stream: is_event_stream(call),
            ids: ids.map(|(_, id)| id).collect(),
        });
    }

    fn tell(mut self, report: &mut Report) {
        self.calls.sort_by_key(|call| (call.started, call.id));
        let mut found = BTreeSet::new();
        for finding in &mut report.findings {
            let calls: Vec<CallId> =
                finding.examples.iter().filter_map(|example| example.recorded_call.map(CallId)).collect();
            let first = finding.evidence.as_ref().and_then(Evidence::call).map(CallId);
            if let Some(evidence) = &mut finding.evidence
                && let Some(at) = first.and_then(|first| self.place(first))
            {
                evidence.about = self.name(&self.calls[at]).map(ToString::to_string);
                evidence.before = self.before(at);
            }
            found.extend(calls);
        }
        report.timeline = self.timeline(&found);
    }

    fn place(&self, call: CallId) -> Option<usize> {
        self.calls.iter().position(|head| head.id == call)
    }

    /// The thing that a call is about.
    fn name(&self, call: &Head) -> Option<&ObjectName> {
        let named = || call.ids.iter().filter_map(|id| self.objects.name(id));
        named().find(|name| name.container().is_some()).or_else(|| named().next())
    }

    fn pod(&self, call: &Head) -> Option<&SandboxKey> {
        self.name(call).map(ObjectName::sandbox)
    }

    /// Calls of the same pod that came before; where the call is about none: of the same image, or what changed something.
    fn before(&self, at: usize) -> Vec<EarlierCall> {
        let call = &self.calls[at];
        let pod = self.pod(call);
        let belongs = |other: &Head| match pod {
            Some(_) => self.pod(other) == pod,
            None if !call.ids.is_empty() => other.ids.iter().any(|id| call.ids.contains(id)),
            None => other.changes,
        };
        let mut before: Vec<EarlierCall> = self.calls[..at]
            .iter()
            .rev()
            .filter(|other| !other.is_stream && belongs(other))
            .take(MAX_BEFORE)
            .map(|other| EarlierCall {
                call: other.id.0,
                method: other.path.clone(),
                started: time_text(other.started),
                outcome: other.outcome.clone(),
                object: self.name(other).map(ToString::to_string),
            })
            .collect();
        before.reverse();
        before
    }

    fn timeline(&self, found: &BTreeSet<CallId>) -> Option<Timeline> {
        let from = self.calls.first()?.started;
        let ends =
            self.calls.iter().filter(|call| !call.is_stream).map(|call| call.started.plus(call.lasted));
        let to = ends.max().unwrap_or(from);
        let kept = self.kept(found);
        let mut lanes: BTreeMap<String, usize> = BTreeMap::new();
        for call in &kept {
            lanes.entry(self.lane(call)).or_default();
        }
        // In the order of their names, what is about no pod first.
        lanes.values_mut().enumerate().for_each(|(place, lane)| *lane = place);
        let calls = kept.iter().map(|call| TimelineCall {
            call: call.id.0,
            lane: lanes.get(&self.lane(call)).copied().unwrap_or_default(),
            at: nanos(call.started.since(from)),
            duration: nanos(call.lasted.min(to.since(call.started))),
            method: call.path.rsplit('/').next().unwrap_or_default().to_owned(),
            outcome: call.outcome.clone(),
        });
        Some(Timeline {
            from: time_text(from),
            duration: nanos(to.since(from)),
            calls: calls.collect(),
            left_out: (self.calls.len() - kept.len()) as u64,
            lanes: lanes.into_keys().collect(),
        })
    }

    /// Calls for which there is room: with findings first, then those that change something, then the others, each in order.
    fn kept(&self, found: &BTreeSet<CallId>) -> Vec<&Head> {
        let rank = |call: &Head| (!found.contains(&call.id), !call.changes);
        let mut kept: Vec<&Head> = self.calls.iter().collect();
        kept.sort_by_key(|call| rank(call));
        kept.truncate(MAX_TIMELINE);
        kept.sort_by_key(|call| (call.started, call.id));
        kept
    }

    fn lane(&self, call: &Head) -> String {
        self.pod(call).map(|pod| format!("{}/{}", pod.namespace, pod.name)).unwrap_or_default()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
