//! What real runtimes once did wrong, each to be switched on by name.
//!
//! One file per regression: a [`Regression`] that says what it is, and a [`Behaviour`] that does it, in the situation that
//! brought it out in the real runtime and in no other. A new one is one more file and its line in [`CATALOGUE`].
//!
//! Some need more of the real situation than a client of CRI alone brings about: a shim that is killed, an image that is
//! pulled past CRI. Commands in a container that was given the node do that (`host.rs`). Of two the real cause is a race that
//! can't be had again: `containerd-13881`, `containerd-8180`; their files say what stands for it.

mod behaviour;
mod containerd_10013;
mod containerd_10036;
mod containerd_10045;
mod containerd_10122;
mod containerd_10461;
mod containerd_10462;
mod containerd_10527;
mod containerd_10670;
mod containerd_12036;
mod containerd_12402;
mod containerd_12629;
mod containerd_12787;
mod containerd_12805;
mod containerd_13023;
mod containerd_13455;
mod containerd_13668;
mod containerd_13881;
mod containerd_6080;
mod containerd_6429;
mod containerd_7318;
mod containerd_8180;
mod containerd_8276;
mod containerd_8472;
mod containerd_9773;
mod containerd_9785;
mod containerd_9819;
mod containerd_9865;
mod containerd_de5b622;
mod cri_dockerd_168;
mod cri_dockerd_218;
mod cri_dockerd_293;
mod cri_dockerd_299;
mod cri_o_6563;
mod cri_o_6627;
mod cri_o_7143;
mod cri_o_8240;
mod cri_o_8362;
mod cri_o_8582;
mod cri_o_9014;
mod cri_o_9129;
mod cri_o_9615;
mod cri_o_9663;
mod cri_o_9728;
mod cri_o_9803;
mod cri_o_9846;
mod kubernetes_116707;

pub(crate) use behaviour::{Behaviour, Behaviours, OutsidePull};

use std::fmt;

/// The regressions there are, in the order in which they are listed.
static CATALOGUE: &[Regression] = &[
    containerd_10527::REGRESSION,
    containerd_12036::REGRESSION,
    containerd_9819::REGRESSION,
    containerd_10122::REGRESSION,
    containerd_10670::REGRESSION,
    containerd_7318::REGRESSION,
    containerd_13455::REGRESSION,
    containerd_13668::REGRESSION,
    containerd_10013::REGRESSION,
    containerd_12787::REGRESSION,
    containerd_8276::REGRESSION,
    containerd_10036::REGRESSION,
    containerd_10045::REGRESSION,
    containerd_10461::REGRESSION,
    containerd_10462::REGRESSION,
    containerd_12402::REGRESSION,
    containerd_12629::REGRESSION,
    containerd_12805::REGRESSION,
    containerd_13023::REGRESSION,
    containerd_13881::REGRESSION,
    containerd_6080::REGRESSION,
    containerd_6429::REGRESSION,
    containerd_8180::REGRESSION,
    containerd_8472::REGRESSION,
    containerd_9773::REGRESSION,
    containerd_9785::REGRESSION,
    containerd_9865::REGRESSION,
    containerd_de5b622::REGRESSION,
    cri_o_9728::REGRESSION,
    cri_o_8582::REGRESSION,
    cri_o_9846::REGRESSION,
    cri_o_9663::REGRESSION,
    cri_o_8240::REGRESSION,
    cri_o_6563::REGRESSION,
    cri_o_6627::REGRESSION,
    cri_o_7143::REGRESSION,
    cri_o_8362::REGRESSION,
    cri_o_9014::REGRESSION,
    cri_o_9129::REGRESSION,
    cri_o_9615::REGRESSION,
    cri_o_9803::REGRESSION,
    cri_dockerd_293::REGRESSION,
    cri_dockerd_299::REGRESSION,
    cri_dockerd_218::REGRESSION,
    cri_dockerd_168::REGRESSION,
    kubernetes_116707::REGRESSION,
];

/// One thing that a runtime can do wrong.
#[derive(Clone, Copy)]
pub struct Regression {
    name: &'static str,
    summary: &'static str,
    source: &'static str,
    shows: &'static [(&'static str, &'static str)],
    behaviour: fn() -> Box<dyn Behaviour>,
}

/// All regressions there are.
pub fn regressions() -> &'static [Regression] {
    CATALOGUE
}

impl Regression {
    /// The regression of this name, as `containerd-10527`.
    pub fn by_name(name: &str) -> Option<Self> {
        CATALOGUE.iter().find(|regression| regression.name == name).copied()
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What shows on the wire, in one line.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Where it is documented, as `containerd#10527`, or `containerd@de5b622` where only a commit tells of it.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Where a comparison with a runtime without it shows it: an RPC and the path of a field, best first. What is found
    /// elsewhere before that is its consequence at most.
    pub fn shows(&self) -> &'static [(&'static str, &'static str)] {
        self.shows
    }
}

impl fmt::Debug for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regression").field(&self.name).finish()
    }
}

impl PartialEq for Regression {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Regression {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_regression_is_found_by_its_name_and_says_what_it_is() {
        for regression in regressions() {
            assert_eq!(Regression::by_name(regression.name()), Some(*regression));
            assert_eq!(regression.source().replace(['#', '@'], "-"), regression.name());
            assert!(!regression.shows().is_empty());
            assert!(!regression.summary().is_empty() && !regression.summary().contains('\n'));
        }
        assert_eq!(Regression::by_name("containerd-1"), None);
    }
}
