//! The whole program between real clients and real runtimes.
//!
//! Each test has folders and runtimes of its own. What `setup.sh` has not installed is said and skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod check;
mod crictl;
mod gateway;
mod grpcio;
mod kubelet;
mod place;
mod plain;
mod releases;
mod restarts;
mod sealed;
mod seeds;
mod session;
mod streams;

use serde_json::Value;

/// A text inside of JSON.
#[track_caller]
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer}: {value:#}"))
}
