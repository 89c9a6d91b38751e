//! A containerd of one's own, run by `runtime.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::parts::Version;
use crate::process::{Process, patiently, until};

/// A containerd that runs until this is dropped, or the test process ends.
#[derive(Debug)]
pub struct Runtime {
    process: Process,
    folder: PathBuf,
}

impl Runtime {
    /// Starts one that keeps everything in `folder`, which has to be empty or absent, and is deleted at the end.
    ///
    /// The path should be short: those of unix sockets below it have at most 107 bytes. Runtimes whose answers are
    /// compared want the same path, one after the other, because texts of errors contain it.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn start(version: Version, folder: &Path) -> Self {
        let mut process =
            Process::start(script().arg("run").arg(version.to_string()).arg(folder).stdin(Stdio::piped()));
        // Its first line is containerd's pid, once containerd answers.
        until(&format!("containerd {version} answers in {}", folder.display()), || {
            let ended = process.has_ended();
            assert!(!ended, "containerd {version} did not start: {}", process.stderr());
            process.stdout().contains('\n').then_some(())
        });
        Self { process, folder: folder.to_owned() }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends containerd, as its service manager would; containers run on.
    ///
    /// # Panics
    /// Where it does not end.
    #[track_caller]
    pub fn halt(&self) {
        self.end_by(Signal::TERM);
    }

    /// Crashes containerd; containers run on.
    ///
    /// # Panics
    /// Where it does not end.
    #[track_caller]
    pub fn crash(&self) {
        self.end_by(Signal::KILL);
    }

    #[track_caller]
    fn end_by(&self, signal: Signal) {
        let pid = fs::read_to_string(self.folder.join("containerd.pid"));
        let pid = pid.ok().and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw);
        let pid = pid.expect("the runtime's folder tells its pid");
        // Fails where it has ended already.
        let _ = kill_process(pid, signal);
        until("containerd ends", || has_ended(pid).then_some(()));
    }

    /// Ends containerd if it runs, and starts it again on the same folders.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn restart(&self) {
        Process::run(script().arg("restart").arg(&self.folder)).well();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // The script takes this for the end of the test, and cleans up. Killed, it could not.
        self.process.end_input();
        let ended = patiently(|| self.process.has_ended().then_some(()));
        let complaints = self.process.stderr();
        // No panic: one may be under way.
        if ended.is_none() || !complaints.is_empty() {
            eprintln!("stopping the runtime in {}: {ended:?} {complaints}", self.folder.display());
        }
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime.sh"))
}

/// Whether it is gone, or only waits for its parent to ask how it ended.
fn has_ended(pid: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let is_zombie =
        |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    test_kill_process(pid).is_err() || state.map_or(true, |stat| is_zombie(&stat))
}
