//! What a slice follows from: changes to sandboxes and containers that are not meant themselves, and those among them that the meant
//! calls can't do without.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use critape_calls::{CallId, Stamp};

/// A call that changed sandboxes or containers and is not meant.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) call: CallId,
    pub(crate) started: Stamp,
    /// The sandboxes and containers that are otherwise after it, and what pods are called.
    pub(crate) changed: Vec<String>,
    /// Those that it names.
    pub(crate) named: Vec<String>,
    /// The images that it names.
    pub(crate) images: Vec<String>,
}

impl Change {
    /// What it names, as it was when the change was made.
    fn needs(&self) -> impl Iterator<Item = (String, Stamp)> {
        self.named.iter().map(|name| (name.clone(), self.started))
    }
}

/// Up to when what is meant says something of what.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    by_name: HashMap<String, Stamp>,
    /// Of whatever there is.
    of_all: Option<Stamp>,
}

impl Uses {
    pub(crate) fn note(&mut self, names: impl IntoIterator<Item = String>, until: Stamp) {
        for name in names {
            let last = self.by_name.entry(name).or_insert(until);
            *last = (*last).max(until);
        }
    }

    /// Up to when something is said of the thing of this id.
    pub(crate) fn last(&self, id: &str) -> Option<Stamp> {
        self.by_name.get(id).copied()
    }

    pub(crate) fn note_all(&mut self, until: Stamp) {
        self.of_all = self.of_all.max(Some(until));
    }
}

/// The places of the changes that what is used follows from, directly or through one another. `sandbox_of` is that of a container; calls
/// may say the beginning of an id alone.
pub(crate) fn followed<'a>(
    changes: &[Change],
    uses: &Uses,
    sandbox_of: impl Fn(&str) -> Option<&'a str>,
) -> BTreeSet<usize> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, change) in changes.iter().enumerate() {
        change.changed.iter().for_each(|name| by_name.entry(name).or_default().push(place));
    }
    let is_before = |until: Stamp, place: usize| changes[place].started < until;
    let of_all = |until| (0..changes.len()).filter(|place| is_before(until, *place)).collect();
    let mut followed: BTreeSet<usize> = uses.of_all.map(of_all).unwrap_or_default();
    let named = |place: &usize| changes[*place].needs();
    let mut open: Vec<(String, Stamp)> = followed.iter().flat_map(named).collect();
    open.extend(uses.by_name.iter().map(|(name, until)| (name.clone(), *until)));
    let mut reached: HashMap<String, Stamp> = HashMap::new();
    while let Some((name, until)) = open.pop() {
        // Nothing is the beginning of every id.
        if name.is_empty() || reached.get(&name).is_some_and(|reached| *reached >= until) {
            continue;
        }
        open.extend(sandbox_of(&name).map(|sandbox| (sandbox.to_owned(), until)));
        let so_named = by_name.range(name.as_str()..).take_while(|(full, _)| full.starts_with(&name));
        for place in so_named.flat_map(|(_, places)| places).filter(|place| is_before(until, **place)) {
            if followed.insert(*place) {
                open.extend(named(place));
            }
            // What had the name before may have been taken away.
            open.extend(
                changes[*place].changed.iter().filter(|it| **it != name).map(|it| (it.clone(), until)),
            );
        }
        reached.insert(name, until);
    }
    followed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change at this moment, which has its number, of these by means of those.
    fn change(at: u64, changed: &[&str], named: &[&str]) -> Change {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (changed, named) = (owned(changed), owned(named));
        Change { call: CallId(at), started: Stamp(at), changed, named, images: Vec::new() }
    }

    fn used(changes: &[Change], name: &str, until: u64) -> Vec<u64> {
        let mut uses = Uses::default();
        uses.note(vec![name.to_owned()], Stamp(until));
        let sandbox_of = |id: &str| ["c1", "c2"].contains(&id).then_some("p1");
        followed(changes, &uses, sandbox_of).into_iter().map(|place| changes[place].call.0).collect()
    }

    #[test]
    fn what_was_done_to_a_thing_and_its_sandbox_goes_along() {
        let changes = [
            change(1, &["ns web u 0", "p1"], &[]),
            change(2, &["p2"], &[]),
            change(3, &["c1"], &["p1"]),
            change(4, &["c2"], &["p1"]),
            change(5, &["c1"], &["c1"]),
            change(6, &["p1"], &["p1"]),
            change(7, &["c1"], &["c1"]),
        ];
        assert_eq!(used(&changes, "c1", 4), [1, 3]);
        assert_eq!(used(&changes, "c1", 6), [1, 3, 5]);
        assert_eq!(used(&changes, "c1", 7), [1, 3, 5, 6], "its sandbox was stopped");
        assert_eq!(used(&changes, "p2", 9), [2]);
        assert_eq!(used(&changes, "p", 9), [1, 2, 6], "the beginning of several");
        assert_eq!([used(&changes, "other", 9), used(&changes, "", 9)], [[0; 0], [0; 0]]);
    }

    #[test]
    fn a_list_follows_from_all_that_was_done() {
        let changes = [change(1, &["p1"], &[]), change(2, &["p2"], &[]), change(3, &["p3"], &[])];
        let mut uses = Uses::default();
        uses.note_all(Stamp(3));
        assert_eq!(followed(&changes, &uses, |_| None), BTreeSet::from([0, 1]));
    }

    #[test]
    fn a_pod_follows_from_the_end_of_one_of_the_same_name() {
        let changes = [change(1, &["ns web u 0", "p1"], &[]), change(2, &["p1"], &["p1"])];
        assert_eq!(used(&changes, "ns web u 0", 9), [1, 2]);
    }
}
