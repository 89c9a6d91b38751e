//! Sends the calls of a recording, each when its turn has come, and hands both answers to the differ.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::{Class, Method};
use critape_calls::{Call, Code, Ending, IdentityMap, Live, Outcome, Recorded, Stamp, decode, merged};
use critape_differ::{Compared, Comparer, Findings, Memory, Report, Signature};
use prost_reflect::DynamicMessage;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::binding;
use crate::events;
use crate::preflight::Target;
use crate::recording::{Recording, is_event_stream, is_mutating, request_ids};
use crate::replay::{Config, Pace, Progress, ReplayError};
use crate::rewrite::{Rewritten, rewrite};
use crate::scratch::Scratch;
use crate::trajectory::{Seen, Trajectory};
use crate::uids;

/// First and longest pause before a read is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest time that a read is waited for because the recording took so long.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A replay that is under way. Everything is on one thread.
#[derive(Debug)]
pub(crate) struct Engine {
    shared: Rc<Shared>,
}

/// What all calls of a replay share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) recording: Recording,
    pub(crate) config: Config,
    pub(crate) client: Clients,
    pub(crate) ids: RefCell<IdentityMap>,
    pub(crate) findings: RefCell<Findings>,
    pub(crate) memory: Memory,
    pub(crate) trajectory: Trajectory,
    /// Objects that a call under way changes, by recorded id, with the number of such calls.
    pub(crate) changing: RefCell<HashMap<String, usize>>,
    /// How many calls of the order of ends have ended, up to the first that has not.
    pub(crate) ended: watch::Sender<usize>,
    target: Target,
    run: String,
    scratch: RefCell<Scratch>,
    pulled: RefCell<BTreeSet<String>>,
    /// Differences that did not go away by waiting: they are not waited for again.
    unsettled: RefCell<HashSet<Signature>>,
    /// Where each call stands in the order of ends.
    place: Vec<Option<usize>>,
    has_ended: RefCell<Vec<bool>>,
    done: Cell<usize>,
    /// When each call is due, from the beginning.
    due: Vec<Duration>,
}

impl Engine {
    pub(crate) fn new(
        recording: Recording,
        config: Config,
        client: Clients,
        target: Target,
        run: String,
    ) -> Result<Self, ReplayError> {
        let mut config = config;
        if !target.translated.is_empty() {
            config.rules = config.rules.for_translation();
        }
        let mut ids = IdentityMap::default();
        recording.declare(&mut ids);
        uids::bind_fresh(&recording.calls, &mut ids).map_err(ReplayError::Random)?;
        let order = recording.by_end();
        let mut place = vec![None; recording.calls.len()];
        for (at, index) in order.iter().enumerate() {
            place[*index] = Some(at);
        }
        let mut findings = Findings::default();
        findings.calls().recorded = recording.calls.len() as u64;
        let shared = Shared {
            due: schedule(&recording.calls, &config),
            trajectory: Trajectory::of(&recording),
            has_ended: RefCell::new(vec![false; order.len()]),
            scratch: RefCell::new(Scratch::new().map_err(ReplayError::Scratch)?),
            recording,
            config,
            client,
            target,
            run,
            ids: RefCell::new(ids),
            findings: RefCell::new(findings),
            memory: Memory::default(),
            changing: RefCell::default(),
            ended: watch::Sender::new(0),
            pulled: RefCell::default(),
            unsettled: RefCell::default(),
            place,
            done: Cell::new(0),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// Sends everything; must run inside a `LocalSet`.
    pub(crate) async fn run(&self, on_progress: impl Fn(Progress) + 'static) {
        let shared = &self.shared;
        let on_progress = Rc::new(on_progress);
        let total = shared.recording.calls.len();
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for (index, needed) in shared.recording.predecessors().into_iter().enumerate() {
            if shared.config.pace != Pace::Serial {
                shared.wait_for(needed).await;
            }
            if let Pace::Recorded(_) = shared.config.pace {
                tokio::time::sleep_until(begun + shared.due[index]).await;
            }
            let (own, on_progress) = (shared.clone(), on_progress.clone());
            let follows = is_event_stream(&shared.recording.calls[index]);
            let call = async move {
                if follows {
                    events::follow(&own, index, begun).await;
                } else {
                    own.call(index).await;
                }
                own.note_end(index);
                on_progress(Progress { done: own.done.get(), total });
            };
            if shared.config.pace == Pace::Serial && !follows {
                call.await;
            } else {
                tasks.spawn_local(call);
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        shared.report_translations();
    }

    /// Images that the replay pulled and that were not there before.
    pub(crate) fn pulled_images(&self) -> BTreeSet<String> {
        self.shared.pulled.borrow().difference(&self.shared.target.images).cloned().collect()
    }

    pub(crate) fn into_report(self) -> Report {
        let shared = &self.shared;
        let findings = shared.findings.take();
        findings.into_report(
            shared.recording.side.clone(),
            shared.target.side.clone(),
            shared.config.max_inconclusive,
        )
    }
}

/// When each call is due: as recorded, without idle stretches that are too long, and as much faster as was asked for.
fn schedule(calls: &[Call], config: &Config) -> Vec<Duration> {
    let speed = match config.pace {
        Pace::Recorded(speed) if speed > 0.0 => speed,
        _ => 1.0,
    };
    let first = calls.first().map_or(Stamp(0), |call| call.started);
    let mut busy_until = first;
    let mut left_out = Duration::ZERO;
    calls
        .iter()
        .map(|call| {
            let idle = call.started.since(busy_until);
            left_out += idle.saturating_sub(config.max_idle);
            let end = if is_event_stream(call) { call.started } else { call.ended };
            busy_until = busy_until.max(end);
            call.started.since(first).saturating_sub(left_out).div_f64(speed)
        })
        .collect()
}

impl Shared {
    pub(crate) fn comparer<'a>(&'a self, ids: &'a IdentityMap) -> Comparer<'a> {
        Comparer::new(&self.config.rules, ids, &self.memory)
    }

    pub(crate) fn seen(&self, call: &Call) -> Seen<'_> {
        Seen { trajectory: &self.trajectory, from: call.started, to: call.ended, changing: &self.changing }
    }

    /// The time from the beginning at which this recorded moment is due, for what is no call's start.
    pub(crate) fn due_at(&self, at: Stamp) -> Duration {
        let calls = &self.recording.calls;
        let after = calls.partition_point(|call| call.started <= at);
        match after.checked_sub(1) {
            Some(index) => self.due[index] + at.since(calls[index].started).min(self.config.max_idle),
            None => Duration::ZERO,
        }
    }

    /// Waits until this many calls of the order of ends have ended.
    pub(crate) async fn wait_for(&self, count: usize) {
        // The sender lives as long as this.
        let _ = self.ended.subscribe().wait_for(|ended| *ended >= count).await;
    }

    /// The request as it goes out, or nothing where it can't mean the same here.
    pub(crate) fn request(&self, call: &Call, method: &Method) -> Option<Bytes> {
        let mut ids = self.ids.borrow_mut();
        match rewrite(call, method, &mut ids, &mut self.scratch.borrow_mut(), &self.run) {
            Rewritten::Request(bytes) => Some(bytes),
            Rewritten::Inconclusive(reason) => {
                self.findings.borrow_mut().inconclusive(call.id, reason);
                None
            }
        }
    }

    /// The path to ask at, where the live runtime speaks another generation.
    pub(crate) fn live_path(&self, call: &Call) -> String {
        let translated = call.method().and_then(|method| {
            let generation = self.target.translated.get(&method.generation)?;
            method.in_generation(*generation)
        });
        translated.map_or_else(|| call.path.clone(), |method| method.path.clone())
    }

    fn note_end(&self, index: usize) {
        self.done.set(self.done.get() + 1);
        let Some(place) = self.place[index] else { return };
        let mut has_ended = self.has_ended.borrow_mut();
        has_ended[place] = true;
        let first = *self.ended.borrow();
        let count = has_ended[first..].iter().take_while(|ended| **ended).count();
        if count > 0 {
            self.ended.send_modify(|ended| *ended += count);
        }
    }

    async fn call(&self, index: usize) {
        let call = &self.recording.calls[index];
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
        let answer = self.ask_until_settled(call, method, request).await;
        self.unmark_changing(&changed);
        self.note_pulled(method, &answer).await;
        self.judge(call, method, &answer);
    }

    /// A method that the schema doesn't have: its bytes go out as they are, and its outcome is compared.
    async fn unknown_call(&self, call: &Call) {
        let Some(request) = call.request() else {
            self.findings.borrow_mut().inconclusive(call.id, "its request was not recorded".to_owned());
            return;
        };
        self.findings.borrow_mut().calls().sent += 1;
        let answer =
            answer::ask(self.client.for_path(&call.path), &call.path, request.clone(), call.deadline, None)
                .await;
        let ids = self.ids.borrow();
        let name = call.path.rsplit('/').next().unwrap_or_default();
        let compared = self.comparer(&ids).outcomes(name, Recorded(&call.outcome), Live(&answer.outcome));
        self.findings.borrow_mut().add(&call.path, Some(call.id), None, compared);
    }

    /// Asks; where the answer to a read shows a state that waiting may change, asks again.
    async fn ask_until_settled(&self, call: &Call, method: &Method, request: Bytes) -> Answer {
        let path = self.live_path(call);
        let cancel_after = (call.outcome.ending == Ending::Cancelled).then(|| call.duration());
        let ask =
            || answer::ask(self.client.for_path(&path), &path, request.clone(), call.deadline, cancel_after);
        let mut answer = ask().await;
        if method.class != Class::ReadOnly || !is_comparable(call) {
            return answer;
        }
        let until = Instant::now() + self.patience(call);
        let mut pause = FIRST_PAUSE;
        let mut asked = 1;
        while self.may_settle(call, method, &answer) && Instant::now() < until {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            answer = ask().await;
            asked += 1;
        }
        if asked > 1 {
            let left = self.waiting_for(call, method, &answer);
            if left.is_empty() {
                self.findings.borrow_mut().calls().settled += 1;
            }
            self.unsettled.borrow_mut().extend(left);
        }
        answer
    }

    /// How long a read may be asked again: as long as the recording took to get there, where this replay is faster, and a while
    /// beyond.
    fn patience(&self, call: &Call) -> Duration {
        let recorded = match self.config.pace {
            Pace::Recorded(speed) if speed <= 1.0 => Duration::ZERO,
            _ => {
                let before = self.recording.calls.iter().take_while(|other| other.started < call.started);
                let changed = before.filter(|other| is_mutating(other)).map(|other| other.ended).max();
                changed.map_or(Duration::ZERO, |changed| call.started.since(changed)).min(LONGEST_WAIT)
            }
        };
        recorded + self.config.settle
    }

    fn may_settle(&self, call: &Call, method: &Method, answer: &Answer) -> bool {
        let waiting = self.waiting_for(call, method, answer);
        let unsettled = self.unsettled.borrow();
        waiting.iter().any(|signature| !unsettled.contains(signature))
    }

    /// The differences that waiting may change.
    fn waiting_for(&self, call: &Call, method: &Method, answer: &Answer) -> Vec<Signature> {
        let compared = self.compare(call, method, answer);
        compared
            .divergences
            .iter()
            .filter(|divergence| divergence.settles)
            .map(|divergence| Signature::of(&call.path, divergence))
            .collect()
    }

    /// Binds what both answers say, compares them, and keeps what was found.
    fn judge(&self, call: &Call, method: &Method, answer: &Answer) {
        if call.outcome.ending == Ending::Truncated {
            self.findings.borrow_mut().inconclusive(call.id, "its end is not on the tape".to_owned());
            return;
        }
        if !call.is_whole() {
            self.findings.borrow_mut().inconclusive(call.id, "its answer was not recorded".to_owned());
            return;
        }
        if let Some((recorded, live)) = both_answers(call, method, answer) {
            binding::bind(method, Recorded(&recorded), Live(&live), &mut self.ids.borrow_mut());
        }
        let compared = self.compare(call, method, answer);
        tracing::debug!(call = call.id.0, method = %method.name, lasted = ?answer.lasted, divergences = compared.divergences.len(), "compared");
        self.findings.borrow_mut().add(&call.path, Some(call.id), None, compared);
    }

    fn compare(&self, call: &Call, method: &Method, answer: &Answer) -> Compared {
        let ids = self.ids.borrow();
        let comparer = self.comparer(&ids);
        // What the client broke off may have ended by itself here; there is nothing to hold it against.
        if call.outcome.ending == Ending::Cancelled {
            return Compared::default();
        }
        let mut compared = comparer.outcomes(&method.name, Recorded(&call.outcome), Live(&answer.outcome));
        if let Some((recorded, live)) = both_answers(call, method, answer) {
            let messages = comparer.messages(method, Recorded(&recorded), Live(&live), &self.seen(call));
            compared.merge(messages);
        }
        compared
    }

    /// What is left alone because it would change the node beyond the replay's own pods.
    async fn reason_to_skip(&self, call: &Call, method: &Method) -> Option<String> {
        if self.config.allow_node_changes {
            return None;
        }
        match method.name.as_str() {
            "UpdateRuntimeConfig" => Some("it changes the node; --allow-node-changes sends it".to_owned()),
            "RemoveImage" => {
                let (_, image) = request_ids(call).into_iter().next()?;
                let image = self.ids.borrow().to_live(&image);
                let id = self.live_image(&image).await?;
                let ours = self.pulled.borrow().contains(&id) && !self.target.images.contains(&id);
                (!ours).then(|| {
                    "it removes an image that was here before; --allow-node-changes sends it".to_owned()
                })
            }
            _ => None,
        }
    }

    /// The id of an image on the live runtime.
    async fn live_image(&self, image: &str) -> Option<String> {
        use prost::Message as _;
        let spec = cri::v1::ImageSpec { image: image.to_owned(), ..Default::default() };
        let request = cri::v1::ImageStatusRequest { image: Some(spec), verbose: false };
        let status: cri::v1::ImageStatusResponse = crate::preflight::read(
            &self.client,
            self.target.generation,
            "ImageStatus",
            request.encode_to_vec().into(),
        )
        .await
        .ok()?;
        status.image.map(|image| image.id)
    }

    /// Keeps the id of what was pulled; the answer may name it in another way.
    async fn note_pulled(&self, method: &Method, answer: &Answer) {
        use prost::Message as _;
        if method.name != "PullImage" || !answer.outcome.is_ok() {
            return;
        }
        if let Ok(pulled) = cri::v1::PullImageResponse::decode(answer.message.as_ref())
            && let Some(id) = self.live_image(&pulled.image_ref).await
        {
            self.pulled.borrow_mut().insert(id);
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

    /// A generation that was spoken when recorded and is not served here is a finding, once.
    fn report_translations(&self) {
        for recorded in self.target.translated.keys() {
            let Some(version) = cri::methods().by_name(*recorded, "Version") else { continue };
            let outcome = |code: Code| Outcome { code, ..answer::cancelled() };
            let ids = self.ids.borrow();
            let mut compared = self.comparer(&ids).outcomes(
                &version.name,
                Recorded(&outcome(Code::OK)),
                Live(&outcome(Code::UNIMPLEMENTED)),
            );
            let mut findings = self.findings.borrow_mut();
            for mut divergence in compared.divergences.drain(..) {
                divergence.kind = critape_differ::Kind::Capability;
                findings.add_divergence(&version.path, None, None, divergence);
            }
        }
    }
}

/// Whether the recording says enough about the call for its answer to be compared.
fn is_comparable(call: &Call) -> bool {
    call.is_whole() && !matches!(call.outcome.ending, Ending::Truncated | Ending::Cancelled)
}

/// Both answers, where both calls went well and can be read.
fn both_answers(call: &Call, method: &Method, answer: &Answer) -> Option<(DynamicMessage, DynamicMessage)> {
    if !call.outcome.is_ok() || !answer.outcome.is_ok() {
        return None;
    }
    let recorded = decode(method.output(), &merged(call)?)?;
    let live = decode(method.output(), &answer.message)?;
    Some((recorded, live))
}
