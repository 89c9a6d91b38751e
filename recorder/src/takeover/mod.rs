//! The recorder on the runtime's own path.
//!
//! Clients go on with the path they know. Connections that are open stay as they are: only those that come later pass the
//! recorder. [`names`](self) has the steps, `watch` notices a runtime that makes its socket anew.

mod lock;
mod names;
mod watch;

use std::io;
use std::path::{Path, PathBuf};

use cri::Endpoint;
use cri::endpoint::EndpointError;
use thiserror::Error;

use lock::Lock;
pub use names::GivenBack;
pub(crate) use names::Names;
pub(crate) use watch::watch;

/// Why a path can't be taken over or given back.
#[derive(Debug, Error)]
pub enum TakeOverError {
    /// A recorder is at work there.
    #[error("{path} is taken over by a recorder that runs{}: stop that one first", pid_text(*.pid))]
    Held {
        /// The path.
        path: PathBuf,
        /// The recorder's process, where it could be told.
        pid: Option<u32>,
    },
    /// Something there is not a socket.
    #[error("{0} exists and is not a socket: it can't be taken over")]
    NotASocket(PathBuf),
    /// Which of two is the runtime's can't be told.
    #[error("{0} and {1} both answer, and which is the runtime's can't be told: remove the one that is not")]
    Two(PathBuf, PathBuf),
    /// A name beside it would be too long.
    #[error("the names beside the runtime's socket would be too long: {0}")]
    Endpoint(EndpointError),
    /// The file system can't do it without a moment in which nothing is at the path.
    #[error("the file system of {0} can't exchange two files: use --listen with another path")]
    NoExchange(PathBuf),
    /// The system refused.
    #[error("{doing} {path}: {source}{}", hint(.source))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TakeOverError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; to take over a runtime's path, run as its user",
        io::ErrorKind::CrossesDevices => {
            "; the socket that was passed must be on the file system of the runtime's"
        }
        _ => "",
    }
}

/// A path that this recorder may take over. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct TakeOver {
    names: Names,
    // After the names are cleared away.
    _lock: Lock,
    given: bool,
}

impl TakeOver {
    /// Makes sure that this is the only recorder there, that the path can be taken over, and that nothing is left of one that
    /// died: where that one left clients without a runtime, they have it again.
    pub(crate) fn prepare(runtime: &Endpoint) -> Result<Self, TakeOverError> {
        let names = Names::of(runtime)?;
        let lock = Lock::take(&names)?;
        names.check()?;
        if names.is_orphaned()? {
            // Not only when the recorder is ready, which may take its time: clients are turned away meanwhile.
            names.give_back()?;
        }
        Ok(Self { names, _lock: lock, given: true })
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Puts our socket, which stands at [`Names::ours`], at the path. Says whether it is there now: without a runtime it waits.
    pub(crate) fn take(&mut self) -> Result<bool, TakeOverError> {
        self.given = false;
        self.names.take(self.names.look_twice()?)
    }

    /// Gives the path back.
    pub(crate) fn give_back(&mut self) -> Result<GivenBack, TakeOverError> {
        self.given = true;
        self.names.give_back()
    }
}

impl Drop for TakeOver {
    fn drop(&mut self) {
        if !self.given
            && let Err(error) = self.names.give_back()
        {
            tracing::error!(%error, "the runtime's path was not given back: run `critape record --give-back`");
        }
    }
}

/// Gives back the path of a runtime that a recorder has left taken over. Nothing happens where none has.
///
/// # Errors
/// Also where a recorder is still at work there.
pub fn give_back(runtime: &Endpoint) -> Result<GivenBack, TakeOverError> {
    let names = Names::of(runtime)?;
    let _lock = Lock::take(&names)?;
    names.give_back()
}
