//! Counts what became of the changes.

use std::collections::BTreeMap;

use critape_calls::Call;
use critape_differ::Compared;
use critape_differ::mutation::{Change, Mutant, Verdict};

/// How many of some changes were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) all: u64,
    pub(super) found: u64,
}

impl Share {
    fn add(&mut self, found: bool) {
        self.all += 1;
        self.found += u64::from(found);
    }
}

/// A message at one place in the answers of one RPC.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// It as a whole gone.
    gone: Share,
    /// Something in it changed.
    changed: Share,
}

/// What became of all changes on one tape.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Calls that are not compared: cut, or not CRI's.
    pub(super) left_out: u64,
    /// Events of objects that no call made, which are not compared.
    pub(super) foreign_events: u64,
    /// Response messages.
    pub(super) messages: u64,
    pub(super) all: Share,
    pub(super) by_change: BTreeMap<Change, Share>,
    /// Changes that each rule let pass.
    pub(super) passed: BTreeMap<String, u64>,
    /// By RPC and path.
    places: BTreeMap<(String, String), Place>,
    /// Changes that were not noticed, or found elsewhere; each with how often.
    unexplained: BTreeMap<String, u64>,
}

impl Tally {
    /// Takes note of an answer that was held against itself as it is.
    pub(super) fn is_itself(&mut self, call: &Call, compared: &Compared) {
        for divergence in &compared.divergences {
            let what = format!("{} {}: differs from itself", rpc(call), divergence.path);
            *self.unexplained.entry(what).or_default() += 1;
        }
    }

    pub(super) fn add<T>(&mut self, call: &Call, mutant: &Mutant<T>, verdict: &Verdict) {
        let Mutant { path, change, message, .. } = mutant;
        let found = *verdict == Verdict::Found;
        self.all.add(found);
        self.by_change.entry(*change).or_default().add(found);
        if let Some(message) = message {
            let place = self.places.entry((rpc(call).to_owned(), message.to_string())).or_default();
            match change {
                Change::Removed if path == message => place.gone.add(found),
                // They are always found, and so say nothing about rules.
                Change::Unknown => {}
                _ => place.changed.add(found),
            }
        }
        let whose = match verdict {
            Verdict::Found => return,
            Verdict::Passed(rules) => {
                for rule in rules {
                    *self.passed.entry(rule.clone()).or_default() += 1;
                }
                return;
            }
            Verdict::Elsewhere(paths) => format!("found at {} only", paths.join(", ")),
            Verdict::Unnoticed => "nobody noticed".to_owned(),
        };
        *self.unexplained.entry(format!("{} {path} {change}: {whose}", rpc(call))).or_default() += 1;
    }

    /// Messages, each at one place in the answers of one RPC.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// What must not be: changes without a finding or a rule, and messages that rules let pass as a whole.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.unexplained.iter().map(|(what, times)| format!("{what} ({times} times)")).collect();
        for ((rpc, path), place) in &self.places {
            let none = |share: &Share| share.all > 0 && share.found == 0;
            if none(&place.gone) {
                all.push(format!("{rpc} '{path}': passes where it is gone ({} times)", place.gone.all));
            }
            if none(&place.changed) {
                all.push(format!("{rpc} '{path}': none of {} changes in it is found", place.changed.all));
            }
        }
        all
    }
}

fn rpc(call: &Call) -> &str {
    call.path.rsplit('/').next().unwrap_or_default()
}
