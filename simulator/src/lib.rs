//! An in-memory CRI runtime on a real unix socket, with regressions of real runtimes that can be switched on.
//!
//! It answers as containerd 2.1 does: the same state machines, idempotence, error codes and texts, with containers whose
//! processes are timers and a small shell instead of a kernel's. It speaks `runtime.v1` and, over the same bytes,
//! `runtime.v1alpha2`. It needs no root, no network and no disk, and starts nothing outside this process; the one thing
//! it writes is a container's log file, where the client asked for one and its directory is there.
//!
//! Start from [`Simulator`] (the state of one runtime) and [`serve`] (its answers on a socket); [`regressions()`] lists
//! what can be switched on in [`Config::regressions`], and a [`Variant`] serves more, or less, than containerd 2.1.

mod clock;
mod config;
mod container;
mod element;
mod events;
mod failure;
mod host;
mod images;
mod index;
mod info;
mod names;
mod process;
mod random;
mod regressions;
mod rpc;
mod sandbox;
mod server;
mod simulator;
mod spec;
mod state;
mod usage;
mod variant;

pub use config::Config;
pub use regressions::{Regression, regressions};
pub use server::{ServeError, serve};
pub use simulator::Simulator;
pub use variant::Variant;
