//! What the system has no more of, for now: open files, or places in the runtime's queue of connections.
//!
//! Clients wait for it, as they would at the runtime itself.

use std::io;
use std::time::Duration;

use cri::Endpoint;
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// How long to wait before trying again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often to say so: it comes and goes with each connection.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// When it was last told of.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    told: Option<Instant>,
}

impl Shortage {
    /// Waits a little after this error.
    pub(crate) async fn wait(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            if has_a_queue(error) {
                tracing::warn!("clients wait: the runtime accepts no more connections for now");
            } else {
                tracing::warn!(%error, "clients wait for connections of others to end: raise the limit of open files");
            }
        }
        sleep(PAUSE).await;
    }

    /// Connects to the runtime; where it is there, sooner or later.
    pub(crate) async fn connect(&mut self, runtime: &Endpoint) -> io::Result<UnixStream> {
        loop {
            match UnixStream::connect(runtime.path()).await {
                Err(error) if has_a_queue(&error) || is_out_of_files(&error) => self.wait(&error).await,
                other => return other,
            }
        }
    }
}

/// Whether a queue of connections is full.
fn has_a_queue(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn is_out_of_files(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| short.contains(&error))
}
