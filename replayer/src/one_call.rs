//! One call of a replay: sent, asked again where it must be, judged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cri::{Class, IdentityKind, Method, v1};
use critape_calls::{Call, Code, Ending, Live, Outcome, Recorded, decode, identities};
use critape_differ::{Compared, Divergence, Signature, is_beyond_lateness};
use prost::Message as _;
use tokio::time::Instant;

use crate::engine::{Shared, Turn};
use crate::footprint::node::LeftAlone;
use crate::judging::ledger::Entry;
use crate::judging::pairs;
use crate::judging::stand_in_images;
use crate::judging::witness::{Calls, LiveSide};
use crate::recording::{is_question, request_ids, response_ids};
use crate::sending::answer::{self, Answer};
use crate::sending::images::full;
use crate::states::binding;
use crate::states::shown::Asked;
use crate::states::trajectory::Seen;
use crate::states::transient::keep_impossible;

/// First and longest pause before a read is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Shared {
    pub(crate) async fn call(&self, mut turn: Turn, call: &Arc<Call>) {
        if let Some(reason) = self.presence.why_gone() {
            self.findings.borrow_mut().inconclusive(call.id, reason);
            return;
        }
        let Some(method) = call.method() else {
            self.unknown_call(turn, call).await;
            return;
        };
        if let Some(reason) = self.reason_to_skip(call, method) {
            self.findings.borrow_mut().skipped(call.id, reason.to_owned());
            return;
        }
        let Some(request) = self.request(&mut turn, call, method).await else { return };
        match self.reason_to_leave_alone(call, method, &request).await {
            Some(LeftAlone::Foreign(reason)) => {
                self.note_image_left(call, method);
                self.findings.borrow_mut().skipped(call.id, reason);
                return;
            }
            Some(LeftAlone::Untold(reason)) => {
                self.note_image_left(call, method);
                self.findings.borrow_mut().inconclusive(call.id, reason);
                return;
            }
            None => {}
        }
        let trajectory = &self.script.survey.trajectory;
        let turn = self.let_live(turn, call).await;
        let changed = self.lives.begins(call, trajectory);
        self.note_sent(turn);
        self.note_sending(method, &request);
        let mut way = self.way(call, method);
        let (mut answer, mut compared) = self.ask_until_settled(turn, call, method, way, &request).await;
        while let Some(other) = self.other_way(call, way, &answer).await {
            way = other;
            (answer, compared) = self.ask_until_settled(turn, call, method, way, &request).await;
        }
        self.lives.ended(call, &changed, answer.outcome.is_ok(), trajectory);
        if answer.is_broken && self.presence.is_gone() {
            self.note_gone(call, &method.name, LiveSide::Answer(&answer));
            return;
        }
        if let Some(credentials) = &self.config.credentials {
            credentials.hide(method, &mut answer);
        }
        self.note_back(call, &method.name, LiveSide::Answer(&answer));
        self.note_made(method, &answer).await;
        self.account_for(call, method, &answer);
        self.note_objects(call, method, &answer);
        let verdict = self.judge(call, method, way, &answer, compared).await;
        // Where both ran into it, both had the same time to get far.
        let is_by_deadline = |compared: &Compared| compared.passed.contains_key(pairs::DEADLINE);
        if call.outcome.is_ok() != answer.outcome.is_ok() && verdict.as_ref().is_ok_and(is_by_deadline) {
            self.lives.note_unknown(call, &changed, trajectory);
        }
        // All that a later call may depend on has happened: it goes out while this one is written down.
        self.order.note_end(turn.index);
        self.ledger.enter(Entry { call: call.clone(), way, request, answer, verdict });
        tokio::task::yield_now().await;
        self.write_down();
    }

    /// Containers live in real time: what ends one, or runs something in it, waits until it is as old as it was.
    async fn let_live(&self, turn: Turn, call: &Call) -> Turn {
        let due_at = |at| self.schedule.due_at(at);
        let until = self.lives.hold_back(call, self.config.pace, &self.script.survey.trajectory, due_at);
        let Some(until) = until.filter(|until| *until > Instant::now()) else { return turn };
        tokio::time::sleep_until(until).await;
        Turn { free: Some(Instant::now()), ..turn }
    }

    /// A method that the schema doesn't have: its bytes go out as they are, and its outcome is compared.
    async fn unknown_call(&self, turn: Turn, call: &Call) {
        let Some(request) = call.request() else {
            self.findings.borrow_mut().inconclusive(call.id, "its request was not recorded".to_owned());
            return;
        };
        if let Some(needed) = critape_tape::needs_key(&call.path, request) {
            let reason = format!("{needed}, and the tape's key is not here");
            self.findings.borrow_mut().inconclusive(call.id, reason);
            return;
        }
        if !self.config.allow_node_changes && !is_question(call) {
            let reason = "nobody knows what it changes; --allow-node-changes sends it";
            self.findings.borrow_mut().skipped(call.id, reason.to_owned());
            return;
        }
        self.note_sent(turn);
        let client = self.client.for_path(&call.path);
        let patience = self.patience_for(call);
        let answer = answer::ask(client, &call.path, request.clone(), call.deadline, patience).await;
        let name = call.path.rsplit('/').next().unwrap_or_default();
        if answer.is_broken {
            self.look_for_runtime(call, &call.path).await;
            if self.presence.is_gone() {
                self.note_gone(call, name, LiveSide::Answer(&answer));
                return;
            }
        }
        let ids = self.ids.borrow();
        let compared = self.comparer(&ids).outcomes(name, Recorded(&call.outcome), Live(&answer.outcome));
        self.findings.borrow_mut().add(&call.path, &self.witness(call, &answer), compared);
    }

    /// Asks; where the answer to a read shows a state that waiting may change, asks again. Gives what the last answer differs in,
    /// too, where that was looked at.
    async fn ask_until_settled(
        &self,
        turn: Turn,
        call: &Arc<Call>,
        method: &Method,
        way: &Method,
        request: &Bytes,
    ) -> (Answer, Option<Compared>) {
        let ask = || self.send(call, method, way, request);
        let began = Instant::now();
        let mut answer = ask().await;
        if method.class != Class::ReadOnly || !is_comparable(call) {
            return (answer, None);
        }
        if !binding::binds(method) && answer.outcome.code != Code::UNIMPLEMENTED {
            self.order.note_answer(turn.index);
            // The next read is on its way while this one is compared.
            tokio::task::yield_now().await;
        }
        let mut pause = FIRST_PAUSE;
        let mut asked = 1;
        let mut compared = self.compare(call, method, &answer);
        if !self.may_settle(call, &compared)
            || self.lives.unknown_of(call).is_some()
            || self.differs_as_known(call, method, &answer, &compared)
        {
            self.note_shown(call, &answer, &compared);
            return (answer, Some(compared));
        }
        let until = Instant::now() + self.patience_with(call);
        let mut failure = self.failure(call, &answer, &compared.divergences);
        let mut passing = Vec::new();
        while self.may_settle(call, &compared) && Instant::now() < until && !self.presence.is_gone() {
            self.note_passing(call, request, &answer);
            keep_impossible(&answer, compared, &mut passing);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            answer = ask().await;
            answer.settled_after = began.elapsed();
            asked += 1;
            compared = self.compare(call, method, &answer);
            failure = failure.or_else(|| self.failure(call, &answer, &compared.divergences));
        }
        if asked > 1 {
            if let Some(failure) = failure {
                self.note_failure(call, failure, &answer, answer.settled_after);
            }
            self.note_impossible(call, passing, &compared);
            self.note_shown(call, &answer, &compared);
            let left = waiting_for(call, &compared);
            let mut findings = self.findings.borrow_mut();
            if left.is_empty() {
                findings.calls().settled += 1;
                findings.clocks().settled(answer.settled_after);
            } else {
                findings.clocks().gave_up(answer.settled_after);
                // It is found as what it is, and not as slow.
                answer.settled_after = answer.lasted;
            }
            self.unsettled.borrow_mut().extend(left);
        }
        (answer, Some(compared))
    }

    /// How long a read may be asked again: as long as the recording took since the last change, and as long as what it shows took to
    /// get there, where less time passes here; and a while beyond.
    fn patience_with(&self, call: &Call) -> Duration {
        let trajectory = &self.script.survey.trajectory;
        let shown = response_ids(call).into_iter().map(|(_, id, _)| id);
        let took = shown.map(|id| trajectory.took(&id, call.ended)).max().unwrap_or_default();
        self.patience(self.script.since_change(call.started).max(took))
    }

    fn may_settle(&self, call: &Call, compared: &Compared) -> bool {
        let unsettled = self.unsettled.borrow();
        waiting_for(call, compared).iter().any(|signature| !unsettled.contains(signature))
    }

    /// Binds what both answers say and compares them, unless that was done and nothing was bound. The error is the reason why they
    /// can't be held against each other.
    async fn judge(
        &self,
        call: &Call,
        method: &Method,
        way: &Method,
        answer: &Answer,
        compared: Option<Compared>,
    ) -> Result<Compared, String> {
        if call.outcome.ending == Ending::Truncated {
            return Err("its end is not on the tape".to_owned());
        }
        if !call.is_whole() {
            return Err("its answer was not recorded".to_owned());
        }
        if self.raced_with_its_end(call, method, answer) {
            let reason = "its container ended by itself while it was being stopped: what a runtime says then is chance";
            return Err(reason.to_owned());
        }
        pairs::bind(call, method, answer.end(), &mut self.ids.borrow_mut());
        let mut compared = compared
            .filter(|_| !binding::binds(method))
            .unwrap_or_else(|| self.compare(call, method, answer));
        stand_in_images::let_pass(call, method, answer, &self.ids.borrow(), &mut compared);
        self.target.older_names.let_pass(&mut compared);
        // Few calls come to this, and all would be larger for it.
        if !compared.divergences.is_empty()
            && let Some(reason) = Box::pin(self.without_limits(call, method, answer, &mut compared)).await
        {
            return Err(reason);
        }
        if !compared.divergences.is_empty()
            && let Some(reason) = self
                .follows_from_left_out(call, method)
                .or_else(|| self.follows_from_image_left(call, &mut compared))
        {
            return Err(reason);
        }
        if !compared.divergences.is_empty()
            && let Some(other) = self.lives.unknown_of(call)
        {
            let reason = format!(
                "call {other}, which changes what it names, ran into its deadline: nobody knows how far it went"
            );
            return Err(reason);
        }
        self.note_unstreamed(call, way, &mut compared);
        Ok(compared)
    }

    /// Whether this is the stop of a container that ended by itself at the same time, and one of the two runs had it fail.
    fn raced_with_its_end(&self, call: &Call, method: &Method, answer: &Answer) -> bool {
        let trajectory = &self.script.survey.trajectory;
        method.name == "StopContainer"
            && call.outcome.is_ok() != answer.outcome.is_ok()
            && request_ids(call).iter().any(|(_, id)| trajectory.ended_by_itself(id, call))
    }

    fn compare(&self, call: &Call, method: &Method, answer: &Answer) -> Compared {
        let ids = self.ids.borrow();
        let began = answer.ended.checked_sub(answer.lasted).unwrap_or(answer.ended);
        let asked = Some(Asked { shown: &self.shown, call, began });
        let seen = Seen { asked, ..self.seen(call) };
        pairs::compare(&self.comparer(&ids), call, method, answer.end(), &seen)
    }

    /// Takes note of a read whose answer agrees in all that may change with time.
    fn note_shown(&self, call: &Arc<Call>, answer: &Answer, compared: &Compared) {
        let differs = |it: &Divergence| it.settles || is_beyond_lateness(it);
        if answer.outcome.is_ok() && call.outcome.is_ok() && !compared.divergences.iter().any(differs) {
            self.shown.borrow_mut().note(call, answer);
        }
    }

    /// Tells a report of this call and its answer.
    pub(crate) fn witness<'a>(&'a self, call: &'a Call, answer: &'a Answer) -> Calls<'a> {
        Calls {
            recorded: call,
            veil: &self.script.veil,
            live: LiveSide::Answer(answer),
            ids: Some(&self.ids),
        }
    }

    /// Says for which objects on the runtime this call answers, so that no list has to: what it made, and where it
    /// alone failed, or was given up, what that may have left behind.
    fn account_for(&self, call: &Call, method: &Method, answer: &Answer) {
        if !makes(method) {
            return;
        }
        // Nobody knows how far a runtime goes with a call whose client no longer waits, or that it did not end itself.
        let is_given_up = |it: &Outcome| {
            it.ending != Ending::Status || matches!(it.code, Code::DEADLINE_EXCEEDED | Code::UNAVAILABLE)
        };
        let found = if answer.outcome.is_ok() {
            let message = decode(method.output(), &answer.message);
            message.map(|message| identities(&message, &method.response_ids)).unwrap_or_default()
        } else if call.outcome.is_ok() || is_given_up(&call.outcome) || is_given_up(&answer.outcome) {
            let message = decode(method.input(), &answer.request);
            message.map(|message| identities(&message, &method.request_ids)).unwrap_or_default()
        } else {
            Vec::new()
        };
        let owners = [IdentityKind::PodUid, IdentityKind::Sandbox];
        for id in found.iter().filter(|id| id.produced || owners.contains(&id.kind)) {
            self.memory.account_for(&id.value);
        }
    }

    /// Keeps in mind what is no longer there, and what was not made.
    fn note_objects(&self, call: &Call, method: &Method, answer: &Answer) {
        if !call.outcome.is_ok() {
            return;
        }
        let mut ids = self.ids.borrow_mut();
        if matches!(method.name.as_str(), "RemoveContainer" | "RemovePodSandbox") {
            if answer.outcome.is_ok() {
                self.lives.note_removed(call, &self.script.survey.trajectory);
            }
            for (_, id) in request_ids(call) {
                self.script.survey.trajectory.containers_of(&id).for_each(|container| ids.remove(container));
                ids.remove(&id);
            }
        }
        drop(ids);
        if answer.outcome.is_ok() && makes(method) {
            let made = response_ids(call).into_iter().filter(|(_, _, produced)| *produced);
            made.for_each(|(_, id, _)| self.lives.note_made(id));
        }
        if !answer.outcome.is_ok() {
            self.note_not_made(call);
        } else if let Some(image) = pulled_image(call) {
            self.not_pulled.borrow_mut().remove(&image);
        }
    }

    /// Keeps in mind that what this call made when it was recorded is not there.
    pub(crate) fn note_not_made(&self, call: &Call) {
        for (kind, id, produced) in response_ids(call) {
            if produced {
                self.ids.borrow_mut().fail(kind, &id, call.id);
            }
        }
        if let Some(image) = pulled_image(call) {
            self.not_pulled.borrow_mut().insert(image, call.id);
        }
    }
}

/// Whether calls of this method make sandboxes or containers.
pub(crate) fn makes(method: &Method) -> bool {
    method.response_ids.iter().any(|id| id.produces && id.kind != IdentityKind::Image)
}

/// The image that this call pulled when it was recorded, in the full form of its reference.
fn pulled_image(call: &Call) -> Option<String> {
    let pulled = call.outcome.is_ok() && call.method().is_some_and(|method| method.name == "PullImage");
    let request = v1::PullImageRequest::decode(call.request().filter(|_| pulled)?.as_ref()).ok()?;
    request.image.map(|image| full(&image.image).unwrap_or(image.image))
}

/// Whether the recording says enough about the call for its answer to be compared.
fn is_comparable(call: &Call) -> bool {
    call.is_whole() && !matches!(call.outcome.ending, Ending::Truncated | Ending::Cancelled)
}

/// The differences that waiting may change.
pub(crate) fn waiting_for(call: &Call, compared: &Compared) -> Vec<Signature> {
    compared
        .divergences
        .iter()
        .filter(|divergence| divergence.settles)
        .map(|divergence| Signature::of(&call.path, divergence))
        .collect()
}
