//! What the system lets this process have.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Takes as many open files as are allowed: each client of a recorder needs two.
pub(crate) fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where it is refused, what there was remains.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Makes a file that may not grow any more an error of a write, instead of the end of the process.
pub(crate) fn survive_file_size() -> Result<()> {
    // Once it is taken, it stays so.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop).context("waiting for SIGXFSZ")
}
