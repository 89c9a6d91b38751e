//! Reads that fail and go well a moment later, or the other way round, where the recording says the one thing only.
//!
//! Waiting makes up for what takes time; a failure that comes and goes is no such thing. A client would have seen it:
//! kubelet drops what it knows of the node's pods when a list fails once. So it is a finding, though the answer after
//! it agrees, unless what was asked for was being changed. So is an answer that shows what can't be, such as a state that was left.

use std::collections::HashSet;
use std::time::Duration;

use critape_calls::{Call, Code, Outcome};
use critape_differ::{Compared, Divergence, Kind, Signature, Trajectories, is_beyond_lateness};

use crate::engine::Shared;
use crate::judging::places::place_of;
use crate::recording::request_ids;
use crate::sending::answer::Answer;

/// What runtimes say of something that is not there, no longer or not yet, whatever the code.
const NOT_THERE: [&str; 6] =
    ["not found", "no such", "not running", "no running", "does not exist", "ttrpc: closed"];
const FAILED_PRECONDITION: Code = Code(9);

/// Answers to one read that are kept for what they show and can't be.
const MOST_KEPT: usize = 8;

/// How long before a read a container may have ended that another run has end after it.
const JUST_NOW: Duration = Duration::from_millis(500);

/// An answer that ended as the recorded one did not.
#[derive(Debug)]
pub(crate) struct Failure {
    answer: Answer,
    divergence: Divergence,
    excuse: Option<Excuse>,
}

/// What may explain that a read ends in another way for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    /// It was about something that was changing.
    Changing,
    /// It comes sooner after the last change than it did in the recording.
    Early,
}

/// What is known of a read that ended in another way.
#[derive(Clone, Copy, Debug, Default)]
struct Circumstances {
    /// A call was under way that changes what was asked for.
    changes: bool,
    /// A container that it is about had just ended by itself.
    ends: bool,
    /// Less time passes than in the recording.
    hurries: bool,
}

/// An answer that was asked for again, and what it shows that can't be.
#[derive(Debug)]
pub(crate) struct Impossible {
    answer: Answer,
    divergences: Vec<Divergence>,
}

/// Keeps of an answer that is asked for again what can't come from the runtime being late.
pub(crate) fn keep_impossible(answer: &Answer, compared: Compared, kept: &mut Vec<Impossible>) {
    let mut divergences = compared.divergences;
    divergences.retain(is_beyond_lateness);
    if !divergences.is_empty() && kept.len() < MOST_KEPT {
        kept.push(Impossible { answer: answer.clone(), divergences });
    }
}

impl Shared {
    /// Reports each of these once, unless the last answer has it too.
    pub(crate) fn note_impossible(&self, call: &Call, kept: Vec<Impossible>, last: &Compared) {
        let signature = |it: &Divergence| Signature::of(&call.path, it);
        let mut told: HashSet<Signature> = last.divergences.iter().map(signature).collect();
        for Impossible { mut answer, divergences } in kept {
            self.hide(call, &mut answer);
            let witness = self.witness(call, &answer);
            for divergence in divergences.into_iter().filter(|it| told.insert(signature(it))) {
                self.findings.borrow_mut().add_divergence(place_of(call), &witness, divergence);
            }
        }
    }

    fn hide(&self, call: &Call, answer: &mut Answer) {
        if let Some((credentials, method)) = self.config.credentials.as_ref().zip(call.method()) {
            credentials.hide(method, answer);
        }
    }

    /// The way in which this answer to a read ended, where the recorded one did not and waiting may change that.
    pub(crate) fn failure(&self, call: &Call, answer: &Answer, found: &[Divergence]) -> Option<Failure> {
        // Of a connection that broke, the presence of the runtime tells.
        let divergence = found.iter().find(|it| it.kind == Kind::Outcome && it.settles)?;
        if answer.is_broken {
            return None;
        }
        let excuse = excuse(&call.outcome, &answer.outcome, self.circumstances(call));
        Some(Failure { answer: answer.clone(), divergence: divergence.clone(), excuse })
    }

    /// Reports it, where the answer that came in the end, so long after the first was asked for, is the recorded one.
    pub(crate) fn note_failure(&self, call: &Call, failure: Failure, last: &Answer, after: Duration) {
        let is_explained = match failure.excuse {
            Some(Excuse::Changing) => true,
            Some(Excuse::Early) => after <= self.script.since_change(call.started),
            None => false,
        };
        if is_explained || last.outcome.code != call.outcome.code {
            return;
        }
        let mut answer = failure.answer;
        self.hide(call, &mut answer);
        let witness = self.witness(call, &answer);
        self.findings.borrow_mut().add_divergence(place_of(call), &witness, failure.divergence);
    }

    fn circumstances(&self, call: &Call) -> Circumstances {
        let (seen, trajectory) = (self.seen(call), &self.script.survey.trajectory);
        let hurries = self.schedule.is_shorter;
        let since = JUST_NOW + if hurries { self.script.since_change(call.started) } else { Duration::ZERO };
        let from = call.started.minus(since);
        let asked: Vec<String> = request_ids(call).into_iter().map(|(_, id)| id).collect();
        let is_of_many = call.method().is_some_and(|method| method.name.starts_with("List"));
        if asked.is_empty() {
            let changes =
                is_of_many && (self.lives.are_changing() || trajectory.any_changes(call.started, call.ended));
            return Circumstances {
                changes,
                ends: is_of_many && trajectory.any_ended(from, call.ended),
                hurries,
            };
        }
        let within = asked.iter().flat_map(|id| trajectory.containers_of(id));
        let all: Vec<&str> = asked.iter().map(String::as_str).chain(within).collect();
        let changes = all.iter().any(|id| seen.is_changing(id));
        Circumstances { changes, ends: all.iter().any(|id| trajectory.ended(id, from, call.ended)), hurries }
    }
}

/// What may explain that the live read ended so.
fn excuse(recorded: &Outcome, live: &Outcome, circumstances: Circumstances) -> Option<Excuse> {
    let Circumstances { changes, ends, hurries } = circumstances;
    let may_change = match (recorded.is_ok(), live.is_ok()) {
        (true, false) => is_not_there(live),
        (false, true) => {
            if is_not_there(recorded) && ends {
                return Some(Excuse::Changing);
            }
            true
        }
        _ => is_not_there(recorded) && is_not_there(live),
    };
    let is_early = hurries && may_change && recorded.is_ok();
    if may_change && changes { Some(Excuse::Changing) } else { is_early.then_some(Excuse::Early) }
}

/// Whether it says that something is not there, or not in the state that the call wants.
fn is_not_there(outcome: &Outcome) -> bool {
    matches!(outcome.code, Code::NOT_FOUND | FAILED_PRECONDITION)
        || NOT_THERE.iter().any(|words| outcome.message.to_ascii_lowercase().contains(words))
}

#[cfg(test)]
mod tests {
    use critape_calls::Ending;

    use super::*;

    fn ended(code: Code, message: &str) -> Outcome {
        Outcome { ending: Ending::Status, code, message: message.to_owned(), ..Outcome::truncated() }
    }

    #[test]
    fn only_what_changes_may_be_there_or_not() {
        let (ok, not_found) = (ended(Code::OK, ""), ended(Code::NOT_FOUND, "an error"));
        let no_task = ended(Code(2), "failed to get metrics: no running task found");
        let internal = ended(Code(13), "unexpected metrics type: *v2.Metrics");
        let still = Circumstances::default();
        let changing = Circumstances { changes: true, ..still };
        for missing in [&not_found, &no_task] {
            assert_eq!(excuse(&ok, missing, still), None);
            assert_eq!(excuse(&ok, missing, changing), Some(Excuse::Changing));
            assert_eq!(excuse(missing, &ok, still), None);
            assert_eq!(excuse(missing, &ok, changing), Some(Excuse::Changing));
            let ends = Circumstances { ends: true, ..still };
            assert_eq!(excuse(missing, &ok, ends), Some(Excuse::Changing), "it ran for a moment longer");
            let hurries = Circumstances { hurries: true, ..still };
            assert_eq!(excuse(&ok, missing, hurries), Some(Excuse::Early));
        }
        let all = Circumstances { changes: true, ends: true, hurries: true };
        assert_eq!(excuse(&ok, &internal, all), None, "a list that fails is another thing");
    }
}
