//! The order in which lists without one came, to see whether it stays from call to call.

use std::collections::{BTreeSet, HashMap};

use prost_reflect::Value;

use crate::align::key_of;
use crate::{ListRule, Path};

/// The order in which lists without one came, to see whether it stays.
#[derive(Debug, Default)]
pub(crate) struct Orders(pub(crate) HashMap<(String, Path), Seen>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) recorded: BTreeSet<Order>,
    pub(crate) live: BTreeSet<Order>,
}

/// The keys of a list's elements, in the order in which they came.
pub(crate) type Order = Vec<String>;

pub(crate) fn order_of(rule: &ListRule, elements: &[Value]) -> Order {
    elements
        .iter()
        .filter_map(|element| key_of(&rule.keys[0], element, &str::to_owned))
        .map(|key| key.join(" "))
        .collect()
}
