//! What a tape tells about what is on it, learnt call by call, so that no more than one call need be in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cri::{Generation, IdentityKind, Method};
use critape_calls::{
    Call, CallId, Identity, IdentityMap, ObjectIndex, Opening, Repeats, Unbound, decode, identities, merged,
};
use critape_differ::SideInfo;
use critape_tape::SealPolicy;

use crate::preflight::Needs;
use crate::recording::{is_event_stream, request_ids};
use crate::states::trajectory::Trajectory;

/// What is known of a tape's objects and runtime.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The tape's folder.
    pub(crate) tape: Option<String>,
    /// What the tape seals, opened here or not.
    pub(crate) sealed: SealPolicy,
    repeats: Repeats,
    made: Vec<(IdentityKind, String, CallId)>,
    shown: BTreeSet<(IdentityKind, String)>,
    pub(crate) trajectory: Trajectory,
    pub(crate) objects: ObjectIndex,
    /// What the calls that are replayed need.
    pub(crate) needs: Needs,
    /// Uids of the pods that its calls make.
    pub(crate) pod_uids: BTreeSet<String>,
    generations: BTreeMap<Generation, usize>,
    /// The runtime as its opening states named it, and as it named itself to clients; the last of each.
    opened: Option<(String, String)>,
    answered: Option<(String, String)>,
}

impl Survey {
    /// What the runtime held when a segment began.
    pub(crate) fn opening(&mut self, opening: &Opening) {
        self.objects.observe_opening(opening);
        self.needs.opening(opening);
        self.shown.extend(opening_ids(opening));
        self.opened = opening.runtime().or(self.opened.take());
    }

    /// The next call, in the order of their ends.
    pub(crate) fn call(&mut self, call: &Call) {
        let Some(method) = call.method() else { return };
        let spoken = call.sent_method().unwrap_or(method).generation;
        *self.generations.entry(spoken).or_default() += 1;
        if matches!(method.name.as_str(), "RunPodSandbox" | "RestorePod") {
            let uids = request_ids(call).into_iter().filter(|(kind, _)| *kind == IdentityKind::PodUid);
            self.pod_uids.extend(uids.map(|(_, uid)| uid));
        }
        let answer = if call.outcome.is_ok() && !is_event_stream(call) { merged(call) } else { None };
        let news = answer.map(|answer| match method.name.as_str() {
            // Their numbers tell nothing about objects.
            "ListContainerStats" => self.repeats.new_objects(&call.path, &answer),
            _ => self.repeats.news(&call.path, &answer),
        });
        let ids = news.as_ref().map(|news| self.learn(call, method, news)).unwrap_or_default();
        self.trajectory.add_change(call, &ids);
    }

    /// Learns from what an answer says that was not said before.
    fn learn(&mut self, call: &Call, method: &Method, news: &Bytes) -> Vec<Identity> {
        self.objects.observe_answer(call, news);
        self.needs.answer(method, news, call.ended);
        if method.name == "Version"
            && let Ok(version) = <cri::v1::VersionResponse as prost::Message>::decode(news.as_ref())
            && !version.runtime_name.is_empty()
        {
            self.answered = Some((version.runtime_name, version.runtime_version));
        }
        let Some(message) = decode(method.output(), news) else { return Vec::new() };
        self.trajectory.add_states(method, call.started, &message);
        let ids = identities(&message, &method.response_ids);
        for id in &ids {
            if id.produced {
                self.made.push((id.kind, id.value.clone(), call.id));
            } else {
                self.shown.insert((id.kind, id.value.clone()));
            }
        }
        ids
    }

    /// The generation that most calls speak.
    pub(crate) fn generation(&self) -> Option<Generation> {
        let most = self.generations.iter().max_by_key(|(_, count)| **count);
        most.map(|(generation, _)| *generation)
    }

    /// The generations that its calls speak.
    pub(crate) fn generations(&self) -> impl Iterator<Item = Generation> {
        self.generations.keys().copied()
    }

    /// Declares the ids that the tape shows, each without a counterpart yet: made by one of its calls, or older than it.
    pub(crate) fn declare(&self, ids: &mut IdentityMap) {
        for (kind, id, call) in &self.made {
            ids.declare(*kind, id, Unbound::NotYetMade(*call));
        }
        for (kind, id) in &self.shown {
            // An event names either; uids and images are bound in ways of their own.
            if matches!(kind, IdentityKind::Sandbox | IdentityKind::Container) {
                ids.declare(*kind, id, Unbound::OlderThanTape);
            }
        }
    }

    /// Everything by which the tape names images.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        let shown = self.shown.iter().filter(|(kind, _)| *kind == IdentityKind::Image).map(|(_, name)| name);
        shown.chain(&self.needs.references).map(String::as_str)
    }

    /// The ids that calls made, in the order of their ends.
    pub(crate) fn made(&self) -> impl Iterator<Item = &str> {
        self.made.iter().map(|(_, id, _)| id.as_str())
    }

    /// The calls that made each id, in the order of their ends.
    pub(crate) fn makers(&self) -> impl Iterator<Item = (&str, CallId)> {
        self.made.iter().map(|(_, id, call)| (id.as_str(), *call))
    }

    /// The runtime that was recorded.
    pub(crate) fn side(&self) -> SideInfo {
        let (runtime, version) = self.opened.clone().or_else(|| self.answered.clone()).unwrap_or_default();
        let generation = self.generation().map(|generation| generation.to_string()).unwrap_or_default();
        SideInfo { runtime, version, generation, tape: self.tape.clone(), endpoint: None }
    }
}

fn opening_ids(opening: &Opening) -> Vec<(IdentityKind, String)> {
    let answers = opening.answers.iter().filter_map(|answer| {
        let method = cri::methods().by_path(&answer.path)?;
        Some(identities(&decode(method.output(), &answer.response)?, &method.response_ids))
    });
    answers.flatten().map(|id| (id.kind, id.value)).collect()
}
