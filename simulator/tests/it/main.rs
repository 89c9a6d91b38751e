//! The simulator over a real unix socket, as a client sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod authority;
mod containers;
mod events;
mod exec;
mod generations;
mod harness;
mod images;
mod raw;
mod regressions;
mod sandboxes;
mod server;
mod situations;
mod stats;
mod variants;
mod windows;
