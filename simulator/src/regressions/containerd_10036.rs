//! containerd 1.7.14: a lock of the shim was taken twice when two commands in one container met. `exec` probes hung until
//! their time was up, and the pods were restarted.
//!
//! In containerd one of many hung. Here it is each that begins while another runs in the same container.

use super::{Behaviour, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-10036",
    summary: "ExecSync beside another in the same container hangs until its deadline",
    source: "containerd#10036",
    shows: &[("ExecSync", "outcome.code")],
    behaviour: || Box::new(ExecsMeet),
};

struct ExecsMeet;

impl Behaviour for ExecsMeet {
    fn concurrent_execs_hang(&self) -> bool {
        true
    }
}
