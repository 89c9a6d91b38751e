//! What the tests against real runtimes share: the parts that `setup.sh` installed, processes that end with the test
//! that started them, and the sessions that are recorded.
//!
//! Start from [`parts::require`], [`Runtime`], [`Critape`] and [`Crictl`].

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail the test that can't go on"
)]

pub mod crictl;
pub mod critape;
pub mod driver;
pub mod golden;
pub mod grpcio;
pub mod http;
pub mod kubelet;
pub mod parts;
pub mod process;
pub mod relay;
pub mod runtime;
pub mod session;

pub use crictl::Crictl;
pub use critape::Critape;
pub use grpcio::Grpcio;
pub use kubelet::Kubelet;
pub use parts::{Part, Parts, Version};
pub use runtime::Runtime;
