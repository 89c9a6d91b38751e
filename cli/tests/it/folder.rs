//! A folder for each test, in which the program runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Ended, Process};

/// Stands for the folder's path in command lines and in what is printed.
const DIR: &str = "DIR";

/// Stands for an argument without text in command lines.
const EMPTY: &str = "''";

/// What a user's environment may say to the program; the tests' own must not.
const ENVIRONMENT: [&str; 13] = [
    "CONTAINER_RUNTIME_ENDPOINT",
    "IMAGE_SERVICE_ENDPOINT",
    "CRI_CONFIG_FILE",
    "CRITAPE_LOG",
    "NO_COLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "RUST_BACKTRACE",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
];

/// A folder of a test's own. Command lines are split at blanks; `DIR` in them is the folder.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The program with these arguments, in this folder, its temporary files too.
    pub fn command(&self, line: &str) -> Command {
        self.place(Command::new(env!("CARGO_BIN_EXE_critape")), line)
    }

    /// The same, run by another program that takes it as its last arguments.
    pub fn command_by(&self, program: &str, arguments: &[&str], line: &str) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).arg(env!("CARGO_BIN_EXE_critape"));
        self.place(command, line)
    }

    fn place(&self, mut command: Command, line: &str) -> Command {
        let path = self.folder.path();
        command.current_dir(path).env("TMPDIR", path);
        for name in ENVIRONMENT {
            command.env_remove(name);
        }
        for word in line.split_whitespace() {
            command.arg(if word == EMPTY {
                String::new()
            } else {
                word.replace(DIR, path.to_str().unwrap())
            });
        }
        command
    }

    pub fn start(&self, line: &str) -> Process {
        Process::start(&mut self.command(line))
    }

    #[track_caller]
    pub fn run(&self, line: &str) -> Ended {
        self.start(line).ended()
    }

    /// What it prints as JSON, where it ends well.
    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(line).done()).expect("a JSON document")
    }

    /// What it prints as JSON lines, where it ends well.
    #[track_caller]
    pub fn json_lines(&self, line: &str) -> Vec<Value> {
        self.run(line)
            .done()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON document"))
            .collect()
    }

    /// Starts what listens, and waits until it does.
    #[track_caller]
    pub fn listening(&self, line: &str) -> Process {
        let process = self.start(line);
        process.until_stderr("listening on ");
        process
    }

    /// The same, run by another program.
    #[track_caller]
    pub fn listening_by(&self, program: &str, arguments: &[&str], line: &str) -> Process {
        let process = Process::start(&mut self.command_by(program, arguments, line));
        process.until_stderr("listening on ");
        process
    }

    /// A simulator on this socket.
    #[track_caller]
    pub fn simulator(&self, socket: &str, more: &str) -> Process {
        self.listening(&format!("simulator --listen unix://DIR/{socket} {more}"))
    }

    /// A recorder onto this tape.
    #[track_caller]
    pub fn recorder(&self, tape: &str, from: &str, socket: &str, more: &str) -> Process {
        self.listening(&format!("record {tape} -r unix://DIR/{from} --listen unix://DIR/{socket} {more}"))
    }

    /// What is there: every path below the folder, with what kind of thing it is.
    pub fn listing(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        list(self.folder.path(), &mut found);
        found
    }

    /// What the files below this path hold.
    pub fn contents(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        list(&self.path(name), &mut found);
        let files = found.into_keys().filter(|path| path.is_file());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// A copy of a tape that nobody writes, whatever is going on in the original.
    pub fn copy(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.path(to));
        copy(&self.path(from), &self.path(to));
    }

    /// Text that is the same from run to run.
    pub fn redacted(&self, text: &str) -> String {
        text.replace(self.folder.path().to_str().unwrap(), DIR)
    }

    /// What bad input gets: the text on stderr, after everything else was checked.
    #[track_caller]
    pub fn refused(&self, line: &str) -> String {
        self.refused_by(&mut self.command(line))
    }

    #[track_caller]
    pub fn refused_by(&self, command: &mut Command) -> String {
        let before = self.listing();
        let Ended { code, stdout, stderr } = Process::start(command).ended();
        assert_eq!(code, Some(3), "stdout: {stdout}\nstderr: {stderr}");
        assert_eq!(stdout, "", "results are for stdout, and there is none");
        let lines = stderr.lines().count();
        assert!((1..=3).contains(&lines), "one to three lines are wanted, these are {lines}: {stderr}");
        assert!(stderr.lines().all(|line| !line.trim().is_empty()), "a line is empty: {stderr}");
        assert_eq!(self.listing(), before, "something was left behind");
        self.redacted(&stderr)
    }
}

fn list(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    // What a process that runs removes in between is not there.
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        found.insert(entry.path(), format!("{kind:?}"));
        if kind.is_dir() {
            list(&entry.path(), found);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries.flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // As above.
            let _ = fs::copy(entry.path(), to);
        }
    }
}
