//! containerd: that a container ran out of memory and that it exited are two events, and where the second was first the
//! reason was lost.
//!
//! A race. Here every second container loses it, beginning with the first.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Behaviour, Regression};
use crate::container::Memory;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-8180",
    summary: "A container that ran out of memory has the reason Error now and then",
    source: "containerd#8180",
    shows: &[("ContainerStatus", "status.reason")],
    behaviour: || Box::new(ExitFirst::default()),
};

#[derive(Default)]
struct ExitFirst {
    /// Whether the last one lost.
    lost: AtomicBool,
}

impl Behaviour for ExitFirst {
    fn out_of_memory(&self) -> Memory {
        if self.lost.fetch_xor(true, Ordering::Relaxed) { Memory::RanOut } else { Memory::Sufficed }
    }
}
