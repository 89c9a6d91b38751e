//! Whether one answer of a runtime only repeats another.

use crate::{Compared, Comparer, ListOrder};

/// Under these names two ids pass for one another, which within one side are two things.
const IDENTITIES: [&str; 2] = ["id", "id-in-text"];

impl Comparer<'_> {
    /// Whether of two answers that one runtime gave to one question, one after the other, the second says nothing new. `compared` is
    /// what comparing them gave, with ids that stand for themselves.
    ///
    /// What differs may be what rules take for noise: counters, times, the order of lists that have none. Ids, and orders that mean
    /// something or are to stay, may not.
    pub fn repeats(&self, compared: &Compared) -> bool {
        let tells = |list: &&crate::ListRule| list.order != ListOrder::Any;
        compared.divergences.is_empty()
            && compared.untold.is_none()
            && compared.left_out == 0
            && !IDENTITIES.iter().any(|name| compared.passed.contains_key(*name))
            && !self.rules.lists().filter(tells).any(|list| compared.passed.contains_key(&list.name))
    }
}
