//! SIGINT and SIGTERM: the normal end of what runs until it is stopped.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Completes when the program is told to end. The handlers are in place when this returns.
pub(crate) fn shutdown() -> Result<impl Future<Output = ()> + 'static> {
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
