//! CRI-O before 1.36: the exit code of a process that ended before its monitor was ready was lost.

use std::time::Duration;

use super::{Behaviour, Regression};

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-9846",
    summary: "A container that exits right after its start is reported with exit code 255",
    source: "cri-o#9846",
    shows: &[("ContainerStatus", "status.exit_code")],
    behaviour: || Box::new(LostExitCode),
};

/// How soon after its start a process has to end. In CRI-O it was a race of some milliseconds.
const TOO_FAST: Duration = Duration::from_millis(100);

struct LostExitCode;

impl Behaviour for LostExitCode {
    fn exit_code(&self, lifetime: Duration, code: i32) -> i32 {
        if lifetime < TOO_FAST { 255 } else { code }
    }
}
