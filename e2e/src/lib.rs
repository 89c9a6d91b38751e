//! What the tests against real runtimes share.

pub mod driver;
pub mod session;
