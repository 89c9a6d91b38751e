//! Both sides of a replay before the oracles: what the live runtime breaks and the recorded one did not is a finding.

use std::time::Duration;

use bytes::Bytes;
use critape_calls::{Call, Ending, Live, Recorded, merged};
use critape_differ::{EventSequences, Exchange, Findings, Ids, Observer, Rules, Witness, breaches_beyond};

use crate::answer::Answer;
use crate::clock::Clock;
use crate::recording::is_mutating;
use crate::witness::{Alone, Veil};

/// What each side did.
#[derive(Debug)]
pub(crate) struct Oracles {
    recorded: Observer,
    live: Observer,
    clock: Clock,
}

impl Oracles {
    pub(crate) fn new() -> Self {
        Self { recorded: Observer::default(), live: Observer::default(), clock: Clock::new() }
    }

    /// Takes both answers to a call. `request` is what was sent to the live runtime; `witness` tells of both.
    pub(crate) fn observe(&mut self, call: &Call, request: &Bytes, answer: &Answer, witness: &dyn Witness) {
        let Some(method) = call.method() else { return };
        let is_whole =
            call.is_whole() && !matches!(call.outcome.ending, Ending::Truncated | Ending::Cancelled);
        // Where nobody knows what the recorded side said, nothing can be held against the live one. Its changes count.
        if !is_whole && !is_mutating(call) {
            return;
        }
        if let (Some(asked), true) = (call.request(), is_whole) {
            let response = merged(call).unwrap_or_default();
            let exchange = Exchange {
                method,
                request: asked,
                outcome: &call.outcome,
                response: &response,
                started: Duration::from_nanos(call.started.0),
                ended: Duration::from_nanos(call.ended.0),
            };
            self.recorded.observe(&Ids::default(), &exchange);
        }
        let ended = self.clock.at(answer.ended);
        let exchange = Exchange {
            method,
            request,
            outcome: &answer.outcome,
            response: &answer.message,
            started: ended.saturating_sub(answer.lasted),
            ended,
        };
        self.live.observe(witness, &exchange);
    }

    /// Takes both streams of events; `witness` tells of both. Whether they are complete is seen by comparing them.
    pub(crate) fn events(
        &mut self,
        (call, witness): (&Call, &dyn Witness),
        recorded: Recorded<&EventSequences>,
        live: Live<&EventSequences>,
    ) {
        self.recorded.events(&Ids::default(), &call.path, &recorded.0.to_stream());
        self.live.events(witness, &call.path, &live.0.to_stream());
    }

    /// What only the live side broke.
    pub(crate) fn report(&self, rules: &Rules, veil: &Veil, findings: &mut Findings) {
        for breach in breaches_beyond(Recorded(&self.recorded), Live(&self.live)) {
            findings.add_breach(breach, &Alone { breach, veil }, rules);
        }
    }
}
