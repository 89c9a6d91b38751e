//! Compares two answers: what is handed in, what comes out.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use cri::Method;
use critape_calls::{IdentityMap, Live, Recorded, Stamp, decode};
use prost_reflect::DynamicMessage;

use crate::comparing::agreed::{self, Agreed};
use crate::comparing::order::Orders;
use crate::comparing::own::Own;
use crate::comparing::walk::Walk;
use crate::report::units::Units;
use crate::rules::rule_numbers::{RuleNumber, RuleNumbers};
use crate::{Divergence, Kind, Path, Rules, Severity};

/// Examples of one rule that the comparison of one answer gives at most.
const EXAMPLES_PER_ANSWER: usize = 3;
/// Examples of one rule that a whole run gives at most. More than a report shows, because an answer may be compared more than
/// once.
const EXAMPLES_LOOKED_FOR: usize = 300;

/// The label that a replay puts on its sandboxes. It is no difference.
pub const OWNED_LABEL: &str = "io.critape.replay";

/// Namespace and name of the pod that a check makes.
pub const CHECK_POD: [&str; 2] = ["critape", "critape-check"];

/// What a call does to an object, itself or by way of its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is there from then on.
    Makes,
    /// It ends, or is being removed.
    Ends,
    /// It is there no longer.
    Removes,
}

/// Later recorded states of objects, for reads that come too late to see the recorded one.
pub trait Trajectories {
    /// The messages of this type in which the recording showed the object from now until its next mutating call, in order.
    fn later(&self, id: &str, message_type: &str) -> Vec<DynamicMessage>;

    /// Whether a call that makes, changes or removes the object was on its way while the recorded or the live read was.
    fn is_changing(&self, id: &str) -> bool;

    /// The same of calls alone that do this to it, where that is known.
    fn is_under(&self, change: Change, id: &str) -> bool {
        let _ = change;
        self.is_changing(id)
    }

    /// Whether a list may have the object or not.
    fn may_lack(&self, id: &str) -> bool {
        self.is_changing(id) || self.may_have_ended(id)
    }

    /// Whether a container that ended by itself, after this read when recorded, is as old in the live run as it became: it may be seen
    /// at its end, and may be gone where only what runs is seen.
    fn may_have_ended(&self, _id: &str) -> bool {
        false
    }

    /// Whether a call of the live run has stopped or removed the object: it must not be seen as it was before.
    fn is_over(&self, _id: &str) -> bool {
        false
    }

    /// The recorded message of this type, of the object or where the id is empty of the runtime, with which a live one has agreed, where
    /// nothing has happened to it since on either side: it is as it was then. `None` where that is not so, or not known.
    fn before(&self, _id: &str, _message_type: &str) -> Option<DynamicMessage> {
        None
    }

    /// All messages of this type in which the recording showed the object. `None` where the live answer may be ahead of the recorded
    /// one.
    fn all(&self, _id: &str, _message_type: &str) -> Option<Vec<DynamicMessage>> {
        None
    }

    /// Whether the recording has the container end by itself after this read, so that it may have ended here.
    fn will_end(&self, _id: &str) -> bool {
        true
    }

    /// Whether the live container was stopped before it had lived as long as the recorded one, so that it could not say how it ends.
    fn was_cut_short(&self, _id: &str) -> bool {
        false
    }

    /// What was known around this moment, which lies within the call: an event of a stream tells of it. `None` where no moment is
    /// told from another.
    fn around(&self, at: Stamp) -> Option<Box<dyn Trajectories + '_>> {
        let _ = at;
        None
    }

    /// What was known while that call was under way which changed this object at this moment. `None` where none is known.
    fn during_change(&self, id: &str, at: Stamp) -> Option<Box<dyn Trajectories + '_>> {
        let _ = (id, at);
        None
    }
}

/// No states but the recorded one.
#[derive(Clone, Copy, Debug)]
pub struct NoTrajectories;

impl Trajectories for NoTrajectories {
    fn later(&self, _id: &str, _message_type: &str) -> Vec<DynamicMessage> {
        Vec::new()
    }

    fn is_changing(&self, _id: &str) -> bool {
        false
    }
}

/// A difference that a rule let pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// The rule.
    pub rule: String,
    /// Where the difference is.
    pub path: Path,
    /// The recorded value.
    pub recorded: serde_json::Value,
    /// The live value.
    pub live: serde_json::Value,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// What no rule explains.
    pub divergences: Vec<Divergence>,
    /// Differences that a rule let pass, by rule.
    pub passed: BTreeMap<String, u64>,
    /// A few of those.
    pub examples: Vec<Passed>,
    /// List elements that belong to one side only because they are none of the recording's or replay's business.
    pub left_out: u64,
    /// Why nothing can be said of the call, where that is so.
    pub untold: Option<&'static str>,
}

impl Compared {
    /// That nothing can be said of the call, and why.
    pub(crate) fn untold(reason: &'static str) -> Self {
        Self { untold: Some(reason), ..Self::default() }
    }

    /// A difference that is let pass as a whole, under this name.
    pub fn explained(rule: &str) -> Self {
        let mut compared = Self::default();
        compared.pass(rule);
        compared
    }

    pub(crate) fn pass(&mut self, rule: &str) {
        self.pass_often(rule, 1);
    }

    pub(crate) fn pass_often(&mut self, rule: &str, times: u64) {
        count(&mut self.passed, rule, times);
    }

    /// Adds what another comparison found.
    pub fn merge(&mut self, other: Self) {
        self.divergences.extend(other.divergences);
        for (rule, count) in &other.passed {
            self.pass_often(rule, *count);
        }
        self.examples.extend(other.examples);
        self.left_out += other.left_out;
        self.untold = self.untold.or(other.untold);
    }

    /// Whether an example of this is one that there is not yet.
    pub(crate) fn may_keep(&self, rule: &str, path: &Path) -> bool {
        let mut of_rule = self.examples.iter().filter(|passed| passed.rule == rule);
        !of_rule.clone().any(|passed| passed.path == *path) && of_rule.nth(EXAMPLES_PER_ANSWER - 1).is_none()
    }

    /// Whether waiting may change the result.
    pub fn may_settle(&self) -> bool {
        self.divergences.iter().any(|divergence| divergence.settles)
    }
}

/// Counts that a rule let so many differences pass.
pub(crate) fn count(passed: &mut BTreeMap<String, u64>, rule: &str, times: u64) {
    match passed.get_mut(rule) {
        Some(count) => *count += times,
        None => drop(passed.insert(rule.to_owned(), times)),
    }
}

/// Compares answers by the rules, in the light of which id stands for which.
#[derive(Debug)]
pub struct Comparer<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) ids: &'a IdentityMap,
    pub(crate) memory: &'a Memory,
}

/// What a comparer remembers from call to call.
#[derive(Debug, Default)]
pub struct Memory {
    pub(crate) orders: RefCell<Orders>,
    pub(crate) own: Own,
    agreed: RefCell<Agreed>,
    pub(crate) numbers: RefCell<RuleNumbers>,
    pub(crate) units: RefCell<Units>,
}

impl Memory {
    /// That of a replay whose sandboxes have [`OWNED_LABEL`] with this value.
    pub fn of_run(label: &str) -> Self {
        Self { own: Own::of_run(label), ..Self::default() }
    }

    /// Lists need not account for this live object, or for what has this live sandbox id or pod uid, where no
    /// recorded call made it: how the call ended that did says all.
    pub fn account_for(&self, id: &str) {
        self.own.account_for(id);
    }

    /// Whether examples of what this rule lets pass are still looked for.
    pub(crate) fn wants(&self, rule: &str) -> bool {
        let mut numbers = self.numbers.borrow_mut();
        let number = numbers.number(rule);
        let given = numbers.given(number);
        *given += 1;
        *given <= EXAMPLES_LOOKED_FOR
    }

    /// Whether no more examples of what this rule lets pass are looked for.
    pub(crate) fn has_enough(&self, rule: RuleNumber) -> bool {
        *self.numbers.borrow_mut().given(rule) >= EXAMPLES_LOOKED_FOR
    }
}

impl<'a> Comparer<'a> {
    /// A comparer with these rules and ids; `memory` outlives it and is shared by all comparers of a run.
    pub fn new(rules: &'a Rules, ids: &'a IdentityMap, memory: &'a Memory) -> Self {
        Self { rules, ids, memory }
    }

    /// How bad the rules say that such a difference is.
    pub fn severity(&self, method: &str, path: &Path, kind: Kind, transition: &str) -> Option<Severity> {
        self.rules.severity(method, path, kind, Some(transition))
    }

    /// Compares two answers of `method`.
    pub fn messages(
        &self,
        method: &Method,
        recorded: Recorded<&DynamicMessage>,
        live: Live<&DynamicMessage>,
        trajectories: &dyn Trajectories,
    ) -> Compared {
        let mut walk = Walk::new(self, method, trajectories);
        walk.message(&Path::default(), recorded.0, live.0);
        walk.compared
    }

    /// The same for answers as they came. A live one that can't be read differs; where only the recorded one can't,
    /// nothing is told.
    ///
    /// Much faster where lists repeat: elements that were found to agree before are not looked at again.
    pub fn answers(
        &self,
        method: &Method,
        recorded: Recorded<&Bytes>,
        live: Live<&Bytes>,
        trajectories: &dyn Trajectories,
    ) -> Compared {
        self.memory.units.borrow_mut().look(method, recorded.0, live.0, self.ids);
        if let Some(compared) = self.readable(method, recorded, live, trajectories) {
            return compared;
        }
        if recorded.0 == live.0 {
            return Compared::default();
        }
        if decode(method.output(), recorded.0).is_none() {
            return Compared::untold("its recorded answer can't be read");
        }
        Compared { divergences: vec![self.unreadable(&method.name, live)], ..Compared::default() }
    }

    /// As [`Self::answers`]; `None` where one of the two can't be read.
    fn readable(
        &self,
        method: &Method,
        recorded: Recorded<&Bytes>,
        live: Live<&Bytes>,
        trajectories: &dyn Trajectories,
    ) -> Option<Compared> {
        let mut reduced = agreed::reduce(self, &self.memory.agreed, method, recorded.0, live.0)?;
        let compared = std::mem::take(&mut reduced.compared);
        if reduced.recorded.is_empty() && reduced.live.is_empty() {
            return Some(compared);
        }
        let mut walk = Walk { compared, ..Walk::new(self, method, trajectories) };
        let recorded = decode(method.output(), &reduced.recorded)?;
        let live = decode(method.output(), &reduced.live)?;
        walk.message(&Path::default(), &recorded, &live);
        agreed::remember(self, &self.memory.agreed, method, &reduced, walk.agreeing);
        Some(walk.compared)
    }
}
