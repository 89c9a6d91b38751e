//! SIGINT and SIGTERM: the normal end of what runs until it is stopped.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// Within what time signals to end are one.
const TOLD_ONCE: Duration = Duration::from_millis(500);

/// What tells a program that runs as a service what to do.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// The handlers are in place when this returns.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("waiting for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("waiting for SIGTERM")?,
            hang_up: signal(SignalKind::hangup()).context("waiting for SIGHUP")?,
        })
    }

    /// Completes when the program is told to end; does this whenever it is told to begin anew.
    pub(crate) async fn end(&mut self, begin_anew: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => begin_anew(),
            }
        }
    }

    /// Completes when the program is told to end a second time. Who ends a whole group of processes and each of them, as `timeout`
    /// does, has told it once.
    pub(crate) async fn end_again(&mut self) {
        let first = Instant::now();
        loop {
            self.end(|| {}).await;
            if first.elapsed() >= TOLD_ONCE {
                return;
            }
        }
    }
}

/// Completes when the program is told to end, or its terminal goes away. The handlers are in place when this returns.
pub(crate) fn shutdown() -> Result<impl Future<Output = ()> + 'static> {
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("waiting for SIGHUP")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}
