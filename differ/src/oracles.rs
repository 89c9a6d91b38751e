//! Rules of CRI that need no recording: what any answer must be, whoever gives it.
//!
//! One file per oracle, each naming the source of its rule. An [`Observer`] is told of calls as they end and holds what it sees
//! against all of them. In a replay there is one for each side, and what the recorded side broke as well is no finding.

mod addresses;
mod agreement;
mod echo;
mod event_times;
mod events;
mod exchange;
mod filters;
mod idempotent;
mod images;
mod not_found;
mod options;
mod removed;
mod stable_order;
mod started;
mod steady;
mod stopped;
mod times;
mod usage;

use std::collections::BTreeMap;

use critape_calls::{CallId, Code, Live, Recorded, Stamp};
use serde_json::{Value, json};

pub use exchange::{EventStream, Exchange};
use exchange::{Observed, Reader};

use crate::report::evidence::MAX_HELD;
use crate::{Divergence, Evidence, Kind, Objects, Path, Severity, Subject, Witness};

/// Places kept of one oracle.
const MAX_PLACES: usize = 200;

/// One rule of CRI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oracle {
    /// Its name in reports.
    pub name: &'static str,
    /// The rule, in a sentence without its end.
    pub rule: &'static str,
    /// Where it is known from.
    pub source: &'static str,
    /// What a kubelet does about a runtime that breaks it, in a sentence without its end.
    pub consequence: &'static str,
    /// How bad that is.
    pub severity: Severity,
}

/// All oracles there are.
pub const ORACLES: [Oracle; 17] = [
    idempotent::ORACLE,
    not_found::ORACLE,
    images::ORACLE,
    times::ORACLE,
    usage::ORACLE,
    agreement::ORACLE,
    echo::ORACLE,
    options::ORACLE,
    events::ORACLE,
    event_times::ORACLE,
    stable_order::ORACLE,
    started::ORACLE,
    stopped::ORACLE,
    removed::ORACLE,
    steady::ORACLE,
    addresses::ORACLE,
    filters::ORACLE,
];

impl Oracle {
    /// The oracle of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        ORACLES.into_iter().find(|oracle| oracle.name == name)
    }
}

/// An answer that breaks an oracle.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// Request path of the call.
    pub method: String,
    /// The first call in which it was seen.
    pub call: Option<CallId>,
    /// When that call began.
    pub at: Option<Stamp>,
    /// What to report.
    pub divergence: Divergence,
    /// Where two answers disagree, the place of the other.
    pub against: Option<Against>,
    /// That call in full, as far as there is room.
    pub evidence: Option<Evidence>,
    /// What that call is about.
    pub objects: Objects,
}

/// The place of an answer that another does not agree with: nobody knows which is wrong unless something else tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Against {
    /// Name of the RPC.
    pub rpc: &'static str,
    /// Path in its response.
    pub path: String,
}

/// What an oracle says of what it sees.
pub(crate) trait Watch: std::fmt::Debug {
    fn oracle(&self) -> Oracle;

    /// Looks at a call that has ended.
    fn observe(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        if seen.code == Code::OK {
            self.answered(seen, verdict);
        }
    }

    /// The same for one that ended well.
    fn answered(&mut self, _seen: &Observed<'_>, _verdict: &mut Verdict) {}

    /// Looks at an answer to a read that was asked again, because what takes time was not yet as it was to be.
    fn passing(&mut self, _seen: &Observed<'_>, _verdict: &mut Verdict) {}

    /// Looks at a stream of events that has ended, or is no longer followed.
    fn events(&mut self, _stream: &EventStream, _verdict: &mut Verdict) {}

    /// This id names nothing, and never did.
    fn made_up(&mut self, _id: &str) {}
}

/// What came of one look.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How often there was something to hold against the rule.
    checks: u64,
    broken: Vec<Broken>,
    /// Places that were said to break the rule, wrongly as is seen now; with the RPC, where that is another.
    withdrawn: Vec<(Option<&'static str>, Path)>,
    /// What is looked at, where an answer tells of many things.
    about: Option<String>,
    /// The container whose event tells of it.
    event_of: Option<String>,
}

/// What does not hold.
#[derive(Debug)]
struct Broken {
    path: Path,
    expected: Value,
    found: Value,
    against: Option<Against>,
    /// The one of many things that the answer tells of.
    about: Option<String>,
    /// The container whose event told of it, where that is another.
    event_of: Option<String>,
}

impl Verdict {
    /// There is something that the rule is about: it holds or not. `path` is where, with what was expected and what was found.
    pub(crate) fn check(
        &mut self,
        holds: bool,
        path: &str,
        expected: impl Into<Value>,
        found: impl Into<Value>,
    ) {
        self.judge(holds, path, (expected.into(), found.into()), None);
    }

    /// As [`Self::check`], where what was expected is what another answer says.
    pub(crate) fn agree(
        &mut self,
        holds: bool,
        path: &str,
        expected: impl Into<Value>,
        found: impl Into<Value>,
        other: Against,
    ) {
        self.judge(holds, path, (expected.into(), found.into()), Some(other));
    }

    fn judge(&mut self, holds: bool, path: &str, (expected, found): (Value, Value), other: Option<Against>) {
        self.checks += 1;
        if !holds {
            let segments: Vec<&str> = path.split('.').collect();
            self.break_at(&segments, expected, found, other);
        }
    }

    /// There is something that the rule is about, and it holds.
    pub(crate) fn held(&mut self) {
        self.checks += 1;
    }

    /// What was said of this path is taken back.
    pub(crate) fn withdraw(&mut self, path: &str) {
        self.withdrawn.push((None, Path::of(&path.split('.').collect::<Vec<_>>())));
    }

    /// As [`Self::withdraw`], of the root of answers to another RPC of the same service.
    pub(crate) fn withdraw_of(&mut self, rpc: &'static str, field: &str) {
        self.withdrawn.push((Some(rpc), Path::root(field)));
    }

    /// As [`Self::check`], for an entry of a map.
    pub(crate) fn check_entry(
        &mut self,
        path: &str,
        key: &str,
        expected: Option<&String>,
        found: Option<&String>,
    ) {
        self.checks += 1;
        if expected != found {
            let segments: Vec<&str> = path.split('.').chain([key]).collect();
            self.break_at(&segments, json!(expected), json!(found), None);
        }
    }

    fn break_at(&mut self, segments: &[&str], expected: Value, found: Value, against: Option<Against>) {
        let (path, about) = (Path::of(segments), self.about.clone().filter(|id| !id.is_empty()));
        let event_of = self.event_of.clone().filter(|id| about.is_some() && about.as_ref() != Some(id));
        self.broken.push(Broken { path, expected, found, against, about, event_of });
    }

    /// What is looked at from now on is in an event of this container.
    pub(crate) fn in_event_of(&mut self, id: &str) -> &mut Self {
        self.event_of = Some(id.to_owned());
        self.of(id)
    }

    /// What is looked at from now on is about the thing of this id.
    pub(crate) fn of(&mut self, id: &str) -> &mut Self {
        let about = self.about.get_or_insert_default();
        about.clear();
        about.push_str(id);
        self
    }
}

type Place = (&'static str, String, Path);

/// Holds calls against the oracles.
#[derive(Debug)]
pub struct Observer {
    reader: Reader,
    watches: Vec<Box<dyn Watch>>,
    kept: Kept,
}

/// What was seen.
#[derive(Debug, Default)]
struct Kept {
    checks: BTreeMap<&'static str, u64>,
    breaches: BTreeMap<Place, Breach>,
    /// Bytes of their evidence.
    bytes: usize,
}

impl Default for Observer {
    fn default() -> Self {
        Self {
            reader: Reader::default(),
            watches: vec![
                Box::<idempotent::Idempotent>::default(),
                Box::<not_found::NotFound>::default(),
                Box::<images::Images>::default(),
                Box::new(times::Times),
                Box::<usage::Usage>::default(),
                Box::<agreement::Agreement>::default(),
                Box::<echo::Echo>::default(),
                Box::<options::Options>::default(),
                Box::<events::Events>::default(),
                Box::new(event_times::EventTimes),
                Box::<stable_order::StableOrder>::default(),
                Box::<started::Started>::default(),
                Box::<stopped::Stopped>::default(),
                Box::<removed::Removed>::default(),
                Box::<steady::Steady>::default(),
                Box::<addresses::Addresses>::default(),
                Box::new(filters::Filters),
            ],
            kept: Kept::default(),
        }
    }
}

impl Observer {
    /// Looks at a call that has ended. Calls come in the order of their ends. `call` is asked for more only where a rule is broken.
    pub fn observe(&mut self, call: &dyn Witness, exchange: &Exchange<'_>) {
        let Some(seen) = self.reader.read(exchange) else { return };
        for watch in &mut self.watches {
            let mut verdict = Verdict::default();
            watch.observe(&seen, &mut verdict);
            self.kept.keep(watch.oracle(), &exchange.method.path, call, verdict);
        }
    }

    /// Looks at an answer to a read that is asked again, because what takes time is not yet as it is to be.
    pub fn passing(&mut self, call: &dyn Witness, exchange: &Exchange<'_>) {
        // What it shows is news to those who see the answer that stays.
        let Some(seen) = Reader::default().read(exchange) else { return };
        for watch in self.watches.iter_mut().filter(|_| seen.code == Code::OK) {
            let mut verdict = Verdict::default();
            watch.passing(&seen, &mut verdict);
            self.kept.keep(watch.oracle(), &exchange.method.path, call, verdict);
        }
    }

    /// Looks at a stream of events that has ended, or is no longer followed.
    pub fn events(&mut self, call: &dyn Witness, method: &str, stream: &EventStream) {
        for watch in &mut self.watches {
            let mut verdict = Verdict::default();
            watch.events(stream, &mut verdict);
            self.kept.keep(watch.oracle(), method, call, verdict);
        }
    }

    /// This id names nothing, and never did.
    pub fn made_up(&mut self, id: &str) {
        self.watches.iter_mut().for_each(|watch| watch.made_up(id));
    }

    /// The oracles that had nothing to say, because nothing that they are about was seen.
    pub fn unchecked(&self) -> impl Iterator<Item = Oracle> {
        ORACLES.into_iter().filter(|oracle| !self.kept.checks.contains_key(oracle.name))
    }

    /// All that was broken.
    pub fn breaches(&self) -> impl Iterator<Item = &Breach> {
        self.kept.breaches.values()
    }
}

/// What the live side broke and the recorded side did not.
pub fn breaches_beyond<'a>(
    recorded: Recorded<&'a Observer>,
    live: Live<&'a Observer>,
) -> impl Iterator<Item = &'a Breach> {
    let before = &recorded.0.kept.breaches;
    live.0.kept.breaches.iter().filter(|(place, _)| !before.contains_key(place)).map(|(_, breach)| breach)
}

impl Kept {
    fn keep(&mut self, oracle: Oracle, method: &str, call: &dyn Witness, verdict: Verdict) {
        if verdict.checks > 0 {
            *self.checks.entry(oracle.name).or_default() += verdict.checks;
        }
        for (rpc, path) in verdict.withdrawn {
            let service = method.rsplit_once('/').map_or(method, |(service, _)| service);
            let method = rpc.map_or_else(|| method.to_owned(), |rpc| format!("{service}/{rpc}"));
            self.breaches.remove(&(oracle.name, method, path));
        }
        for Broken { path, expected, found, against, about, event_of } in verdict.broken {
            let place = (oracle.name, method.to_owned(), path.clone());
            if self.breaches.len() >= MAX_PLACES || self.breaches.contains_key(&place) {
                continue;
            }
            let divergence = Divergence {
                path,
                kind: Kind::Oracle,
                transition: None,
                recorded: json!({ "expected": expected }),
                live: found,
                rule: oracle.name.to_owned(),
                severity: oracle.severity,
                settles: false,
                about: about.map(|id| subject(call, &id, event_of.as_deref())),
            };
            let about = divergence.about.as_ref();
            let evidence = (self.bytes < MAX_HELD).then(|| call.evidence()).flatten();
            let evidence = evidence.map(|it| it.about_subject(about).bounded());
            self.bytes += evidence.as_ref().map_or(0, Evidence::size);
            let objects = about.map_or_else(|| call.objects(), Objects::only);
            let (method, call, at) = (method.to_owned(), call.recorded(), call.at());
            self.breaches.insert(place, Breach { method, call, at, divergence, against, evidence, objects });
        }
    }
}

/// The thing that the live side calls this, of which the events of that container told.
fn subject(call: &dyn Witness, live_id: &str, event_of: Option<&str>) -> Subject {
    let Some(event_of) = event_of.map(|id| call.subject(id)) else { return call.subject(live_id) };
    let at = event_of.at;
    Subject { event_of: Some([event_of.id, event_of.live_id]), at, ..call.subject(live_id) }
}

#[cfg(test)]
mod tests;
