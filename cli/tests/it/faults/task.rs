//! A process from outside: what it takes, and one thread of it stopped.

use std::fs;
use std::path::PathBuf;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::process::{Process, until};

fn proc_of(process: &Process) -> PathBuf {
    PathBuf::from(format!("/proc/{}", process.id()))
}

/// How many files it has open.
pub fn open_files(process: &Process) -> usize {
    fs::read_dir(proc_of(process).join("fd")).unwrap().count()
}

/// Its resident memory, in bytes.
pub fn memory(process: &Process) -> u64 {
    let status = fs::read_to_string(proc_of(process).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    kibibytes << 10
}

/// Processor time it has used, in the system's ticks of 10 ms.
pub fn ticks(process: &Process) -> u64 {
    let stat = fs::read_to_string(proc_of(process).join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // User and system time: fields 14 and 15 of the line, whose first two are cut off.
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

/// One thread that does not run as long as this value lives; the others do.
///
/// Stopped and let go by the same thread, as the kernel wants it.
#[derive(Debug)]
pub struct Stopped {
    thread: Pid,
}

impl Stopped {
    /// Stops the thread of this name.
    #[track_caller]
    pub fn stop(process: &Process, name: &str) -> Self {
        let named = |task: &fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        // A thread names itself, a moment after it was made.
        let task = until("a thread of this name", || {
            fs::read_dir(proc_of(process).join("task")).unwrap().map(Result::unwrap).find(named)
        });
        let thread = Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).expect("a child's thread can be traced");
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self { thread }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Fails where the process has ended.
        let _ = ptrace::detach(self.thread, None);
    }
}
