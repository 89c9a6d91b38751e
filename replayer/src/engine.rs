//! Sends the calls of a recording, each when its turn has come, and hands both answers to the differ.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::{Generation, Method};
use critape_calls::{Call, Code, Ending, IdentityMap, Live, Outcome, Recorded};
use critape_differ::{Comparer, Findings, Ids, Memory, Report, Rules, Signature};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::events;
use crate::oracles::Oracles;
use crate::order::Order;
use crate::preflight::{Target, speaks};
use crate::recording::RecordingError;
use crate::replay::{Config, Pace, Progress, ReplayError};
use crate::rewrite::{Rewritten, rewrite};
use crate::schedule::Schedule;
use crate::scratch::Scratch;
use crate::script::Script;
use crate::streams::Streams;
use crate::timer::Timer;
use crate::trajectory::Seen;
use crate::uids;

/// The longest time that something is waited for because the recording took so long.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How the turn of a call came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// When it was due, at the recorded pace.
    pub(crate) due: Option<Instant>,
    /// When what it follows from had happened, where it had to wait for that.
    pub(crate) free: Option<Instant>,
}

/// A replay that is under way. Everything is on one thread.
#[derive(Debug)]
pub(crate) struct Engine {
    shared: Rc<Shared>,
}

/// What all calls of a replay share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) script: Script,
    pub(crate) config: Config,
    pub(crate) client: Clients,
    pub(crate) ids: RefCell<IdentityMap>,
    pub(crate) findings: RefCell<Findings>,
    pub(crate) oracles: RefCell<Oracles>,
    pub(crate) memory: Memory,
    /// Objects that a call under way changes, by recorded id, with the number of such calls.
    pub(crate) changing: RefCell<HashMap<String, usize>>,
    pub(crate) order: Order,
    pub(crate) schedule: Schedule,
    pub(crate) streams: Streams,
    pub(crate) target: Target,
    /// Generations of the tape that are not served here, and the one that stands in for each.
    pub(crate) translated: RefCell<BTreeMap<Generation, Generation>>,
    /// The rules where a generation is translated.
    translated_rules: Rules,
    run: String,
    scratch: RefCell<Scratch>,
    pub(crate) pulled: RefCell<BTreeSet<String>>,
    /// Differences that did not go away by waiting: they are not waited for again.
    pub(crate) unsettled: RefCell<HashSet<Signature>>,
    done: Cell<usize>,
    pub(crate) begun: Cell<Instant>,
}

impl Engine {
    pub(crate) fn new(
        script: Script,
        config: Config,
        client: Clients,
        target: Target,
        run: String,
    ) -> Result<Self, ReplayError> {
        let mut ids = IdentityMap::default();
        script.survey.declare(&mut ids);
        uids::bind_fresh(&script.survey.pod_uids, &mut ids).map_err(ReplayError::Random)?;
        let mut findings = Findings::default();
        findings.calls().recorded = script.calls.len() as u64;
        findings.collapse(script.collapsed.by_stand_in.clone());
        findings.clocks();
        let shared = Shared {
            order: Order::of(&script.calls),
            schedule: Schedule::of(&script.calls, &script.collapsed, &config),
            streams: Streams::of(&script),
            begun: Cell::new(Instant::now()),
            scratch: RefCell::new(Scratch::new().map_err(ReplayError::Scratch)?),
            translated_rules: config.rules.clone().for_translation(),
            translated: RefCell::default(),
            script,
            config,
            client,
            target,
            run,
            ids: RefCell::new(ids),
            findings: RefCell::new(findings),
            oracles: RefCell::new(Oracles::new()),
            memory: Memory::default(),
            changing: RefCell::default(),
            pulled: RefCell::default(),
            unsettled: RefCell::default(),
            done: Cell::new(0),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// Sends everything; must run inside a `LocalSet`.
    pub(crate) async fn run(&self, on_progress: impl Fn(Progress) + 'static) -> Result<(), ReplayError> {
        let shared = &self.shared;
        let on_progress = Rc::new(on_progress);
        let total = shared.script.calls.len();
        let mut reader = shared.script.reader().map_err(RecordingError::Tape)?;
        let timer = Timer::new().map_err(ReplayError::Timer)?;
        shared.begun.set(Instant::now());
        let mut tasks = JoinSet::new();
        // Whether a stream has just been opened.
        let mut begins = false;
        for index in 0..total {
            if shared.script.collapsed.is_collapsed(index) {
                shared.note_end(index);
                continue;
            }
            let Some(call) = reader.take(index).await.map_err(RecordingError::Tape)? else {
                let gone = "its segment was deleted while the tape was replayed".to_owned();
                shared.findings.borrow_mut().inconclusive(shared.script.calls[index].id, gone);
                shared.note_end(index);
                continue;
            };
            let waited = shared.config.pace != Pace::Serial && shared.order.turn(index).await;
            let waited = std::mem::take(&mut begins) || waited;
            let mut turn = Turn { due: shared.is_due(index), free: waited.then(Instant::now) };
            if let Pace::Recorded(_) = shared.config.pace {
                timer.until(shared.due(index).into_std()).await.map_err(ReplayError::Timer)?;
            }
            let (own, on_progress) = (shared.clone(), on_progress.clone());
            let follows = shared.script.calls[index].is_event_stream;
            shared.streams.turn(index).await;
            let call = async move {
                if follows {
                    events::follow(&own, index, &call).await;
                } else {
                    if own.streams.follow(&own, index).await {
                        turn.free = Some(Instant::now());
                    }
                    own.call(turn, &call).await;
                }
                own.note_end(index);
                on_progress(Progress { done: own.done.get(), total });
            };
            if shared.config.pace == Pace::Serial && !follows {
                call.await;
            } else {
                tasks.spawn_local(call);
            }
            if let Some(stream) = shared.streams.at(index) {
                stream.until_it_stands().await;
                begins = true;
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        shared.report_translations();
        Ok(())
    }

    /// Images that the replay pulled and that were not there before.
    pub(crate) fn pulled_images(&self) -> BTreeSet<String> {
        self.shared.pulled.borrow().difference(&self.shared.target.images).cloned().collect()
    }

    pub(crate) fn into_report(self) -> Report {
        let shared = &self.shared;
        let mut findings = shared.findings.take();
        shared.oracles.borrow().report(&shared.config.rules, &shared.script.veil, &mut findings);
        let mut live = shared.target.side.clone();
        if let Some(spoken) = shared.translated.borrow().values().next() {
            live.generation = spoken.to_string();
        }
        live.endpoint = Some(shared.config.endpoints.runtime.to_string());
        let config = &shared.config;
        findings.into_report(shared.script.survey.side(), live, &config.rules, config.max_inconclusive)
    }
}

impl Shared {
    pub(crate) fn comparer<'a>(&'a self, ids: &'a IdentityMap) -> Comparer<'a> {
        let translated = !self.translated.borrow().is_empty();
        let rules = if translated { &self.translated_rules } else { &self.config.rules };
        Comparer::new(rules, ids, &self.memory)
    }

    pub(crate) fn seen(&self, call: &Call) -> Seen<'_> {
        Seen {
            trajectory: &self.script.survey.trajectory,
            from: call.started,
            to: call.ended,
            changing: &self.changing,
        }
    }

    fn due(&self, index: usize) -> Instant {
        self.begun.get() + self.schedule.due(index)
    }

    /// When the call is due, where the pace says so.
    fn is_due(&self, index: usize) -> Option<Instant> {
        matches!(self.config.pace, Pace::Recorded(_)).then(|| self.due(index))
    }

    /// Takes note that a call is sent now.
    pub(crate) fn note_sent(&self, turn: Turn) {
        let mut findings = self.findings.borrow_mut();
        findings.calls().sent += 1;
        if let Some(due) = turn.due {
            let ready = turn.free.map_or(due, |free| free.max(due));
            findings.clocks().sent(ready.elapsed());
            if ready > due {
                findings.clocks().held_up(ready - due);
            }
        }
    }

    /// How long to wait for something that took so long in the recording, and a while beyond.
    pub(crate) fn patience(&self, recorded: Duration) -> Duration {
        let recorded = if self.schedule.is_shorter { recorded.min(LONGEST_WAIT) } else { Duration::ZERO };
        recorded + self.config.settle
    }

    /// The request as it goes out, or nothing where it can't mean the same here.
    pub(crate) fn request(&self, call: &Call, method: &Method) -> Option<Bytes> {
        self.script.veil.learn(call);
        let mut ids = self.ids.borrow_mut();
        match rewrite(call, method, &mut ids, &mut self.scratch.borrow_mut(), &self.run) {
            Rewritten::Request(bytes) => Some(bytes),
            Rewritten::Inconclusive(reason) => {
                self.findings.borrow_mut().inconclusive(call.id, reason);
                None
            }
        }
    }

    /// The method to ask in place of this one, where its generation is not served here. A call that was refused when it was
    /// recorded goes where it went.
    pub(crate) fn stand_in(&self, call: &Call, method: &'static Method) -> &'static Method {
        if call.outcome.code == Code::UNIMPLEMENTED {
            return method;
        }
        let translated = self.translated.borrow();
        translated.get(&method.generation).and_then(|other| method.in_generation(*other)).unwrap_or(method)
    }

    /// Whether this answer says that the generation is not served here, though it was when recorded. Found out once, by the
    /// first call that meets it.
    pub(crate) async fn turns_out_unserved(&self, call: &Call, method: &Method, answer: &Answer) -> bool {
        let alike = |generation| generation != Generation::V1Alpha1;
        let (recorded, live) = (method.generation, self.target.generation);
        if answer.outcome.code != Code::UNIMPLEMENTED
            || call.outcome.code == Code::UNIMPLEMENTED
            || recorded == live
            // The messages of v1 and v1alpha2 are the same; those of v1alpha1 are not.
            || !(alike(recorded) && alike(live))
            || self.translated.borrow().contains_key(&recorded)
            || speaks(&self.client, recorded).await
        {
            return false;
        }
        self.translated.borrow_mut().insert(recorded, live);
        true
    }

    fn note_end(&self, index: usize) {
        self.done.set(self.done.get() + 1);
        self.order.note_end(index);
    }

    /// A generation that was spoken when recorded and is not served here is a finding, once.
    fn report_translations(&self) {
        for recorded in self.translated.borrow().keys() {
            let Some(version) = cri::methods().by_name(*recorded, "Version") else { continue };
            let outcome = |code: Code| Outcome { ending: Ending::Status, code, ..answer::cancelled() };
            let ids = self.ids.borrow();
            let mut compared = self.comparer(&ids).outcomes(
                &version.name,
                Recorded(&outcome(Code::OK)),
                Live(&outcome(Code::UNIMPLEMENTED)),
            );
            let mut findings = self.findings.borrow_mut();
            for mut divergence in compared.divergences.drain(..) {
                divergence.kind = critape_differ::Kind::Capability;
                findings.add_divergence(&version.path, &Ids::default(), divergence);
            }
        }
    }
}
