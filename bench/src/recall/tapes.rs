//! What is replayed: workloads, each recorded once on the simulator as it is.

use std::path::{Path, PathBuf};

use anyhow::Result;
use cri::Endpoint;

use crate::lanes::{answers, simulator_with};
use crate::load::on_one_thread;
use crate::process::{Process, built_beside};

/// Who drives the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    /// Of `critape demo`.
    Demo,
    /// Forty pods and all that has ever brought a fault to light.
    Broad,
}

impl Workload {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Broad => "broad",
        }
    }

    /// Whether it is made to bring out every regression.
    pub(super) fn brings_out_all(self) -> bool {
        self == Self::Broad
    }
}

/// A tape, and how many calls are on it.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) workload: Workload,
    pub(super) tape: PathBuf,
    pub(super) calls: u64,
}

/// Records it through `critape record`.
pub(super) fn record(workload: Workload, seed: u64, folder: &Path) -> Result<Recording> {
    let name = workload.name();
    let (upstream, listen) = (folder.join(format!("{name}.sock")), folder.join(format!("{name}-tape.sock")));
    let tape = folder.join(format!("{name}.tape"));
    let simulator = simulator_with(&upstream, &[], folder)?;
    let args =
        ["record".into(), tape.clone(), "-r".into(), upstream.clone(), "--listen".into(), listen.clone()];
    let mut recorder = Process::run("record", &built_beside("critape")?, &args, folder)?;
    recorder.wait_until(|| answers(&listen))?;
    let endpoint = Endpoint::at(&listen)?;
    on_one_thread(async {
        match workload {
            Workload::Demo => Box::pin(critape_workload::demo(&endpoint)).await?,
            Workload::Broad => Box::pin(critape_workload::broad(&endpoint, seed)).await?,
        }
        Ok(())
    })?;
    recorder.stop()?;
    simulator.stop()?;
    let calls = critape_tape::Tape::open(&tape)?.info()?.summary.calls;
    Ok(Recording { workload, tape, calls })
}
