//! Two recordings of the same workload, compared without a runtime.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use cri::{Class, IdentityKind};
use critape_calls::{Call, Ending, IdentityMap, Live, ObjectName, Recorded};
use critape_differ::{Compared, Comparer, Divergence, Findings, Memory, Report, Rules, SideInfo, Signature};
use critape_tape::SealPolicy;

use crate::judging::list_streams::{ListStreams, is_refused, is_streamed, list_or_stream};
use crate::judging::pairs;
use crate::judging::places::{self, place_of};
use crate::judging::replays::bind_folders;
use crate::judging::witness::{Calls, LiveSide};
use crate::one_call::waiting_for;
use crate::recording::{Recording, is_event_stream};
use crate::sending::rewrite::canonical;
use crate::states::lives::Lives;
use crate::states::moments::Moments;
use crate::states::trajectory::{Seen, Trajectory};

/// What two calls must share to be the same call: the method and the request, ids apart.
type Key = (String, Option<Bytes>);

/// How many elements of one list are looked for apart, and at how many moments to either side.
const MOST_APART: usize = 16;
const MOMENTS_APART: usize = 16;
/// At how many other moments of the second run a read is looked for, the nearest first.
const MOST_MOMENTS: usize = 256;

/// Compares two recordings. Calls find each other by method and request, in order; reads that one recording has more often than
/// the other are left out, because how often a client asks is its own affair.
pub fn compare_tapes(
    recorded: Recorded<&Recording>,
    live: Live<&Recording>,
    rules: &Rules,
    max_inconclusive: f64,
) -> Report {
    let (before, now) = (recorded.0, live.0);
    let mut ids = IdentityMap::default();
    before.declare(&mut ids);
    bind_objects(before, now, &mut ids);
    // Where they speak different generations, what these call differently is no difference.
    let translated = rules.clone().for_translation();
    let spoken = before.survey.generations().chain(now.survey.generations()).collect::<BTreeSet<_>>();
    let mut pairing = Pairing {
        before,
        now,
        rules: if spoken.len() > 1 { &translated } else { rules },
        trajectory: &before.survey.trajectory,
        memory: Memory::default(),
        lives: Lives::default(),
        unsettled: HashSet::new(),
        findings: Findings::default(),
    };
    pairing.findings.calls().recorded = before.calls.len() as u64;
    pairing.findings.calls().sent = now.calls.len() as u64;
    pairing.compare(&mut ids);
    pairing.compare_streams(&ids);
    pairing.findings.add_units(&pairing.memory, pairing.rules);
    let side = |recording: &Recording| SideInfo { ..recording.side.clone() };
    pairing.findings.into_report(side(before), side(now), rules, max_inconclusive)
}

/// Binds sandboxes and containers that have one name, in the order in which they were made, and the folders of a replay that they have.
fn bind_objects(before: &Recording, now: &Recording, ids: &mut IdentityMap) {
    let makers = [before, now].map(|recording| recording.survey.makers().collect::<HashMap<_, _>>());
    let (ours, theirs) = (named(before), named(now));
    for (name, ours) in ours {
        let Some(theirs) = theirs.get(&name) else { continue };
        for ((id, object), (other, counterpart)) in ours.iter().zip(theirs) {
            let made = makers[0].get(id.as_str()).zip(makers[1].get(other.as_str()));
            let calls = made.and_then(|(one, other)| before.calls.find(*one).zip(now.calls.find(*other)));
            if let Some((call, other)) = calls {
                bind_folders(&call, &other, ids);
            }
            let kind = match object {
                ObjectName::Sandbox(_) => IdentityKind::Sandbox,
                ObjectName::Container(_) => IdentityKind::Container,
            };
            ids.bind(kind, id, other);
            ids.bind(IdentityKind::PodUid, &object.sandbox().uid, &counterpart.sandbox().uid);
        }
    }
}

/// Objects by what they are called in every run.
fn named(recording: &Recording) -> BTreeMap<String, Vec<(String, ObjectName)>> {
    let mut made: HashMap<&str, usize> = HashMap::new();
    for id in recording.survey.made() {
        let next = made.len();
        made.entry(id).or_insert(next);
    }
    let mut named: BTreeMap<String, Vec<(String, ObjectName)>> = BTreeMap::new();
    for (id, name) in recording.survey.objects.iter() {
        named.entry(name.to_string()).or_default().push((id.to_owned(), name.clone()));
    }
    for objects in named.values_mut() {
        objects.sort_by_key(|(id, _)| made.get(id.as_str()).copied());
    }
    named
}

struct Pairing<'a> {
    before: &'a Recording,
    now: &'a Recording,
    rules: &'a Rules,
    trajectory: &'a Trajectory,
    memory: Memory,
    lives: Lives,
    /// Differences that no other moment explained: they are not looked for again.
    unsettled: HashSet<Signature>,
    findings: Findings,
}

impl<'a> Pairing<'a> {
    fn compare(&mut self, ids: &mut IdentityMap) {
        let sealed = self.before.sealed.max(self.now.sealed);
        let (same, mut keys) = (IdentityMap::default(), Keys::new(sealed));
        let mut waiting: HashMap<Rc<Key>, VecDeque<usize>> = HashMap::new();
        for (place, call) in self.now.calls.heads().enumerate() {
            waiting.entry(keys.of(call, &same)).or_default().push_back(place);
        }
        let all: HashMap<Rc<Key>, Vec<usize>> =
            waiting.iter().map(|(key, places)| (key.clone(), places.iter().copied().collect())).collect();
        self.now.calls.heads().for_each(|call| self.now.veil.learn(call));
        let mut keys = Keys::new(sealed);
        for call in self.before.calls() {
            let call = &call;
            self.before.veil.learn(call);
            let key = keys.of(call, ids);
            let candidates = all.get(&key).map_or(&[][..], Vec::as_slice);
            match waiting.get_mut(&key).and_then(VecDeque::pop_front) {
                Some(place) => self.pair(call, place, candidates, ids),
                None if is_refused(call) => {
                    self.findings
                        .skipped(call.id, "the second tape asks for this list in another way".to_owned());
                }
                None if !candidates.is_empty() && is_read(call) => {
                    self.findings.skipped(call.id, "the second tape has this read less often".to_owned());
                }
                None => {
                    self.findings.inconclusive(call.id, "the second tape has no such call".to_owned());
                }
            }
        }
    }

    /// Streams of lists that one of the two runtimes does not serve: no call need be in the place of one that is refused.
    fn compare_streams(&mut self, ids: &IdentityMap) {
        let [before, now] = [self.before, self.now].map(|recording| ListStreams::of(recording.calls.heads()));
        for (call, other) in before.changes(&now) {
            let Some(sent) = call.sent_method() else { continue };
            let (Some(call), Some(other)) = (self.before.calls.find(call.id), self.now.calls.find(other.id))
            else {
                continue;
            };
            let (call, other) = (&call, &other);
            let comparer = Comparer::new(self.rules, ids, &self.memory);
            let divergence = comparer.capability(&sent.name, Recorded(&call.outcome), Live(&other.outcome));
            let calls = self.witness(call, other);
            self.findings.add_divergence(call.sent_path(), &calls, divergence);
        }
    }

    fn pair(&mut self, call: &Call, place: usize, candidates: &[usize], ids: &mut IdentityMap) {
        let other = &self.now.calls.call(place);
        // A stream of events has no end of its own: it is compared as far as it goes.
        let is_cut = |call: &Call| call.outcome.ending == Ending::Truncated && !is_event_stream(call);
        if [call, other].iter().any(|call| is_cut(call) || !call.is_whole()) {
            self.findings.inconclusive(call.id, "one of the two was not recorded to its end".to_owned());
            return;
        }
        let mut compared = self.two(call, other, ids);
        let mut agreeing = None;
        let left = waiting_for(call, &compared);
        if is_read(call) && left.iter().any(|signature| !self.unsettled.contains(signature)) {
            match self.at_another_moment(call, place, &compared, candidates, ids) {
                Some((candidate, agreed)) => {
                    compared = agreed;
                    agreeing = Some(candidate);
                    self.findings.calls().settled += 1;
                }
                None => {
                    if self.settle_apart(call, place, &mut compared, candidates, ids) {
                        self.findings.calls().settled += 1;
                    }
                    self.unsettled.extend(waiting_for(call, &compared));
                }
            }
        }
        let partner = agreeing.as_ref().unwrap_or(other);
        let alike = is_streamed(call) == is_streamed(partner);
        if !alike {
            compared.merge(list_or_stream(call, partner));
        }
        let calls = self.witness(call, partner);
        places::add(&mut self.findings, call, &calls, compared);
        if alike && call.outcome.is_ok() && partner.outcome.is_ok() && !is_event_stream(call) {
            let (recorded, live) = (Recorded(call.duration()), Live(partner.duration()));
            self.findings.took(place_of(call), call.id, recorded, live);
        }
    }

    /// The same read at another moment of the second run that may have seen what this one saw, and did. The nearest
    /// is looked at first.
    fn at_another_moment(
        &self,
        call: &Call,
        place: usize,
        compared: &Compared,
        candidates: &[usize],
        ids: &mut IdentityMap,
    ) -> Option<(Call, Compared)> {
        let trajectories = (self.trajectory, &self.now.survey.trajectory);
        let seen = Moments::of(trajectories, call, &compared.divergences, ids);
        let usual = self.now.calls.head(place);
        let mut moments = candidates.to_vec();
        moments.sort_by_key(|moment| moment.abs_diff(place));
        let may_show = |moment: &usize| seen.may_show(call, usual, self.now.calls.head(*moment));
        moments.into_iter().take(MOST_MOMENTS).filter(may_show).find_map(|moment| {
            let candidate = self.now.calls.call(moment);
            let compared = self.two(call, &candidate, ids);
            (!compared.may_settle()).then_some((candidate, compared))
        })
    }

    /// Of a list that no other moment shows as a whole, each element for itself: it may come to where it was recorded a little later. What
    /// was so before and is so again has gone back. Gives whether nothing differs any more.
    fn settle_apart(
        &self,
        call: &Call,
        place: usize,
        compared: &mut Compared,
        candidates: &[usize],
        ids: &mut IdentityMap,
    ) -> bool {
        let waiting = compared.divergences.iter().filter(|it| it.settles);
        let subjects: BTreeMap<String, String> = waiting
            .filter_map(|it| it.about.as_ref())
            .map(|about| (about.id.clone(), about.live_id.clone()))
            .take(MOST_APART)
            .collect();
        let trajectories = (self.trajectory, &self.now.survey.trajectory);
        let usual = self.now.calls.head(place);
        let at = candidates.partition_point(|moment| *moment < place);
        let is_about =
            |it: &Divergence, id: &str| it.settles && it.about.as_ref().is_some_and(|of| of.id == id);
        for (id, live_id) in subjects {
            let seen = Moments::of_one(trajectories, &id, &live_id);
            let mut agrees = |moment: usize| {
                let other = self.now.calls.head(moment);
                seen.may_show(call, usual, other) && {
                    let candidate = self.now.calls.call(moment);
                    !self.two(call, &candidate, ids).divergences.iter().any(|it| is_about(it, &id))
                }
            };
            let before = candidates[..at].iter().rev().take(MOMENTS_APART).any(|moment| agrees(*moment));
            let after = candidates[at..].iter().skip(1).take(MOMENTS_APART).any(|moment| agrees(*moment));
            if after && !before {
                compared.divergences.retain(|it| !is_about(it, &id));
            }
        }
        !compared.may_settle()
    }

    fn witness<'b>(&self, call: &'b Call, other: &'b Call) -> Calls<'b>
    where
        'a: 'b,
    {
        Calls {
            recorded: call,
            veil: &self.before.veil,
            live: LiveSide::Call(other, &self.now.veil),
            ids: None,
        }
    }

    fn two(&self, call: &Call, other: &Call, ids: &mut IdentityMap) -> Compared {
        let Some(method) = call.method() else {
            let name = call.path.rsplit('/').next().unwrap_or_default();
            return self.comparer(ids).outcomes(name, Recorded(&call.outcome), Live(&other.outcome));
        };
        let seen = Seen::of(call, self.trajectory, &self.lives);
        pairs::bind_calls(call, other, method, ids);
        pairs::compare_calls(&self.comparer(ids), call, other, method, &seen)
    }

    fn comparer<'b>(&'b self, ids: &'b IdentityMap) -> Comparer<'b> {
        Comparer::new(self.rules, ids, &self.memory)
    }
}

/// Keys of calls. Most requests come again and again.
struct Keys {
    sealed: SealPolicy,
    /// By path and request, with the version of the ids.
    known: HashMap<(String, Bytes), (u64, Rc<Key>)>,
}

impl Keys {
    fn new(sealed: SealPolicy) -> Self {
        Self { sealed, known: HashMap::new() }
    }

    fn of(&mut self, call: &Call, ids: &IdentityMap) -> Rc<Key> {
        let asked = (call.path.clone(), call.request().cloned().unwrap_or_default());
        match self.known.get(&asked) {
            Some((version, key)) if *version == ids.version() => key.clone(),
            _ => {
                let key = Rc::new(key(call, ids, self.sealed));
                self.known.insert(asked, (ids.version(), key.clone()));
                key
            }
        }
    }
}

fn key(call: &Call, ids: &IdentityMap, sealed: SealPolicy) -> Key {
    // The same RPC of another generation is the same call.
    let name = call.method().map_or_else(|| call.path.clone(), |method| method.name.clone());
    let request = call.method().and_then(|method| canonical(call, method, ids, sealed));
    (name, request.or_else(|| call.request().cloned()))
}

fn is_read(call: &Call) -> bool {
    call.method().is_some_and(|method| method.class == Class::ReadOnly)
}
