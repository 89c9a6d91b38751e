//! Notices a runtime that makes its socket anew: one that starts removes what is at its path, ours too.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, MissedTickBehavior};

use super::names::Stands;
use super::{Names, TakeOverError};

/// How often the path is looked at, whatever the kernel tells.
const EVERY: Duration = Duration::from_secs(1);
/// How often a socket that was only just made is looked at, until it answers. Clients that come first stay direct, so there is
/// no time to lose.
const STEP: Duration = Duration::from_millis(1);
/// How long that goes on.
const MADE_WITHIN: Duration = Duration::from_secs(2);
/// What a runtime has, from the moment its socket answers, to set its mode and owner.
const DOOR_WITHIN: Duration = Duration::from_millis(5);

/// Keeps the path taken over, for as long as it is polled.
pub(crate) async fn watch(names: &Names) {
    let changes = match Changes::of(names.path.parent().unwrap_or(&names.path)) {
        Ok(changes) => Some(changes),
        Err(error) => {
            tracing::warn!(%error, "the runtime's folder can't be watched; it is looked at every second");
            None
        }
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Last::default();
    loop {
        tokio::select! {
            () = next(changes.as_ref()) => {}
            _ = ticks.tick() => {}
        }
        if let Err(error) = follow(names, &mut last).await {
            last.failed(&error);
        }
    }
}

/// What was said last, so that each thing is said once.
#[derive(Debug, Default)]
struct Last {
    absent: bool,
    failed: bool,
}

impl Last {
    fn failed(&mut self, error: &TakeOverError) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::error!(%error, "the runtime's path can't be taken over again; its calls are not recorded");
        }
    }
}

/// Takes over what stands at the path now, if that is the runtime.
async fn follow(names: &Names, last: &mut Last) -> Result<(), TakeOverError> {
    let since = Instant::now();
    loop {
        match names.look()? {
            Stands::Ours if names.runtime_answers() => {
                *last = Last::default();
                return Ok(());
            }
            // A runtime that starts may look first whether somebody is at its path.
            Stands::Ours => drop(names.withdraw()?),
            Stands::Nobody if names.take(Stands::Nobody)? => return Ok(()),
            Stands::Nobody => {
                if !std::mem::replace(&mut last.absent, true) {
                    tracing::warn!(path = %names.path.display(), "the runtime's socket is gone; waiting for the next");
                }
                return Ok(());
            }
            Stands::Dead if since.elapsed() > MADE_WITHIN => return Ok(()),
            Stands::Dead => tokio::time::sleep(STEP).await,
            Stands::Alive => {
                tokio::time::sleep(DOOR_WITHIN).await;
                if names.take(Stands::Alive)? {
                    tracing::warn!(path = %names.path.display(), "the runtime made its socket anew; taken over again");
                    return Ok(());
                }
            }
        }
    }
}

async fn next(changes: Option<&Changes>) {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// Names that come and go in a folder.
#[derive(Debug)]
struct Changes {
    kernel: AsyncFd<OwnedFd>,
}

impl Changes {
    #[expect(deprecated, reason = "its successor asks for what an owned descriptor that stays does anyway")]
    fn of(folder: &Path) -> io::Result<Self> {
        let kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let what = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
        inotify::add_watch(&kernel, folder, what)?;
        Ok(Self { kernel: AsyncFd::new(kernel)? })
    }

    /// Completes when something has changed. What it was is found out by looking.
    async fn next(&self) {
        let Ok(mut ready) = self.kernel.readable().await else {
            return std::future::pending().await;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.kernel.get_ref(), &mut buffer);
        while reader.next().is_ok() {}
        ready.clear_ready();
    }
}
