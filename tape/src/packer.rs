//! Packs closed segments on a thread of its own, one after the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::seal;

/// Packs until it is dropped; what it has not packed by then, the next one packs.
#[derive(Debug)]
pub(crate) struct Packer {
    tape: PathBuf,
    pending: Arc<Mutex<BTreeSet<u32>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Packer {
    pub(crate) fn new(tape: &Path) -> Self {
        Self { tape: tape.to_owned(), pending: Arc::default(), stop: Arc::default(), thread: None }
    }

    /// Packs these as well.
    pub(crate) fn add(&mut self, numbers: impl IntoIterator<Item = u32>) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
        if self.is_busy() || self.pending.lock().is_ok_and(|pending| pending.is_empty()) {
            return;
        }
        let (tape, pending, stop) = (self.tape.clone(), self.pending.clone(), self.stop.clone());
        let spawned = thread::Builder::new().name("tape-packer".to_owned()).spawn(move || {
            // The lock is not held while one is packed.
            let next = || pending.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            while let Some(number) = next() {
                if let Err(error) = seal::pack(&tape, number, &stop)
                    && !stop.load(Ordering::Relaxed)
                {
                    tracing::warn!(%error, "a closed segment could not be packed; it is whole, only larger");
                }
            }
        });
        self.thread = spawned.ok();
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // It has no result; a panic in it was printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
