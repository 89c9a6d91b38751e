//! `critape replay --clean`.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use critape_replayer::{ReplayError, sweep};
use serde_json::json;

use super::one_thread;
use crate::args::EndpointArgs;
use crate::exit::Exit;
use crate::output;
use crate::reporting::ReportFormat;
use crate::signals;

/// Removes what replays left that have crashed.
pub(super) fn run(endpoints: &EndpointArgs, form: ReportFormat) -> Result<Exit> {
    if !matches!(form, ReportFormat::Table | ReportFormat::Json) {
        bail!("--clean says what it did as text or JSON: leave -o out, or write -o json");
    }
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
    if form == ReportFormat::Json {
        output::print_json(&json!({
            "sandboxes": swept.sandboxes,
            "images": swept.images,
            "folders": swept.folders,
            "alone": swept.alone,
            "left": swept.left,
        }))?;
    } else {
        writeln!(
            io::stdout(),
            "removed {} sandboxes, {} images and {} folders of earlier replays",
            swept.sandboxes,
            swept.images,
            swept.folders
        )?;
    }
    Ok(if swept.left.is_empty() { Exit::Done } else { Exit::Failed })
}
