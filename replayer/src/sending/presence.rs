//! Whether the runtime still answers.
//!
//! Where a connection breaks, or none can be made, the runtime may have been restarted: it is asked for a while, and the replay goes on
//! where it answers again. That it had to be connected to again is a finding. Where it does not answer, that is one, of the first call
//! that it did not answer; nothing can be said of the calls after it, and they are not sent.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cri::client::is_from_the_way;
use cri::{Generation, methods};
use critape_calls::{Call, CallId, Recorded};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::engine::Shared;
use crate::judging::witness::{Calls, LiveSide};

/// How long one question may take, and how long until the next.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// What is known about the runtime's being there.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// Held by the one call that looks for the runtime.
    looking: Mutex<()>,
    /// Calls whose connection broke, as long as nobody knows whether the runtime comes back.
    broken: RefCell<BTreeSet<CallId>>,
    /// The call from which on the runtime is gone.
    gone: watch::Sender<Option<CallId>>,
    /// How often the runtime was connected to, as far as that was told.
    told: Cell<u64>,
}

impl Presence {
    /// The call from which on the runtime is gone, if it is.
    fn since(&self) -> Option<CallId> {
        *self.gone.borrow()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.since().is_some()
    }

    /// Why nothing can be said of a call, where the runtime is gone.
    pub(crate) fn why_gone(&self) -> Option<String> {
        self.since().map(|call| format!("the runtime is gone since call {call}"))
    }

    /// What this comes to, unless the runtime turns out to be gone before.
    pub(crate) async fn unless_gone<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        let mut gone = self.gone.subscribe();
        tokio::select! {
            biased;
            _ = gone.wait_for(Option::is_some) => None,
            what = what => Some(what),
        }
    }
}

impl Shared {
    /// Waits until the runtime answers again that did not answer this call, asked at this path, or until it is given up.
    pub(crate) async fn look_for_runtime(&self, call: &Call, path: &str) {
        self.presence.broken.borrow_mut().insert(call.id);
        let _one_at_a_time = self.presence.looking.lock().await;
        if self.presence.is_gone() {
            return;
        }
        let until = Instant::now() + self.config.settle;
        while !self.answers(path).await {
            if Instant::now() >= until {
                let first = self.presence.broken.borrow().first().copied();
                self.presence.gone.send_replace(first.or(Some(call.id)));
                return;
            }
            tokio::time::sleep(PAUSE.min(until - Instant::now())).await;
        }
        self.presence.broken.borrow_mut().remove(&call.id);
    }

    /// Whether the runtime answers that was given up.
    pub(crate) async fn answers_again(&self) -> bool {
        let version = methods().by_name(self.target.generation, "Version");
        match version {
            Some(version) => self.answers(&version.path).await,
            None => false,
        }
    }

    /// Whether somebody answers where calls to this path go, whatever they say.
    async fn answers(&self, path: &str) -> bool {
        let generation = methods().by_path(path).map_or(Generation::V1, |method| method.generation);
        let Some(version) = methods().by_name(generation, "Version") else { return false };
        let answer = self.client.for_path(path).unary(&version.path, Bytes::new(), Some(PATIENCE)).await;
        !answer.is_err_and(|status| is_from_the_way(&status))
    }

    /// From here on, a runtime that has to be connected to again has broken its connection.
    pub(crate) fn note_connected(&self) {
        self.presence.told.set(self.client.times_connected());
    }

    /// That the runtime had to be connected to again by the end of this call, if that is so and was not told before: it was restarted, or
    /// died and came back.
    pub(crate) fn note_back(&self, call: &Call, name: &str, live: LiveSide<'_>) {
        let times = self.client.times_connected();
        if times == self.presence.told.replace(times) {
            return;
        }
        let ids = self.ids.borrow();
        let back = self.comparer(&ids).back(name, Recorded(&call.outcome), call.id);
        let calls = Calls { recorded: call, veil: &self.script.veil, live, ids: Some(&self.ids) };
        self.findings.borrow_mut().add_divergence(&call.path, &calls, back);
    }

    /// Keeps what became of a call that the runtime, which is gone, did not answer.
    pub(crate) fn note_gone(&self, call: &Call, name: &str, live: LiveSide<'_>) {
        let Some(since) = self.presence.since() else { return };
        let mut findings = self.findings.borrow_mut();
        if since == call.id {
            let ids = self.ids.borrow();
            let gone = self.comparer(&ids).gone(name, Recorded(&call.outcome), call.id);
            let calls = Calls { recorded: call, veil: &self.script.veil, live, ids: Some(&self.ids) };
            findings.add(&call.path, &calls, gone);
        } else {
            let reason = self.presence.why_gone().unwrap_or_default();
            findings.inconclusive(call.id, reason);
        }
    }
}
