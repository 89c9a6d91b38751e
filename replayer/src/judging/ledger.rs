//! Calls that have been judged, on their way into the report.
//!
//! What oracles say of an answer and how a report tells it concerns no later call. So that is done while the runtime is busy with the
//! next one, in the order in which calls ended.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cri::Method;
use critape_calls::{Call, Live, Recorded};
use critape_differ::Compared;

use crate::engine::Shared;
use crate::judging::places::{self, place_of};
use crate::replay::Pace;
use crate::sending::answer::Answer;

/// A call that has been judged.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) call: Arc<Call>,
    /// How it was asked here.
    pub(crate) way: &'static Method,
    /// In the terms of the recorded method.
    pub(crate) request: Bytes,
    pub(crate) answer: Answer,
    /// What the two answers differ in, or why that can't be told.
    pub(crate) verdict: Result<Compared, String>,
}

/// Those that have not been written down.
#[derive(Debug, Default)]
pub(crate) struct Ledger(RefCell<VecDeque<Entry>>);

impl Ledger {
    pub(crate) fn enter(&self, entry: Entry) {
        self.0.borrow_mut().push_back(entry);
    }

    fn next(&self) -> Option<Entry> {
        self.0.borrow_mut().pop_front()
    }
}

impl Shared {
    /// Tells the oracles and the report of all calls that were entered.
    pub(crate) fn write_down(&self) {
        while let Some(entry) = self.ledger.next() {
            let Entry { call, request, answer, .. } = &entry;
            self.oracles.borrow_mut().observe(call, request, answer, &self.witness(call, answer));
            self.report(entry);
        }
    }

    /// Tells the oracles of an answer to a read that is asked again, after all calls that had ended before.
    pub(crate) fn note_passing(&self, call: &Call, request: &Bytes, answer: &Answer) {
        self.write_down();
        self.oracles.borrow_mut().passing(call, request, answer, &self.witness(call, answer));
    }

    fn report(&self, entry: Entry) {
        let Entry { call, way, answer, verdict, .. } = entry;
        let mut findings = self.findings.borrow_mut();
        let compared = match verdict {
            Ok(compared) => compared,
            Err(reason) => {
                findings.inconclusive(call.id, reason);
                return;
            }
        };
        tracing::debug!(
            call = call.id.0, method = %call.path, lasted = ?answer.lasted, divergences = compared.divergences.len(), "compared"
        );
        places::add(&mut findings, &call, &self.witness(&call, &answer), compared);
        // At another pace calls are in each other's way as they never were; a stream and a list are two things.
        let sent = call.sent_method().map_or("", |sent| sent.name.as_str());
        let alike = self.config.pace == Pace::Recorded(1.0) && way.name == sent;
        if alike && call.outcome.is_ok() && answer.outcome.is_ok() {
            findings.took(place_of(&call), call.id, Recorded(call.duration()), Live(answer.settled_after));
        }
    }
}
