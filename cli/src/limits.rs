//! What the system lets this process have.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

const ARENAS: &str = "MALLOC_ARENA_MAX";

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

/// Starts this program anew, in its place, with two arenas for the C library's memory; does nothing where somebody has chosen
/// their number. Belongs before everything else.
///
/// By default each of many threads gets an arena, and what one thread frees for another stays in it: in the recorder, where all
/// messages go from one thread to another, that is tens of megabytes which are never used again.
pub(crate) fn use_few_arenas() {
    if !cfg!(target_env = "gnu") || env::var_os(ARENAS).is_some() {
        return;
    }
    let mut args = env::args_os();
    let name = args.next().unwrap_or_default();
    // By its path, so that it keeps its name among the processes.
    let program = env::current_exe().ok().filter(|path| path.exists());
    let program = program.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let error = Command::new(program).arg0(name).args(args).env(ARENAS, "2").exec();
    tracing::debug!(%error, "memory is kept in as many arenas as the C library likes");
}
