//! The order in which lists came, to see whether it stays from call to call.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use crate::comparing::align::{Element, key_of};
use crate::{ListRule, Path};

/// Lists that are remembered at most; then it begins anew.
const MOST_LISTS: usize = 1 << 13;
/// Orders of one list that are remembered at most, of either side.
const MOST_ORDERS: usize = 64;

/// The orders in which each list came, by the hash of what it is.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    seen: HashMap<u64, Seen, RandomState>,
    hasher: RandomState,
}

/// Which list it is.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct ListName<'a> {
    /// The request path of the method.
    pub(crate) method: &'a str,
    pub(crate) path: &'a Path,
    /// The recorded id of what it is a list of; empty where that has none. What two things have in common says
    /// nothing of their orders.
    pub(crate) owner: &'a str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) recorded: BTreeSet<Order>,
    pub(crate) live: BTreeSet<Order>,
}

impl Orders {
    /// Notes how a list came on both sides; gives all that was seen of it so far.
    pub(crate) fn note(
        &mut self,
        name: ListName<'_>,
        rule: &ListRule,
        recorded: &[impl Element],
        live: &[impl Element],
    ) -> &Seen {
        if self.seen.len() >= MOST_LISTS {
            self.seen.clear();
        }
        let seen = self.seen.entry(self.hasher.hash_one(name)).or_default();
        keep(&mut seen.recorded, order_of(rule, recorded));
        keep(&mut seen.live, order_of(rule, live));
        seen
    }
}

fn keep(orders: &mut BTreeSet<Order>, order: Order) {
    if orders.len() < MOST_ORDERS {
        orders.insert(order);
    }
}

/// Whether one and the same set came in two orders.
pub(crate) fn changes(orders: &BTreeSet<Order>) -> bool {
    let mut sets: Vec<BTreeSet<&String>> = orders.iter().map(|order| order.iter().collect()).collect();
    sets.sort();
    sets.windows(2).any(|two| two[0] == two[1])
}

/// The keys of a list's elements, in the order in which they came.
pub(crate) type Order = Vec<String>;

pub(crate) fn order_of(rule: &ListRule, elements: &[impl Element]) -> Order {
    elements
        .iter()
        .filter_map(|element| key_of(&rule.keys[0], element, &str::to_owned))
        .map(|key| key.join(" "))
        .collect()
}
