//! containerd before 1.6.32: mounts were sorted by how deep they lie with a sort that, since Go 1.19, keeps the order of equals
//! only in short lists.
//!
//! More than twelve have to be sorted. What Go made of them depends on the list; here those of one depth come in reverse.

use super::{Behaviour, Regression};
use crate::spec::Mount;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10045",
    summary: "Many mounts of one depth are not made in the order of the request",
    source: "containerd#10045",
    shows: &[("ExecSync", "stdout"), ("ContainerStatus", "info.info.runtimeSpec.mounts[]")],
    behaviour: || Box::new(UnstableSort),
};

struct UnstableSort;

/// Up to so many Go's sort inserts one by one, which keeps the order.
const SHORT: usize = 12;

impl Behaviour for UnstableSort {
    fn order_mounts(&self, mounts: &mut [Mount]) {
        if mounts.len() > SHORT {
            mounts.reverse();
            mounts.sort_by_key(Mount::depth);
        }
    }
}
