//! Processes of this program's own, which never outlive it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// How long a process may take until it listens: Python's ones are slow.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a process may take to end: the recorder still has to write what waits.
const END_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// A process that runs until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a process holds, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
}

impl Process {
    /// Runs a program; what it says goes to a log in `folder`.
    pub(crate) fn run<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        args: &[A],
        folder: &Path,
    ) -> Result<Self> {
        let mut all = vec![OsStr::new("lane"), OsStr::new("run"), OsStr::new("--"), program.as_os_str()];
        all.extend(args.iter().map(AsRef::as_ref));
        Self::spawn(name, &all, folder)
    }

    /// Runs a lane that is part of this program.
    pub(crate) fn own<A: AsRef<OsStr>>(name: &str, args: &[A], folder: &Path) -> Result<Self> {
        let mut all = vec![OsStr::new("lane")];
        all.extend(args.iter().map(AsRef::as_ref));
        Self::spawn(name, &all, folder)
    }

    fn spawn(name: &str, args: &[&OsStr], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = fs::File::create(&log)?;
        let child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until `is_there` says so.
    pub(crate) fn wait_until(&mut self, is_there: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !is_there() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended before it listened ({status}): {}", self.name, self.said());
            }
            ensure!(begun.elapsed() < START_LIMIT, "{} does not listen: {}", self.name, self.said());
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Asks it to end as an operator does, and waits for that.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(self.pid(), Signal::TERM)?;
        let begun = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < END_LIMIT, "{} does not end: {}", self.name, self.said());
            std::thread::sleep(POLL);
        };
        ensure!(status.success(), "{} ended with {status}: {}", self.name, self.said());
        Ok(())
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Ok(Memory { resident: memory(self.child.id(), "VmRSS:")?, peak: memory(self.child.id(), "VmHWM:")? })
    }

    /// Processor time that its threads took.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        processor_time(&format!("/proc/{}/task", self.child.id()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that this process's threads took.
pub(crate) fn own_processor_time() -> Result<Duration> {
    processor_time("/proc/self/task")
}

fn processor_time(threads: &str) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(threads)? {
        // A thread may have ended since.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// The most that was ever resident of a process, in bytes.
pub(crate) fn peak_of(process: u32) -> Result<u64> {
    memory(process, "VmHWM:")
}

fn memory(process: u32, key: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = number.ok_or_else(|| anyhow!("process {process} has no {key}"))?.parse()?;
    Ok(kilobytes * 1024)
}

/// Has this process die with its parent, however that dies.
pub(crate) fn die_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Becomes another program.
///
/// # Errors
/// Always: where it works, this program is no more.
pub(crate) fn become_program(command: &[OsString]) -> Result<()> {
    let [program, args @ ..] = command else { bail!("no program was named") };
    let error = Command::new(program).args(args).exec();
    Err(error).with_context(|| program.display().to_string())
}

/// A program that was built beside this one.
///
/// `cargo run` builds this package only; what started us so is asked to build the other as well.
pub(crate) fn built_beside(package: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<()> = OnceLock::new();
    let beside = std::env::current_exe()?.with_file_name(package);
    if let Some(cargo) = std::env::var_os("CARGO")
        && BUILT.set(()).is_ok()
    {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", package]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        ensure!(build.status()?.success(), "{package} could not be built");
    }
    ensure!(
        beside.exists(),
        "{} is not there: run `cargo build --release -p {package}` first",
        beside.display()
    );
    Ok(beside)
}
