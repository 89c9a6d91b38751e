//! The program, started and watched.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing here takes longer, however loaded the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Asks again and again until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "in {PATIENCE:?} this did not happen: {what}");
        thread::sleep(STEP);
    }
}

/// What a process that has ended left.
#[derive(Debug)]
pub struct Ended {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Its stdout, where it ended well.
    #[track_caller]
    pub fn done(self) -> String {
        self.with_code(0)
    }

    /// Its stdout, where it ended with this code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}

/// A process that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// With a stdout of the test's own.
    pub fn start_with_stdout(command: &mut Command, stdout: impl Into<Stdio>) -> Self {
        Self::spawn(command.stdout(stdout).stderr(Stdio::piped()))
    }

    /// With a stderr of the test's own.
    pub fn start_with_stderr(command: &mut Command, stderr: impl Into<Stdio>) -> Self {
        Self::spawn(command.stdout(Stdio::piped()).stderr(stderr))
    }

    /// With a stdin of the test's own.
    pub fn start_with_stdin(command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        Self::spawn_with(command.stdout(Stdio::piped()).stderr(Stdio::piped()), stdin)
    }

    fn spawn(command: &mut Command) -> Self {
        Self::spawn_with(command, Stdio::null())
    }

    fn spawn_with(command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        let mut child = command.stdin(stdin).spawn().expect("the program starts");
        // It must not hold open what the test gave away.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let stdout = child.stdout.take().map(Output::of).unwrap_or_default();
        let stderr = child.stderr.take().map(Output::of).unwrap_or_default();
        Self { child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until its stderr has this in it, and gives all of it.
    #[track_caller]
    pub fn until_stderr(&self, text: &str) -> String {
        until(&format!("{text:?} on stderr, which is {:?}", self.stderr()), || {
            Some(self.stderr()).filter(|stderr| stderr.contains(text))
        })
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).expect("a process of ours takes a signal");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        let status = until("the program ends", || self.child.try_wait().unwrap());
        Ended { code: status.code(), stdout: self.stdout.rest(), stderr: self.stderr.rest() }
    }

    /// Tells it to end with SIGINT, and waits for that.
    #[track_caller]
    pub fn interrupted(self) -> Ended {
        self.signal(Signal::INT);
        self.ended()
    }

    /// Takes its terminal away, with SIGHUP, and waits for its end.
    #[track_caller]
    pub fn hung_up(self) -> Ended {
        self.signal(Signal::HUP);
        self.ended()
    }

    /// Kills it with SIGKILL, as the system does when memory has run out.
    #[track_caller]
    pub fn killed(self) {
        self.signal(Signal::KILL);
        self.ended();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of a process's outputs, read as it comes, so that the process never waits for a reader.
#[derive(Debug, Default)]
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(mut source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = bytes.clone();
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut chunk) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..count]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// All of it, once the process has closed it.
    fn rest(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}
