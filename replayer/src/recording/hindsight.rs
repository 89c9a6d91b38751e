//! Looks back at a tape when findings are there: what came before each, and how calls lay in time.
//!
//! It reads the tape once more, as it is stored: what is sealed stays so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use cri::IdentityKind;
use critape_calls::{
    Assembler, Call, CallId, Ending, EventKind, ObjectIndex, ObjectName, SandboxKey, Stamp, time_text,
};
use critape_differ::{EarlierCall, MAX_BEFORE, Report, Subject, Timeline, TimelineCall};
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
    let mut past = Past::of(report);
    let mut assembler = Assembler::default();
    for event in tape.events() {
        let event = event?;
        if let EventKind::Opening(opening) = &event.kind {
            past.objects.observe_opening(opening);
        }
        if let Some(call) = assembler.push(event) {
            past.add(&call);
        }
    }
    assembler.finish().iter().for_each(|call| past.add(call));
    past.tell(report);
    Ok(())
}

/// The calls of a tape without their messages, each a few dozen bytes.
#[derive(Debug, Default)]
pub(crate) struct Past {
    objects: ObjectIndex,
    /// Calls that examples of findings are of.
    found: BTreeSet<CallId>,
    calls: Vec<Head>,
    /// Reads that name nothing and have no findings: of these there may be millions, so only the first are kept.
    plain_reads: usize,
    left_out: u64,
    /// What calls have in common is kept once.
    texts: Texts,
}

/// A call without its messages.
#[derive(Debug)]
struct Head {
    id: CallId,
    path: Text,
    started: Stamp,
    lasted: Duration,
    outcome: Text,
    changes: bool,
    is_stream: bool,
    /// Sandboxes, containers and images that it names or makes.
    ids: Box<[Text]>,
}

/// A text that is kept once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Text(u32);

#[derive(Debug, Default)]
struct Texts {
    places: HashMap<String, Text>,
    texts: Vec<String>,
}

impl Texts {
    fn keep(&mut self, text: &str) -> Text {
        if let Some(known) = self.places.get(text) {
            return *known;
        }
        let place = Text(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }

    fn of(&self, text: Text) -> &str {
        self.texts.get(text.0 as usize).map_or("", String::as_str)
    }
}

impl Past {
    fn of(report: &Report) -> Self {
        let examples = report.findings.iter().flat_map(|finding| &finding.examples);
        let first = report.findings.iter().filter_map(|finding| finding.evidence.as_ref()?.call());
        let found = examples.filter_map(|example| example.recorded_call).chain(first).map(CallId).collect();
        Self { found, ..Self::default() }
    }

    fn add(&mut self, call: &Call) {
        let changes = is_mutating(call);
        // Lists say nothing that their makers, or the opening, have not said.
        if changes {
            self.objects.observe(call);
        }
        let made = if changes { response_ids(call) } else { Vec::new() };
        let made = made.into_iter().filter(|(_, _, made)| *made).map(|(kind, id, _)| (kind, id));
        let ids = request_ids(call).into_iter().chain(made).filter(|(kind, _)| *kind != IdentityKind::PodUid);
        let ids: Box<[Text]> = ids.map(|(_, id)| self.texts.keep(&id)).collect();
        if !changes && ids.is_empty() && !self.found.contains(&call.id) {
            self.plain_reads += 1;
            if self.plain_reads > MAX_TIMELINE {
                self.left_out += 1;
                return;
            }
        }
        let outcome = match call.outcome.ending {
            Ending::Status => self.texts.keep(&call.outcome.code.to_string()),
            other => self.texts.keep(other.name()),
        };
        self.calls.push(Head {
            id: call.id,
            path: self.texts.keep(&call.path),
            started: call.started,
            lasted: call.duration(),
            outcome,
            changes,
            is_stream: is_event_stream(call),
            ids,
        });
    }

    /// As [`Self::add`], where nothing but the calls tells what there is and how it is called.
    pub(crate) fn add_with_names(&mut self, call: &Call) {
        self.objects.observe(call);
        self.add(call);
    }

    fn tell(mut self, report: &mut Report) {
        self.tell_before(report);
        report.timeline = self.timeline();
    }

    /// Tells of each finding what its call is about, and what came before.
    pub(crate) fn tell_before(&mut self, report: &mut Report) {
        self.calls.sort_by_key(|call| (call.started, call.id));
        let places: HashMap<CallId, usize> =
            self.calls.iter().enumerate().map(|(place, call)| (call.id, place)).collect();
        for finding in &mut report.findings {
            for example in &mut finding.examples {
                let call = example.recorded_call.and_then(|call| places.get(&CallId(call)));
                let about = self.about(example.subject.as_ref(), call.map(|place| &self.calls[*place]));
                example.about = said(about, example.subject.as_ref());
            }
            let Some(evidence) = &mut finding.evidence else { continue };
            let Some(place) = evidence.call().and_then(|call| places.get(&CallId(call))) else { continue };
            // It is that of the first example.
            let subject = finding.examples.first().and_then(|example| example.subject.as_ref());
            let call = &self.calls[*place];
            let about = self.about(subject, Some(call));
            let earlier = match subject.map(|it| it.at) {
                Some(Some(at)) => self.calls.partition_point(|earlier| earlier.started <= at),
                // At some moment of a stream that goes on beside all calls.
                Some(None) if call.is_stream => self.calls.len(),
                _ => *place,
            };
            evidence.before = self.before(call, &self.calls[..earlier], about.map(ObjectName::sandbox));
            evidence.about = said(about, subject);
        }
    }

    /// The thing that this is, or that the call is about.
    fn about(&self, subject: Option<&Subject>, call: Option<&Head>) -> Option<&ObjectName> {
        subject.and_then(|it| self.objects.name(&it.id)).or_else(|| self.name(call?))
    }

    /// The thing that a call is about.
    fn name(&self, call: &Head) -> Option<&ObjectName> {
        let named = || call.ids.iter().filter_map(|id| self.objects.name(self.texts.of(*id)));
        named().find(|name| name.container().is_some()).or_else(|| named().next())
    }

    fn pod(&self, call: &Head) -> Option<&SandboxKey> {
        self.name(call).map(ObjectName::sandbox)
    }

    /// Of calls that came before those of the same pod; where the call is about none: of the same image, or what changed something.
    fn before(&self, call: &Head, earlier: &[Head], pod: Option<&SandboxKey>) -> Vec<EarlierCall> {
        let belongs = |other: &Head| match pod {
            Some(_) => self.pod(other) == pod,
            None if !call.ids.is_empty() => other.ids.iter().any(|id| call.ids.contains(id)),
            None => other.changes,
        };
        let mut before: Vec<EarlierCall> = earlier
            .iter()
            .rev()
            .filter(|other| !other.is_stream && belongs(other))
            .take(MAX_BEFORE)
            .map(|other| EarlierCall {
                call: other.id.0,
                method: self.texts.of(other.path).to_owned(),
                started: time_text(other.started),
                outcome: self.texts.of(other.outcome).to_owned(),
                object: self.name(other).map(ToString::to_string),
            })
            .collect();
        before.reverse();
        before
    }

    fn timeline(&self) -> Option<Timeline> {
        let from = self.calls.first()?.started;
        let ends =
            self.calls.iter().filter(|call| !call.is_stream).map(|call| call.started.plus(call.lasted));
        let to = ends.max().unwrap_or(from);
        let kept = self.kept();
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
            method: self.texts.of(call.path).rsplit('/').next().unwrap_or_default().to_owned(),
            outcome: self.texts.of(call.outcome).to_owned(),
        });
        Some(Timeline {
            from: time_text(from),
            duration: nanos(to.since(from)),
            calls: calls.collect(),
            left_out: self.left_out + (self.calls.len() - kept.len()) as u64,
            lanes: lanes.into_keys().collect(),
        })
    }

    /// Calls for which there is room: with findings first, then those that change something, then the others, each in order.
    fn kept(&self) -> Vec<&Head> {
        let rank = |call: &Head| (!self.found.contains(&call.id), !call.changes);
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

/// What something is called: by its name, or by its id where it has none, as images have none.
fn said(about: Option<&ObjectName>, subject: Option<&Subject>) -> Option<String> {
    let id = subject.map(|it| it.id.clone()).filter(|id| !id.is_empty());
    about.map(ToString::to_string).or(id)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(count: u64, found: &[u64]) -> Past {
        let mut past = Past { found: found.iter().map(|id| CallId(*id)).collect(), ..Past::default() };
        let (path, ok) = (past.texts.keep("/p.S/M"), past.texts.keep("OK"));
        let image = past.texts.keep("image");
        past.calls = (0..count)
            .map(|id| Head {
                id: CallId(id),
                path,
                started: Stamp(1_000 + id * 10),
                lasted: Duration::from_nanos(5),
                outcome: ok,
                changes: id % 2 == 0,
                is_stream: false,
                ids: if id % 3 == 0 { Box::new([image]) } else { Box::default() },
            })
            .collect();
        past
    }

    fn before(past: &Past, at: usize) -> Vec<u64> {
        past.before(&past.calls[at], &past.calls[..at], None).iter().map(|call| call.call).collect()
    }

    #[test]
    fn what_came_before_is_of_the_same_thing_or_changed_something() {
        let past = past(40, &[]);
        assert_eq!(before(&past, 9), [0, 3, 6]);
        assert_eq!(before(&past, 7), [0, 2, 4, 6]);
        // The last ten, oldest first.
        assert_eq!(before(&past, 39), [3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36][2..]);
        assert_eq!(before(&past, 0), [0; 0]);
    }

    #[test]
    fn a_timeline_keeps_calls_with_findings_first() {
        let timeline = past(10_000, &[9_999, 7_777]).timeline().unwrap();
        assert_eq!((timeline.calls.len(), timeline.left_out), (MAX_TIMELINE, 7_000));
        let kept: Vec<u64> = timeline.calls.iter().map(|call| call.call).collect();
        assert!(kept.contains(&9_999) && kept.contains(&7_777));
        assert!(kept.iter().filter(|id| **id % 2 == 1).count() == 2, "reads come last");
        assert!(kept.is_sorted());
        assert_eq!((timeline.duration, timeline.calls[0].at), (99_995, 0));
    }
}
