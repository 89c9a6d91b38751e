//! The service manager: what it passes to the program, and what it is told. Without one nothing is passed and nobody is told.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The socket that was passed, if one was. Belongs at the start of the program, before there are threads.
///
/// # Errors
/// Where what was passed is not exactly one stream socket.
pub(crate) fn passed_socket() -> Result<Option<UnixListener>> {
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => Ok(None),
        1 => passed.take_unix_listener(0).context("the socket that the service manager passed"),
        more => bail!(
            "the service manager passed {more} sockets, and one is wanted: give the socket unit one ListenStream"
        ),
    }
}

/// Clients may connect.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The program begins something anew, and has done so.
pub(crate) fn reloaded() {
    // Both, as managers want it that wait for the end of a reload.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
        tell(&[NotifyState::Ready]);
    }
}

/// The program is ending.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The program works.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// For how long the program may be silent, where the service manager minds.
pub(crate) fn patience() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}
