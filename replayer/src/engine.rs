//! Sends the calls of a recording, each when its turn has come, and hands both answers to the differ.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZero;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cri::Method;
use cri::client::Clients;
use critape_calls::{Call, CallId, IdentityMap, Stamp, Unbound};
use critape_differ::{Comparer, Findings, Memory, Report, Rules, Signature};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::events;
use crate::footprint::Footprint;
use crate::footprint::cleanup::Cleaned;
use crate::judging::ledger::Ledger;
use crate::judging::oracles::Oracles;
use crate::preflight::Target;
use crate::recording::script::Script;
use crate::recording::{RecordingError, inconclusive_reason};
use crate::replay::{Config, Pace, Progress, ReplayError};
use crate::schedule::Schedule;
use crate::schedule::order::Order;
use crate::schedule::streams::Streams;
use crate::schedule::timer::Timer;
use crate::sending::images;
use crate::sending::presence::Presence;
use crate::sending::rewrite::{Rewritten, rewrite};
use crate::sending::uids;
use crate::sending::ways::Ways;
use crate::states::lives::Lives;
use crate::states::shown::Shown;
use crate::states::trajectory::Seen;

/// The longest time that something is waited for because the recording took so long.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How the turn of a call came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Where the call stands in the script.
    pub(crate) index: usize,
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
    pub(crate) ledger: Ledger,
    pub(crate) memory: Memory,
    /// Objects that a call under way changes, by recorded id, with the number of such calls.
    pub(crate) lives: Lives,
    pub(crate) order: Order,
    pub(crate) schedule: Schedule,
    pub(crate) streams: Streams,
    pub(crate) target: Target,
    /// What is asked in another way here than when it was recorded.
    pub(crate) ways: Ways,
    /// Whether the runtime still answers.
    pub(crate) presence: Presence,
    /// The rules where a generation is translated.
    translated_rules: Rules,
    pub(crate) footprint: Footprint,
    /// Whether an image was removed that may have been here before.
    pub(crate) has_removed_images: Cell<bool>,
    pub(crate) pulled: RefCell<BTreeSet<String>>,
    /// What the runtime answered, where it did not tell what was pulled.
    pub(crate) untold: RefCell<Option<String>>,
    /// Images that the recording pulled and the replay could not, by their references in full, each with the call.
    pub(crate) not_pulled: RefCell<HashMap<String, CallId>>,
    /// Removals of images that were left alone: which call, when it began in the recording, and all names of the image.
    pub(crate) images_left: RefCell<Vec<(CallId, Stamp, BTreeSet<String>)>>,
    /// Reads whose answers agreed.
    pub(crate) shown: RefCell<Shown>,
    /// Differences that did not go away by waiting: they are not waited for again.
    pub(crate) unsettled: RefCell<HashSet<Signature>>,
    /// Whether time spent waiting matters, and there is a processor for it.
    pub(crate) is_hurried: bool,
    done: Cell<usize>,
    pub(crate) begun: Cell<Instant>,
}

/// Notes the end of a call where it goes out of scope.
struct Ends<'a> {
    shared: &'a Shared,
    index: usize,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.shared.note_end(self.index);
    }
}

impl Engine {
    pub(crate) fn new(
        script: Script,
        config: Config,
        client: Clients,
        target: Target,
        footprint: Footprint,
    ) -> Result<Self, ReplayError> {
        let mut ids = IdentityMap::default();
        script.survey.declare(&mut ids);
        images::bind(&config.map_images, script.survey.references(), &mut ids);
        uids::bind_fresh(&script.survey.pod_uids, &mut ids).map_err(ReplayError::Random)?;
        let mut findings = Findings::default();
        findings.calls().recorded = script.calls.len() as u64;
        findings.collapse(script.collapsed.by_stand_in.clone());
        findings.clocks();
        let is_alone = std::thread::available_parallelism().map_or(1, NonZero::get) == 1;
        let shared = Shared {
            is_hurried: !matches!(config.pace, Pace::Recorded(_)) && !is_alone,
            order: Order::of(&script.calls),
            schedule: Schedule::of(&script.calls, &script.collapsed, &config),
            streams: Streams::of(&script),
            begun: Cell::new(Instant::now()),
            translated_rules: config.rules.clone().for_translation(),
            ways: Ways::default(),
            presence: Presence::default(),
            script,
            config,
            client,
            target,
            memory: Memory::of_run(&footprint.label),
            footprint,
            has_removed_images: Cell::new(false),
            ids: RefCell::new(ids),
            findings: RefCell::new(findings),
            oracles: RefCell::new(Oracles::new()),
            ledger: Ledger::default(),
            lives: Lives::default(),
            pulled: RefCell::default(),
            untold: RefCell::default(),
            not_pulled: RefCell::default(),
            images_left: RefCell::default(),
            shown: RefCell::default(),
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
        shared.note_connected();
        let mut tasks = JoinSet::new();
        // Whether a stream has just been opened.
        let mut begins = false;
        // When calls last had to wait: those behind go out in the order of their starts.
        let mut free = None;
        for index in 0..total {
            if shared.script.collapsed.is_collapsed(index) {
                shared.note_end(index);
                continue;
            }
            if let Some(reason) = shared.presence.why_gone() {
                shared.findings.borrow_mut().inconclusive(shared.script.calls[index].id, reason);
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
            if waited {
                free = Some(Instant::now());
            }
            let mut turn = Turn { index, due: shared.is_due(index), free };
            if let Pace::Recorded(_) = shared.config.pace {
                let due = timer.until(shared.due(index).into_std());
                shared.presence.unless_gone(due).await.unwrap_or(Ok(())).map_err(ReplayError::Timer)?;
            }
            let (own, on_progress) = (shared.clone(), on_progress.clone());
            let follows = shared.script.calls[index].is_event_stream;
            shared.streams.turn(index).await;
            let call = async move {
                // Also where it panics: others wait for it.
                let ended = Ends { shared: &own, index };
                if follows {
                    Box::pin(events::follow(&own, turn, &call)).await;
                } else {
                    if own.streams.follow(&own, index).await {
                        turn.free = Some(Instant::now());
                    }
                    own.call(turn, &call).await;
                }
                drop(ended);
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
            while let Some(ended) = tasks.try_join_next() {
                ended.map_err(ReplayError::Task)?;
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(ReplayError::Task)?;
        }
        shared.report_translations();
        Ok(())
    }

    /// Removes what the replay made.
    pub(crate) async fn clean(&self) -> Cleaned {
        let Shared { client, target, footprint, .. } = self.shared.as_ref();
        footprint.clean(client, target.generation, target.before()).await
    }

    /// Whether the runtime stopped answering, and still does not answer.
    pub(crate) async fn is_left_alone(&self) -> bool {
        self.shared.presence.is_gone() && !Box::pin(self.shared.answers_again()).await
    }

    /// Leaves what could not be removed to a later `sweep`.
    pub(crate) fn keep_footprint(&self) {
        self.shared.footprint.keep();
    }

    pub(crate) fn into_report(self) -> Report {
        let shared = &self.shared;
        let mut findings = shared.findings.take();
        shared.oracles.borrow().report(&shared.config.rules, &shared.script.veil, &mut findings);
        findings.add_units(&shared.memory, &shared.config.rules);
        let mut live = shared.target.side.clone();
        if let Some(spoken) = shared.ways.spoken_instead() {
            live.generation = spoken.to_string();
        }
        live.endpoint = Some(shared.config.endpoints.runtime.to_string());
        let config = &shared.config;
        let recorded = shared.script.survey.side();
        let mut report = findings.into_report(recorded, live, &config.rules, config.max_inconclusive);
        report.preflight.clone_from(&shared.target.limits.list);
        report
    }
}

impl Shared {
    pub(crate) fn comparer<'a>(&'a self, ids: &'a IdentityMap) -> Comparer<'a> {
        let rules =
            if self.ways.spoken_instead().is_some() { &self.translated_rules } else { &self.config.rules };
        Comparer::new(rules, ids, &self.memory)
    }

    pub(crate) fn seen(&self, call: &Call) -> Seen<'_> {
        Seen::of(call, &self.script.survey.trajectory, &self.lives)
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

    /// The request as it goes out, or nothing where it can't mean the same here. What it names and a call under way makes is waited for:
    /// its client had seen it in a list, or an event.
    pub(crate) async fn request(&self, turn: &mut Turn, call: &Call, method: &Method) -> Option<Bytes> {
        self.script.veil.learn(call);
        let reason = loop {
            match self.rewritten(call, method) {
                Rewritten::Request(bytes) => return Some(bytes),
                Rewritten::Inconclusive(reason) => break reason,
                Rewritten::NotYet(maker) => {
                    // Those that began before wait for none that began after.
                    let begun = &self.script.calls[..turn.index];
                    let place = begun.iter().position(|entry| entry.id == maker);
                    match place.filter(|place| !self.order.has_ended(*place)) {
                        Some(place) => self.order.end_of(place).await,
                        None => break inconclusive_reason(Unbound::NotYetMade(maker)),
                    }
                    turn.free = Some(Instant::now());
                }
            }
        };
        self.findings.borrow_mut().inconclusive(call.id, reason);
        self.note_not_made(call);
        None
    }

    fn rewritten(&self, call: &Call, method: &Method) -> Rewritten {
        let mut ids = self.ids.borrow_mut();
        rewrite(call, method, &mut ids, &self.footprint, self.config.credentials.as_ref())
    }

    fn note_end(&self, index: usize) {
        self.done.set(self.done.get() + 1);
        self.order.note_end(index);
    }
}
