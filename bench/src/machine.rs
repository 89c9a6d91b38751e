//! What other programs do on this machine meanwhile: on a busy one nothing can be measured.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lanes::Open;
use crate::process;

/// One tick of `/proc/stat`: `USER_HZ` is 100 wherever this runs.
const TICK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(60);
/// What others may take while something is measured, in processors.
const QUIET: f64 = 0.25;

/// Processor time since the machine came up, and the part of it that was this run's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    at: Instant,
    all: Duration,
    own: Duration,
}

impl Times {
    pub(crate) fn now(opened: &[Open]) -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let ticks: Vec<u32> = fields.map_while(|field| field.parse().ok()).collect();
        // All but the fourth and fifth, which are idleness; what follows the eighth is in the first two already.
        let busy = ticks.iter().enumerate().take(8).filter(|(field, _)| !matches!(field, 3 | 4));
        let mut own = process::own_processor_time()?;
        for open in opened {
            own += open.process.processor_time()?;
        }
        Ok(Self { at: Instant::now(), all: TICK * busy.map(|(_, ticks)| ticks).sum(), own })
    }

    /// How many processors others have had since.
    pub(crate) fn others_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let own = self.own.saturating_sub(before.own);
        all.saturating_sub(own).as_secs_f64() / self.at.duration_since(before.at).as_secs_f64()
    }
}

/// Waits until others are quiet, and takes the time from `patience`; where that is used up it waits no more.
pub(crate) fn wait_until_quiet(opened: &[Open], patience: &mut Duration) -> Result<()> {
    while !patience.is_zero() {
        let before = Times::now(opened)?;
        sleep(LOOK);
        if Times::now(opened)?.others_since(before) < QUIET {
            return Ok(());
        }
        *patience = patience.saturating_sub(LOOK);
    }
    Ok(())
}
