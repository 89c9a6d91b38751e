//! The oracles alone, on a live runtime: no tape is needed.
//!
//! It reads what is there. Only where it is asked to does it make a pod of its own, in the way that a replay does: labelled, with
//! its files in a folder of its own, and removed at the end.

mod active;
mod noted;
mod reads;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::endpoint::Endpoints;
use cri::{Generation, Method, methods};
use critape_calls::Code;
use critape_differ::{CallCounts, Exchange, Findings, Observer, Report, Rules, SideInfo};
use prost::Message;

use crate::footprint::Owner;
use crate::footprint::cleanup::{Made, clean};
use crate::judging::witness::{Alone, Veil};
use crate::preflight;
use crate::recording::hindsight::Past;
use crate::replay::{LATE_COMERS, ReplayError};
use crate::schedule::clock::Clock;
use crate::sending::answer::{self, Answer, Patience};
use noted::Noted;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How a runtime is checked.
#[derive(Clone, Debug)]
pub struct CheckConfig {
    /// The runtime.
    pub endpoints: Endpoints,
    /// What may be let pass: the rules with which nothing is compared.
    pub rules: Rules,
    /// Whether a pod may be made.
    pub active: bool,
    /// The image of its container; without it, one that is there.
    pub image: Option<String>,
}

/// A check under way.
struct Check {
    client: Clients,
    generation: Generation,
    witness: Observer,
    past: Past,
    clock: Clock,
    calls: u64,
    /// Ids of sandboxes that it made.
    made: BTreeSet<String>,
    /// References of images that it pulled, which may have been there under another name.
    pulled: BTreeSet<String>,
    /// Whether listening to events would take them from others.
    must_not_listen: bool,
    /// What could not be looked at, and why.
    unchecked: Vec<String>,
}

/// Holds a runtime against the oracles, until all is looked at or `shutdown` completes. What was made is removed either way.
pub async fn check(config: &CheckConfig, shutdown: impl Future<Output = ()>) -> Result<Report, ReplayError> {
    let mut shutdown = std::pin::pin!(shutdown);
    let client = Clients::connect(&config.endpoints).await?;
    let target = tokio::select! {
        target = preflight::look(&client, None) => target?,
        () = &mut shutdown => return Err(ReplayError::Interrupted { removed: 0 }),
    };
    let run = Owner::this_run().map_err(ReplayError::Random)?.to_string();
    let mut check = Check {
        client: client.clone(),
        generation: target.generation,
        witness: Observer::default(),
        past: Past::default(),
        clock: Clock::new(),
        calls: 0,
        must_not_listen: target.has_jealous_listeners(),
        made: BTreeSet::new(),
        pulled: BTreeSet::new(),
        unchecked: Vec::new(),
    };
    let finished = tokio::select! {
        ran = check.run(config, &run) => Some(ran),
        () = &mut shutdown => None,
    };
    if finished.is_none() {
        // What was being made when we were told to stop may still appear.
        tokio::time::sleep(LATE_COMERS).await;
    }
    let removed = if config.active {
        let made = Made { run: &run, sandboxes: &check.made, images: &check.pulled };
        let cleaned = clean(&client, target.generation, made, target.before(), &BTreeSet::new()).await;
        for left in &cleaned.left {
            tracing::warn!(what = %left, "could not be removed: `critape replay --clean` tries again");
        }
        cleaned.sandboxes
    } else {
        0
    };
    match finished {
        None => Err(ReplayError::Interrupted { removed }),
        Some(ran) => {
            ran?;
            let live = SideInfo { endpoint: Some(config.endpoints.runtime.to_string()), ..target.side };
            Ok(check.into_report(live, &config.rules))
        }
    }
}

impl Check {
    async fn run(&mut self, config: &CheckConfig, run: &str) -> Result<(), ReplayError> {
        self.read().await;
        if config.active {
            self.make_and_remove(config.image.as_deref(), run).await?;
        } else {
            self.unchecked.push("what takes a pod: add --active, and one is made and removed".to_owned());
        }
        Ok(())
    }

    /// One call; what it says is held against the oracles.
    async fn ask<A: Message + Default>(&mut self, rpc: &str, request: &impl Message) -> Option<A> {
        let method = methods().by_name(self.generation, rpc)?;
        let request = Bytes::from(request.encode_to_vec());
        let started = self.clock.now();
        let client = self.client.for_path(&method.path);
        let answer =
            answer::ask(client, &method.path, request.clone(), Some(DEADLINE), Patience::Endless).await;
        self.note(method, &request, started, &answer);
        if !answer.outcome.is_ok() {
            return None;
        }
        A::decode(answer.message.as_ref()).ok()
    }

    fn note(&mut self, method: &Method, request: &Bytes, started: Duration, answer: &Answer) {
        self.calls += 1;
        let Answer { outcome, message: response, .. } = answer;
        let ended = self.clock.now();
        let responses = outcome.is_ok().then(|| response.clone());
        let noted = Noted::new(self.calls, &method.path, request, responses, outcome, (started, ended));
        let exchange = Exchange { method, request, outcome, response, started, ended };
        self.witness.observe(&noted, &exchange);
        self.past.add_with_names(noted.call());
        if outcome.code == Code::UNIMPLEMENTED {
            self.leave_out(format!("{}: it is not served", method.name));
        }
    }

    fn leave_out(&mut self, what: String) {
        if !self.unchecked.contains(&what) {
            self.unchecked.push(what);
        }
    }

    fn into_report(mut self, live: SideInfo, rules: &Rules) -> Report {
        let mut findings = Findings::default();
        *findings.calls() = CallCounts { sent: self.calls, compared: self.calls, ..CallCounts::default() };
        for breach in self.witness.breaches() {
            findings.add_breach(breach, &Alone { breach, veil: &Veil::default() }, rules);
        }
        let mut report = findings.into_report(SideInfo::default(), live, rules, 1.0);
        self.past.tell_before(&mut report);
        report.unchecked = self.unchecked;
        let silent = self
            .witness
            .unchecked()
            .map(|oracle| format!("{}: there was nothing to hold against it", oracle.name));
        report.unchecked.extend(silent);
        report
    }
}
