//! The order in which lists without one came, to see whether it stays from call to call.

use std::collections::{BTreeSet, HashMap};

use crate::align::{Element, key_of};
use crate::{ListRule, Path};

/// The order in which lists without one came, to see whether it stays.
#[derive(Debug, Default)]
pub(crate) struct Orders(pub(crate) HashMap<(String, Path), Seen>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) recorded: BTreeSet<Order>,
    pub(crate) live: BTreeSet<Order>,
}

impl Orders {
    /// Notes how a list came on both sides; gives all that was seen of it so far.
    pub(crate) fn note(
        &mut self,
        method: &str,
        path: &Path,
        rule: &ListRule,
        recorded: &[impl Element],
        live: &[impl Element],
    ) -> &Seen {
        let seen = self.0.entry((method.to_owned(), path.clone())).or_default();
        seen.recorded.insert(order_of(rule, recorded));
        seen.live.insert(order_of(rule, live));
        seen
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
