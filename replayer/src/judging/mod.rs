//! Two ends of one call, recorded and live: whether they agree, what excuses them, and how the report gets to know.

pub(crate) mod ledger;
pub(crate) mod left_out;
pub(crate) mod list_streams;
pub(crate) mod older_names;
pub(crate) mod oracles;
pub(crate) mod pairs;
pub(crate) mod places;
pub(crate) mod replays;
pub(crate) mod stand_in_images;
pub(crate) mod witness;
