//! One call on its way to the live runtime: what is sent, how, and what comes back.

pub(crate) mod answer;
pub(crate) mod credentials;
pub(crate) mod images;
pub(crate) mod presence;
pub(crate) mod rewrite;
pub(crate) mod uids;
pub(crate) mod ways;
