//! Both sides of a replay before the oracles: what the live runtime breaks and the recorded one did not is a finding.

use std::time::Duration;

use bytes::Bytes;
use cri::Method;
use critape_calls::{Call, Ending, IdentityMap, Live, Recorded, merged};
use critape_differ::{EventSequences, Exchange, Findings, Ids, Observer, Rules, Witness, breaches_beyond};

use crate::judging::witness::{Alone, Veil};
use crate::recording::is_mutating;
use crate::schedule::clock::Clock;
use crate::sending::answer::Answer;

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
        let exchange = self.exchange(method, request, answer);
        self.live.observe(witness, &exchange);
    }

    /// Takes a live answer to a read that is asked again; `witness` tells of it and of the recorded one.
    pub(crate) fn passing(&mut self, call: &Call, request: &Bytes, answer: &Answer, witness: &dyn Witness) {
        let Some(method) = call.method() else { return };
        let exchange = self.exchange(method, request, answer);
        self.live.passing(witness, &exchange);
    }

    fn exchange<'a>(&self, method: &'a Method, request: &'a Bytes, answer: &'a Answer) -> Exchange<'a> {
        let ended = self.clock.at(answer.ended);
        Exchange {
            method,
            request,
            outcome: &answer.outcome,
            response: &answer.message,
            started: ended.saturating_sub(answer.lasted),
            ended,
        }
    }

    /// Takes both streams of events; `witness` tells of both. Whether they are complete is seen by comparing them.
    pub(crate) fn events(
        &mut self,
        (call, witness): (&Call, &dyn Witness),
        recorded: Recorded<&EventSequences>,
        live: Live<&EventSequences>,
        ids: &IdentityMap,
    ) {
        self.recorded.events(&Ids::default(), &call.path, &recorded.0.to_stream(|_| true));
        // Others' events, which may have waited for a listener, are not this replay's business.
        self.live.events(witness, &call.path, &live.0.to_stream(|id| ids.is_bound_live(id)));
    }

    /// What only the live side broke.
    pub(crate) fn report(&self, rules: &Rules, veil: &Veil, findings: &mut Findings) {
        for breach in breaches_beyond(Recorded(&self.recorded), Live(&self.live)) {
            findings.add_breach(breach, &Alone { breach, veil }, rules);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use critape_tape::Tape;

    use super::*;
    use crate::events;
    use crate::recording::survey::Survey;
    use crate::recording::{each_call, is_event_stream};

    /// What the runtime of a tape of `e2e/golden` broke, as oracle, RPC and path.
    fn broken(name: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let (file, path) = (
            format!("{}/../e2e/golden/{name}.critape", env!("CARGO_MANIFEST_DIR")),
            folder.path().join("tape"),
        );
        critape_tape::import(std::fs::File::open(&file).unwrap(), file.as_ref(), &path).unwrap();
        let mut observer = Observer::default();
        each_call(&Tape::open(&path).unwrap(), &mut Survey::default(), |_, call| {
            let Some((method, request)) = call.method().zip(call.request()) else { return };
            if is_event_stream(&call) {
                observer.events(
                    &Ids::default(),
                    &call.path,
                    &events::sequences(&call, method).to_stream(|_| true),
                );
                return;
            }
            let exchange = Exchange {
                method,
                request,
                outcome: &call.outcome,
                response: &merged(&call).unwrap_or_default(),
                started: Duration::from_nanos(call.started.0),
                ended: Duration::from_nanos(call.ended.0),
            };
            observer.observe(&Ids::default(), &exchange);
        })
        .unwrap();
        let rpc = |method: &str| method.rsplit('/').next().unwrap_or_default().to_owned();
        let told = observer
            .breaches()
            .map(|it| format!("{} {} {}", it.divergence.rule, rpc(&it.method), it.divergence.path));
        told.collect()
    }

    #[test]
    fn real_runtimes_break_what_they_are_known_to_break() {
        let stops = ["StopContainer", "StopPodSandbox"]
            .map(|rpc| format!("idempotent-stop-and-remove {rpc} outcome.code"));
        let [stop, stop_pod] = stops.each_ref().map(String::as_str);
        let userns = "options-visible PodSandboxStatus status.linux.namespaces.options.userns_options";
        let mounts = "options-visible ContainerStatus status.mounts[]";
        let created = "times GetContainerEvents pod_sandbox_status.created_at";
        for (name, known) in [
            ("containerd-1.6", &[stop, stop_pod, userns][..]),
            ("containerd-1.6-v1alpha2", &[stop, stop_pod, userns]),
            ("containerd-1.7", &[]),
            ("containerd-2.1", &[mounts, created]),
            ("kubelet-1.7", &[]),
            ("kubelet-2.1", &[]),
        ] {
            assert_eq!(broken(name), known, "{name}");
        }
    }
}
