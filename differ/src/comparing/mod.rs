//! Two answers, compared: from the messages down to the leaves.

pub(crate) mod agreed;
pub(crate) mod align;
pub(crate) mod asked;
pub(crate) mod comparer;
pub(crate) mod json;
pub(crate) mod lateness;
pub(crate) mod leaves;
pub(crate) mod lists;
pub(crate) mod lockstep;
pub(crate) mod order;
pub(crate) mod outcome;
pub(crate) mod own;
pub(crate) mod path;
pub(crate) mod repeats;
pub(crate) mod walk;
