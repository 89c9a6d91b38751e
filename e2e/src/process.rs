//! Processes that are watched while they run, and end at the latest with the test that started them.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What takes longer than this does not happen any more. Starting a runtime may take its script 60 s; the replay of a thousand calls
/// takes as long as they took when they were recorded, on a machine that may have been busy.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(10);

/// Asks until there is an answer.
///
/// # Panics
/// Where there is none within [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    match patiently(ask) {
        Some(answer) => answer,
        None => panic!("within {PATIENCE:?} it did not come to this: {what}"),
    }
}

/// Asks until there is an answer, or patience is at its end.
pub fn patiently<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        match ask() {
            None if begin.elapsed() < PATIENCE => thread::sleep(STEP),
            answer => return answer,
        }
    }
}

/// What a process left behind.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it said.
    pub stdout: String,
    /// All that it complained about.
    pub stderr: String,
}

impl Ended {
    /// Its exit code; 128 and the number of the signal where one ended it, as in shells.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Its stdout.
    ///
    /// # Panics
    /// Where it ended with another code than this.
    #[track_caller]
    pub fn with_code(self, code: i32) -> String {
        assert_eq!(self.code(), code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its stdout.
    ///
    /// # Panics
    /// Where it ended with anything but 0.
    #[track_caller]
    pub fn well(self) -> String {
        self.with_code(0)
    }
}

/// A process that runs.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

impl Process {
    /// Starts it. Its stdin is as `command` has it.
    ///
    /// # Panics
    /// Where it can't be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => panic!("{command:?} does not start: {error}"),
        };
        let stdout = Heard::of(child.stdout.take());
        let stderr = Heard::of(child.stderr.take());
        Self { child, stdout, stderr }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it does not start or end.
    #[track_caller]
    pub fn run(command: &mut Command) -> Ended {
        Self::start(command.stdin(Stdio::null())).ended()
    }

    /// What it has said so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// What it has complained about so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Gives it a line of input. Its stdin has to be a pipe.
    ///
    /// # Panics
    /// Where it does not take it.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("its stdin is a pipe that was not closed");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("the process reads");
    }

    /// Gives it the end of its input.
    pub fn end_input(&mut self) {
        self.child.stdin.take();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // A process that has just ended takes none.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it goes on.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        let status = until("the process ends", || self.child.try_wait().expect("a child can be waited for"));
        Ended { status, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }

    /// Ends it as Ctrl-C does.
    ///
    /// # Panics
    /// Where it goes on.
    #[track_caller]
    pub fn interrupted(self) -> Ended {
        self.signal(Signal::INT);
        self.ended()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An output, read as it comes, so that nobody waits for a reader.
#[derive(Debug)]
struct Heard {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Heard {
    fn of(source: Option<impl Read + Send + 'static>) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let reader = source.map(|mut source| {
            let text = Arc::clone(&text);
            thread::spawn(move || {
                let mut chunk = [0; 8192];
                while let Ok(length @ 1..) = source.read(&mut chunk) {
                    text.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..length]);
                }
            })
        });
        Self { text, reader }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// All of it, once whoever writes has closed it.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has read what it has read.
            let _ = reader.join();
        }
        self.so_far()
    }
}
