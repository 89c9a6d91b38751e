//! `critape replay --clean`.

use std::io::{self, Write as _};

use anyhow::Result;
use critape_replayer::{ReplayError, sweep};

use super::one_thread;
use crate::args::EndpointArgs;
use crate::exit::Exit;
use crate::output;
use crate::signals;

/// Removes what replays left that have crashed.
pub(super) fn run(endpoints: &EndpointArgs) -> Result<Exit> {
    let endpoints = endpoints.asked().resolve()?;
    let swept = one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        let temp = std::env::temp_dir();
        tokio::select! {
            swept = sweep(&endpoints, &temp) => Ok(swept?),
            () = shutdown => Err(anyhow::Error::from(ReplayError::Interrupted { removed: 0 })),
        }
    })?;
    for what in &swept.alone {
        output::say(format_args!("left alone: {what}"));
    }
    for what in &swept.left {
        output::say(format_args!("could not be removed: {what}"));
    }
    writeln!(
        io::stdout(),
        "removed {} sandboxes, {} images and {} folders of earlier replays",
        swept.sandboxes,
        swept.images,
        swept.folders
    )?;
    Ok(if swept.left.is_empty() { Exit::Done } else { Exit::Failed })
}
