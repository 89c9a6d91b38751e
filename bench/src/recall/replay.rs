//! One replay, and what its report says.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::tapes::Recording;
use crate::lanes::simulator_with;
use crate::process::built_beside;

/// The simulator is quick to reach a state.
const SETTLE: &str = "1s";

/// A finding of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    rpc: String,
    path: String,
    transition: String,
}

impl Found {
    pub(super) fn is_at(&self, rpc: &str, path: &str) -> bool {
        self.rpc == rpc && self.path == path
    }

    fn of(finding: &Value) -> Self {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let method = text("method");
        let rpc = method.rsplit('/').next().unwrap_or_default().to_owned();
        Self { rpc, path: text("path"), transition: text("transition") }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.rpc, self.path, self.transition)
    }
}

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// Most severe first.
    pub(super) findings: Vec<Found>,
    pub(super) compared: u64,
    pub(super) inconclusive_calls: u64,
    /// Why calls were not compared.
    pub(super) inconclusive: Vec<String>,
}

/// Replays on a new simulator that is started with these options.
pub(super) fn replay(
    recording: &Recording,
    pace: &[&str],
    options: &[&str],
    folder: &Path,
) -> Result<Answer> {
    let socket = folder.join("live.sock");
    let simulator = simulator_with(&socket, options, folder)?;
    let output = Command::new(built_beside("critape")?)
        .arg("replay")
        .arg(&recording.tape)
        .arg("-r")
        .arg(&socket)
        .args(pace)
        .args(["--settle", SETTLE, "-o", "json"])
        .stdin(Stdio::null())
        .output()
        .context("starting a replay")?;
    simulator.stop()?;
    // Same, different, or too much that is inconclusive.
    if !matches!(output.status.code(), Some(0..=2)) {
        bail!("the replay ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let report: Value = serde_json::from_slice(&output.stdout).context("the report of a replay")?;
    Ok(answer(&report))
}

fn answer(report: &Value) -> Answer {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let calls = &report["calls"];
    Answer {
        findings: list(&report["findings"]).iter().map(Found::of).collect(),
        compared: calls["compared"].as_u64().unwrap_or(0),
        inconclusive_calls: calls["inconclusive"].as_u64().unwrap_or(0),
        inconclusive: list(&report["inconclusive"]).iter().map(ToString::to_string).collect(),
    }
}
