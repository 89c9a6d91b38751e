//! What a simulator is made with.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::{Regression, Variant};

/// How a [`crate::Simulator`] is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Ids, orders and statistics follow from it: two simulators of one seed that get the same calls give the same ids.
    /// By default it is random.
    pub seed: u64,
    /// What this runtime does wrong.
    pub regressions: Vec<Regression>,
    /// What it serves beyond containerd 2.1, or short of it.
    pub variants: Vec<Variant>,
    /// Runtime handlers besides the usual ones.
    pub handlers: Vec<String>,
    /// `runtime_name` in `Version`.
    pub name: String,
    /// `runtime_version` in `Version`.
    pub version: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // The standard library's own random state: keyed by the system, different in each process and call.
            seed: RandomState::new().build_hasher().finish(),
            regressions: Vec::new(),
            variants: Vec::new(),
            handlers: Vec::new(),
            name: "critape-simulator".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
