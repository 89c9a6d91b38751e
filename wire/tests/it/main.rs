//! The crate as its users see it: made-up conversations in any pieces, real ones of `h2`, and the filter in
//! front of a real `h2` server.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may panic as the tests do")]

mod authority;
mod conversation;
mod observer;
mod pieces;
mod script;
mod seeds;
mod speed;
mod support;
