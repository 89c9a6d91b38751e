//! Sends the calls of a recording, each when its turn has come, and hands both answers to the differ.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cri::Method;
use cri::client::Clients;
use critape_calls::{Call, IdentityMap, Stamp};
use critape_differ::{Comparer, Findings, Memory, Report, Rules, Signature};
use critape_tape::TapeError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::events;
use crate::oracles::Oracles;
use crate::preflight::Target;
use crate::replay::{Config, Pace, Progress, ReplayError};
use crate::rewrite::{Rewritten, rewrite};
use crate::scratch::Scratch;
use crate::script::{Entry, Script};
use crate::trajectory::Seen;
use crate::uids;
use crate::ways::Ways;

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
    /// How many calls of the order of ends have ended, up to the first that has not.
    pub(crate) ended: watch::Sender<usize>,
    pub(crate) target: Target,
    /// What is asked in another way here than when it was recorded.
    pub(crate) ways: Ways,
    /// The rules where a generation is translated.
    translated_rules: Rules,
    run: String,
    scratch: RefCell<Scratch>,
    pub(crate) pulled: RefCell<BTreeSet<String>>,
    /// Differences that did not go away by waiting: they are not waited for again.
    pub(crate) unsettled: RefCell<HashSet<Signature>>,
    /// Where each call stands in the order of ends.
    place: Vec<Option<usize>>,
    has_ended: RefCell<Vec<bool>>,
    done: Cell<usize>,
    /// When each call is due, from the beginning.
    due: Vec<Duration>,
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
        let order = script.by_end();
        let mut place = vec![None; script.calls.len()];
        for (at, index) in order.iter().enumerate() {
            place[*index] = Some(at);
        }
        let mut findings = Findings::default();
        findings.calls().recorded = script.calls.len() as u64;
        let shared = Shared {
            due: schedule(&script.calls, &config),
            has_ended: RefCell::new(vec![false; order.len()]),
            scratch: RefCell::new(Scratch::new().map_err(ReplayError::Scratch)?),
            translated_rules: config.rules.clone().for_translation(),
            ways: Ways::default(),
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
            ended: watch::Sender::new(0),
            pulled: RefCell::default(),
            unsettled: RefCell::default(),
            place,
            done: Cell::new(0),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// Sends everything; must run inside a `LocalSet`.
    pub(crate) async fn run(&self, on_progress: impl Fn(Progress) + 'static) -> Result<(), TapeError> {
        let shared = &self.shared;
        let on_progress = Rc::new(on_progress);
        let total = shared.script.calls.len();
        let mut reader = shared.script.reader()?;
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for (index, needed) in shared.script.predecessors().into_iter().enumerate() {
            let Some(call) = reader.take(index).await? else {
                let gone = "its segment was deleted while the tape was replayed".to_owned();
                shared.findings.borrow_mut().inconclusive(shared.script.calls[index].id, gone);
                shared.note_end(index);
                continue;
            };
            if shared.config.pace != Pace::Serial {
                shared.wait_for(needed).await;
            }
            if let Pace::Recorded(_) = shared.config.pace {
                tokio::time::sleep_until(begun + shared.due[index]).await;
            }
            let (own, on_progress) = (shared.clone(), on_progress.clone());
            let follows = shared.script.calls[index].is_event_stream;
            let call = async move {
                if follows {
                    events::follow(&own, &call, begun).await;
                } else {
                    own.call(index, &call).await;
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
        if let Some(spoken) = shared.ways.spoken_instead() {
            live.generation = spoken.to_string();
        }
        live.endpoint = Some(shared.config.endpoints.runtime.to_string());
        let config = &shared.config;
        findings.into_report(shared.script.survey.side(), live, &config.rules, config.max_inconclusive)
    }
}

/// When each call is due: as recorded, without idle stretches that are too long, and as much faster as was asked for.
fn schedule(calls: &[Entry], config: &Config) -> Vec<Duration> {
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
            let end = if call.is_event_stream { call.started } else { call.ended };
            busy_until = busy_until.max(end);
            call.started.since(first).saturating_sub(left_out).div_f64(speed)
        })
        .collect()
}

impl Shared {
    pub(crate) fn comparer<'a>(&'a self, ids: &'a IdentityMap) -> Comparer<'a> {
        let rules =
            if self.ways.spoken_instead().is_some() { &self.translated_rules } else { &self.config.rules };
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

    /// The time from the beginning at which this recorded moment is due, for what is no call's start.
    pub(crate) fn due_at(&self, at: Stamp) -> Duration {
        let calls = &self.script.calls;
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
}
