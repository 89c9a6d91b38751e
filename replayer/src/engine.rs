//! Sends the calls of a recording, each when its turn has come, and hands both answers to the differ.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::{Generation, Method};
use critape_calls::{Call, Code, Ending, IdentityMap, Live, Outcome, Recorded, Stamp};
use critape_differ::{Comparer, Findings, Ids, Memory, Report, Rules, Signature};
use critape_tape::TapeError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::events;
use crate::footprint::Footprint;
use crate::images;
use crate::oracles::Oracles;
use crate::preflight::{Target, speaks};
use crate::replay::{Config, Pace, Progress, ReplayError};
use crate::rewrite::{Rewritten, rewrite};
use crate::script::{Entry, Script};
use crate::trajectory::Seen;
use crate::uids;

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
    /// Generations of the tape that are not served here, and the one that stands in for each.
    pub(crate) translated: RefCell<BTreeMap<Generation, Generation>>,
    /// The rules where a generation is translated.
    translated_rules: Rules,
    pub(crate) footprint: Footprint,
    /// Whether an image was removed that may have been here before.
    pub(crate) has_removed_images: Cell<bool>,
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
        footprint: Footprint,
    ) -> Result<Self, ReplayError> {
        let mut ids = IdentityMap::default();
        script.survey.declare(&mut ids);
        images::bind(&config.map_images, script.survey.references(), &mut ids);
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
            translated_rules: config.rules.clone().for_translation(),
            translated: RefCell::default(),
            script,
            config,
            client,
            target,
            footprint,
            has_removed_images: Cell::new(false),
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

    /// Leaves what could not be removed to a later `sweep`.
    pub(crate) fn keep_footprint(&self) {
        self.shared.footprint.keep();
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
        let recorded = shared.script.survey.side();
        let mut report = findings.into_report(recorded, live, &config.rules, config.max_inconclusive);
        report.preflight.clone_from(&shared.target.limits.list);
        report
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
        match rewrite(call, method, &mut ids, &self.footprint, self.config.credentials.as_ref()) {
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
        let Some(place) = self.place[index] else { return };
        let mut has_ended = self.has_ended.borrow_mut();
        has_ended[place] = true;
        let first = *self.ended.borrow();
        let count = has_ended[first..].iter().take_while(|ended| **ended).count();
        if count > 0 {
            self.ended.send_modify(|ended| *ended += count);
        }
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
