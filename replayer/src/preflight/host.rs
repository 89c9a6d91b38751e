//! What this host has at paths that a tape names.
//!
//! A path may lie on a file system that does not answer, and whoever asks there waits for good. So it is asked on threads of their own, of
//! which nobody waits for one that does not come back: not the calls, nor the end of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

/// How many paths are asked after at a time.
const THREADS: usize = 8;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    /// A device, or a folder, which may be one of devices.
    Device,
    Other,
    /// Its file system did not answer in time.
    Untold,
}

/// What is at some paths of this host.
#[derive(Debug, Default)]
pub(crate) struct Host(BTreeMap<String, There>);

impl Host {
    /// Looks at all of them. What no answer has come for `within` this time stays untold.
    pub(crate) async fn look(paths: BTreeSet<String>, within: Duration) -> Self {
        Self::asked(paths, within, there).await
    }

    async fn asked(
        paths: BTreeSet<String>,
        within: Duration,
        look: impl Fn(&str) -> There + Clone + Send + 'static,
    ) -> Self {
        let mut host = Self::default();
        let (tell, mut told) = mpsc::unbounded_channel();
        let threads = paths.len().min(THREADS);
        let left = Arc::new(Mutex::new(paths));
        for _ in 0..threads {
            let (left, look, tell) = (left.clone(), look.clone(), tell.clone());
            let next = move || left.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            let work = move || {
                // Nobody listens any more once the time is over.
                while let Some(path) = next().filter(|_| !tell.is_closed()) {
                    let there = look(&path);
                    let _ = tell.send((path, there));
                }
            };
            if let Err(error) = thread::Builder::new().name("host-path".to_owned()).spawn(work) {
                tracing::warn!(%error, "no thread looks at the host's paths");
            }
        }
        drop(tell);
        let all = async {
            while let Some((path, there)) = told.recv().await {
                host.0.insert(path, there);
            }
        };
        let _ = tokio::time::timeout(within, all).await;
        host
    }

    /// What is at this path.
    pub(crate) fn at(&self, path: &str) -> There {
        self.0.get(path).copied().unwrap_or(There::Untold)
    }
}

fn there(path: &str) -> There {
    // Links are followed, as a runtime does when it mounts; one that leads nowhere is something, too.
    match fs::metadata(path).map(|about| about.file_type()) {
        Ok(kind) if kind.is_char_device() || kind.is_block_device() || kind.is_dir() => There::Device,
        Ok(_) => There::Other,
        Err(_) if fs::symlink_metadata(path).is_ok() => There::Other,
        Err(_) => There::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn paths(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|path| (*path).to_owned()).collect()
    }

    #[tokio::test]
    async fn devices_other_things_and_nothing_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        let asked = ["/dev/null".to_owned(), "/".to_owned(), at("file"), at("link"), at("absent")];
        let host = Host::look(asked.iter().cloned().collect(), LONG).await;
        let found = asked.each_ref().map(|path| host.at(path));
        assert_eq!(found, [There::Device, There::Device, There::Other, There::Other, There::Nothing]);
    }

    #[tokio::test]
    async fn a_path_that_does_not_answer_stays_untold() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let look = move |_: &str| {
            let _ = ended.lock().unwrap().recv();
            There::Other
        };
        let host = Host::asked(paths(&["/dead"]), Duration::ZERO, look).await;
        assert_eq!(host.at("/dead"), There::Untold);
        drop(end);
    }

    /// The first answers only once all others have.
    #[tokio::test]
    async fn a_path_that_does_not_answer_holds_no_other_up() {
        let all: BTreeSet<String> = (0..100).map(|number| format!("/{number:02}")).collect();
        let others = Arc::new((Mutex::new(all.len() - 1), Condvar::new()));
        let look = move |path: &str| {
            let (left, changed) = &*others;
            let mut left = left.lock().unwrap();
            if path == "/00" {
                drop(changed.wait_while(left, |left| *left > 0).unwrap());
            } else {
                *left -= 1;
                changed.notify_all();
            }
            There::Other
        };
        let host = Host::asked(all.clone(), LONG, look).await;
        assert!(all.iter().all(|path| host.at(path) == There::Other));
    }
}
