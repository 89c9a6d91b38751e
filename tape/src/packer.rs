//! Packs closed segments beside the writer, one after the other.
//!
//! Packing takes several times the memory of a segment, which the allocator would keep. So a recorder lets a process of its own do
//! it, which also leaves the processors to others; where there is no program to start, a thread does.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::folder::{self, WriteLock};
use crate::seal;
use crate::{Result, TapeError};

/// How often to look whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Packs until it is dropped; what it has not packed by then, the next one packs.
#[derive(Debug)]
pub(crate) struct Packer {
    tape: PathBuf,
    /// The program that packs, as `critape tape pack-segment TAPE NUMBER`.
    program: Option<PathBuf>,
    pending: Arc<Mutex<BTreeSet<u32>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Packer {
    pub(crate) fn new(tape: &Path) -> Self {
        Self {
            tape: tape.to_owned(),
            program: None,
            pending: Arc::default(),
            stop: Arc::default(),
            thread: None,
        }
    }

    /// Lets this program pack from now on.
    pub(crate) fn set_program(&mut self, program: PathBuf) {
        self.program = Some(program);
    }

    /// Packs these as well.
    pub(crate) fn add(&mut self, numbers: impl IntoIterator<Item = u32>) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
        if self.is_busy() || self.pending.lock().is_ok_and(|pending| pending.is_empty()) {
            return;
        }
        let (pending, stop) = (self.pending.clone(), self.stop.clone());
        let (tape, program) = (self.tape.clone(), self.program.clone());
        let spawned = thread::Builder::new().name("tape-packer".to_owned()).spawn(move || {
            // The lock is not held while one is packed.
            let next = || pending.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
            while let Some(number) = next() {
                let packed = match &program {
                    Some(program) => run(program, &tape, number, &stop),
                    None => seal::pack(&tape, number, &stop),
                };
                if let Err(error) = packed
                    && !stop.load(Ordering::Relaxed)
                {
                    tracing::warn!(%error, "a closed segment could not be packed; it is whole, only larger");
                }
                pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            }
        });
        self.thread = spawned.ok();
    }

    /// The segment that is being packed.
    pub(crate) fn current(&self) -> Option<u32> {
        if !self.is_busy() {
            return None;
        }
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

/// Lets a process pack.
fn run(program: &Path, tape: &Path, number: u32, stop: &AtomicBool) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["tape", "pack-segment"]).arg(tape).arg(number.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    // What a service manager says is not meant for it.
    for variable in
        ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]
    {
        command.env_remove(variable);
    }
    let starting = TapeError::io("starting a process to pack", tape);
    let mut child = command.spawn().map_err(starting)?;
    loop {
        let waited = child.try_wait().map_err(TapeError::io("waiting for a process to pack", tape))?;
        match waited {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                let failed = io::Error::other(format!("it ended with {status}"));
                return Err(TapeError::io("packing a segment of", tape)(failed));
            }
            None if stop.load(Ordering::Relaxed) => {
                // What it leaves is taken away when the tape is next opened.
                let _ = child.kill();
                let _ = child.wait();
                return Ok(());
            }
            None => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Packs a segment for the recorder that writes this tape and has started this process.
///
/// # Errors
/// Also where the caller was not started by the tape's writer.
pub fn pack_segment(tape: &Path, number: u32) -> Result<()> {
    folder::check(tape)?;
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().to_string());
    let holder = WriteLock::holder(tape);
    if parent.is_none() || parent != holder {
        let holder = holder.unwrap_or_else(|| "(none)".to_owned());
        return Err(TapeError::BeingWritten { path: tape.to_owned(), holder });
    }
    seal::pack(tape, number, &AtomicBool::new(false))
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // It has no result; a panic in it was printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
