//! The gateway as clients meet it, in front of a runtime that answers what each test tells it to.

// Helpers outside test functions, where clippy.toml doesn't reach.
#![allow(clippy::unwrap_used, clippy::panic)]

mod errors;
mod fake;
mod http;
mod requests;
mod safety;
mod simulator;
mod sockets;
