//! One call of a replay: sent, asked again where it must be, judged.

use std::time::Duration;

use bytes::Bytes;
use cri::{Class, Method};
use critape_calls::{Call, Ending, Live, Recorded};
use critape_differ::{Compared, Signature};
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::binding;
use crate::engine::Shared;
use crate::pairs;
use crate::recording::{is_mutating, request_ids, response_ids};
use crate::replay::Pace;
use crate::stand_in_images;
use crate::witness::{Calls, LiveSide};

/// First and longest pause before a read is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest time that a read is waited for because the recording took so long.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

impl Shared {
    pub(crate) async fn call(&self, index: usize, call: &Call) {
        let Some(method) = call.method() else {
            self.unknown_call(call).await;
            return;
        };
        if let Some(reason) = self.reason_to_skip(call, method).await {
            self.findings.borrow_mut().skipped(call.id, reason);
            return;
        }
        let Some(request) = self.request(call, method) else { return };
        let changed = self.mark_changing(call);
        self.findings.borrow_mut().calls().sent += 1;
        self.note_sending(method, &request);
        let mut method = self.stand_in(call, method);
        let (mut answer, mut compared) = self.ask_until_settled(index, call, method, request.clone()).await;
        if self.turns_out_unserved(call, method, &answer).await {
            method = self.stand_in(call, method);
            (answer, compared) = self.ask_until_settled(index, call, method, request.clone()).await;
        }
        self.unmark_changing(&changed);
        if let Some(credentials) = &self.config.credentials {
            credentials.hide(method, &mut answer);
        }
        self.note_pulled(method, &answer).await;
        self.note_objects(call, method, &answer);
        self.oracles.borrow_mut().observe(call, &request, &answer);
        self.judge(call, method, &answer, compared).await;
    }

    /// A method that the schema doesn't have: its bytes go out as they are, and its outcome is compared.
    async fn unknown_call(&self, call: &Call) {
        let Some(request) = call.request() else {
            self.findings.borrow_mut().inconclusive(call.id, "its request was not recorded".to_owned());
            return;
        };
        if let Some(needed) = critape_tape::needs_key(&call.path, request) {
            let reason = format!("{needed}, and the tape's key is not here");
            self.findings.borrow_mut().inconclusive(call.id, reason);
            return;
        }
        self.findings.borrow_mut().calls().sent += 1;
        let answer =
            answer::ask(self.client.for_path(&call.path), &call.path, request.clone(), call.deadline, None)
                .await;
        let ids = self.ids.borrow();
        let name = call.path.rsplit('/').next().unwrap_or_default();
        let compared = self.comparer(&ids).outcomes(name, Recorded(&call.outcome), Live(&answer.outcome));
        self.findings.borrow_mut().add(&call.path, &self.witness(call, &answer), compared);
    }

    /// Asks; where the answer to a read shows a state that waiting may change, asks again. Gives what the last answer differs in,
    /// too, where that was looked at.
    async fn ask_until_settled(
        &self,
        index: usize,
        call: &Call,
        method: &Method,
        request: Bytes,
    ) -> (Answer, Option<Compared>) {
        let path = method.path.clone();
        let cancel_after = (call.outcome.ending == Ending::Cancelled).then(|| call.duration());
        let ask =
            || answer::ask(self.client.for_path(&path), &path, request.clone(), call.deadline, cancel_after);
        let began = Instant::now();
        let mut answer = ask().await;
        if method.class != Class::ReadOnly || !is_comparable(call) {
            return (answer, None);
        }
        let until = Instant::now() + self.patience(index);
        let mut pause = FIRST_PAUSE;
        let mut asked = 1;
        let mut compared = self.compare(call, method, &answer);
        while self.may_settle(call, &compared) && Instant::now() < until {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            answer = ask().await;
            answer.settled_after = began.elapsed();
            asked += 1;
            compared = self.compare(call, method, &answer);
        }
        if asked > 1 {
            let left = waiting_for(call, &compared);
            if left.is_empty() {
                self.findings.borrow_mut().calls().settled += 1;
            }
            self.unsettled.borrow_mut().extend(left);
        }
        (answer, Some(compared))
    }

    /// How long a read may be asked again: as long as the recording took to get there, where this replay is faster, and a while
    /// beyond.
    fn patience(&self, index: usize) -> Duration {
        let recorded = match self.config.pace {
            Pace::Recorded(speed) if speed <= 1.0 => Duration::ZERO,
            _ => self.script.since_change(index).unwrap_or_default().min(LONGEST_WAIT),
        };
        recorded + self.config.settle
    }

    fn may_settle(&self, call: &Call, compared: &Compared) -> bool {
        let unsettled = self.unsettled.borrow();
        waiting_for(call, compared).iter().any(|signature| !unsettled.contains(signature))
    }

    /// Binds what both answers say, compares them, unless that was done and nothing was bound, and keeps what was found.
    async fn judge(&self, call: &Call, method: &Method, answer: &Answer, compared: Option<Compared>) {
        if call.outcome.ending == Ending::Truncated {
            self.findings.borrow_mut().inconclusive(call.id, "its end is not on the tape".to_owned());
            return;
        }
        if !call.is_whole() {
            self.findings.borrow_mut().inconclusive(call.id, "its answer was not recorded".to_owned());
            return;
        }
        pairs::bind(call, method, answer.end(), &mut self.ids.borrow_mut());
        let mut compared = compared
            .filter(|_| !binding::binds(method))
            .unwrap_or_else(|| self.compare(call, method, answer));
        stand_in_images::let_pass(call, method, answer, &self.ids.borrow(), &mut compared);
        // Few calls come to this, and all would be larger for it.
        if !compared.divergences.is_empty()
            && let Some(reason) = Box::pin(self.without_limits(call, method, answer, &mut compared)).await
        {
            self.findings.borrow_mut().inconclusive(call.id, reason);
            return;
        }
        tracing::debug!(call = call.id.0, method = %method.name, lasted = ?answer.lasted, divergences = compared.divergences.len(), "compared");
        let mut findings = self.findings.borrow_mut();
        findings.add(&call.path, &self.witness(call, answer), compared);
        // At another pace calls are in each other's way as they never were.
        if self.config.pace == Pace::Recorded(1.0) && call.outcome.is_ok() && answer.outcome.is_ok() {
            findings.took(&call.path, Recorded(call.duration()), Live(answer.settled_after));
        }
    }

    fn compare(&self, call: &Call, method: &Method, answer: &Answer) -> Compared {
        let ids = self.ids.borrow();
        pairs::compare(&self.comparer(&ids), call, method, answer.end(), &self.seen(call))
    }

    /// Tells a report of this call and its answer.
    fn witness<'a>(&'a self, call: &'a Call, answer: &'a Answer) -> Calls<'a> {
        Calls { recorded: call, veil: &self.script.veil, live: LiveSide::Answer(answer) }
    }

    /// Keeps in mind what is no longer there, and what was not made.
    fn note_objects(&self, call: &Call, method: &Method, answer: &Answer) {
        if !call.outcome.is_ok() {
            return;
        }
        let mut ids = self.ids.borrow_mut();
        if matches!(method.name.as_str(), "RemoveContainer" | "RemovePodSandbox") {
            for (_, id) in request_ids(call) {
                self.script.survey.trajectory.containers_of(&id).for_each(|container| ids.remove(container));
                ids.remove(&id);
            }
        }
        if !answer.outcome.is_ok() {
            for (kind, id, produced) in response_ids(call) {
                if produced {
                    ids.fail(kind, &id, call.id);
                }
            }
        }
    }

    fn mark_changing(&self, call: &Call) -> Vec<String> {
        if !is_mutating(call) {
            return Vec::new();
        }
        let ids: Vec<String> = request_ids(call).into_iter().map(|(_, id)| id).collect();
        let mut changing = self.changing.borrow_mut();
        for id in &ids {
            *changing.entry(id.clone()).or_default() += 1;
        }
        ids
    }

    fn unmark_changing(&self, ids: &[String]) {
        let mut changing = self.changing.borrow_mut();
        for id in ids {
            if let Some(count) = changing.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    changing.remove(id);
                }
            }
        }
    }
}

/// Whether the recording says enough about the call for its answer to be compared.
fn is_comparable(call: &Call) -> bool {
    call.is_whole() && !matches!(call.outcome.ending, Ending::Truncated | Ending::Cancelled)
}

/// The differences that waiting may change.
fn waiting_for(call: &Call, compared: &Compared) -> Vec<Signature> {
    compared
        .divergences
        .iter()
        .filter(|divergence| divergence.settles)
        .map(|divergence| Signature::of(&call.path, divergence))
        .collect()
}
