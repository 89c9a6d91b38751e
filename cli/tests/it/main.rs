//! The program as users and scripts meet it: started in a folder of its own, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod architecture;
mod bad_input;
mod export;
mod faults;
mod folder;
mod golden;
mod kubelet;
mod operations;
mod process;
mod recall;
mod shape;
mod whole;
mod workload;
