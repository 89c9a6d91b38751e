//! The program under test, as users start it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Ended, Process, until};

/// The program; made from the source where it is older than that.
#[derive(Clone, Debug)]
pub struct Critape {
    binary: PathBuf,
}

impl Critape {
    /// The program that `CRITAPE_E2E_BINARY` names, else the one beside this test's own.
    ///
    /// # Panics
    /// Where it can't be built.
    pub fn get() -> Self {
        static BINARY: OnceLock<PathBuf> = OnceLock::new();
        let named = || env::var_os("CRITAPE_E2E_BINARY").map(PathBuf::from);
        Self { binary: BINARY.get_or_init(|| named().unwrap_or_else(built)).clone() }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it does not end.
    #[track_caller]
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Ended {
        Process::run(self.command().args(args))
    }

    /// What it prints as JSON, where it ends well.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn json<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Value {
        json(&self.run(args).well())
    }

    /// Starts a command that serves clients until it is told to end, once they may connect.
    ///
    /// # Panics
    /// Where it does not come to that.
    #[track_caller]
    pub fn serve<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Server {
        let mut process = Process::start(self.command().args(args).stdin(Stdio::null()));
        until("the program listens", || {
            assert!(!process.has_ended(), "it has ended: {}", process.stderr());
            process.stderr().contains("listening on ").then_some(())
        });
        Server { process }
    }

    /// Starts to record what clients at `socket` say to the runtime at `runtime`.
    ///
    /// # Panics
    /// Where it does not listen.
    #[track_caller]
    pub fn record(&self, tape: &Path, runtime: &Path, socket: &Path) -> Recorder {
        let server = self.serve(&[
            "record".to_owned(),
            tape.display().to_string(),
            "-r".to_owned(),
            endpoint(runtime),
            "--listen".to_owned(),
            endpoint(socket),
            "-o".to_owned(),
            "json".to_owned(),
        ]);
        Recorder { server, socket: socket.to_owned() }
    }

    /// Re-issues a tape against the runtime at `runtime`, and prints the report as a person sees it.
    ///
    /// # Panics
    /// Where there is no report.
    #[track_caller]
    pub fn replay(&self, tape: &Path, runtime: &Path, options: &[&str]) -> Replay {
        let table = tape.with_extension("report.txt");
        let mut command = self.command();
        command.arg("replay").arg(tape).args(["-r", &endpoint(runtime), "-o", "json", "--report"]);
        let begin = SystemTime::now();
        let ended = Process::run(command.arg(&table).args(options));
        let took = begin.elapsed().unwrap_or_default();
        assert!(matches!(ended.code(), 0..=2), "no replay: {}", ended.stderr);
        println!("{}\nexit code {} after {took:.1?}\n", fs::read_to_string(table).unwrap(), ended.code());
        Replay { code: ended.code(), report: json(&ended.stdout) }
    }

    /// The calls on a tape, in their order.
    ///
    /// # Panics
    /// Where it can't be read.
    #[track_caller]
    pub fn calls(&self, tape: &Path) -> Vec<Value> {
        let listing =
            self.run(&[Path::new("tape"), Path::new("show"), tape, Path::new("-o"), Path::new("json")]);
        listing.well().lines().map(json).collect()
    }

    /// What `tape info` or `tape verify` tells of a tape.
    ///
    /// # Panics
    /// Where it can't be read, or is damaged.
    #[track_caller]
    pub fn tape(&self, command: &str, tape: &Path) -> Value {
        self.json(&[Path::new("tape"), Path::new(command), tape, Path::new("-o"), Path::new("json")])
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        // Nothing of the machine's own settings.
        for name in ["CONTAINER_RUNTIME_ENDPOINT", "IMAGE_SERVICE_ENDPOINT", "CRI_CONFIG_FILE", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }
}

/// A command that serves clients.
#[derive(Debug)]
pub struct Server {
    process: Process,
}

impl Server {
    /// What it has said to its user so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// What stands on its stderr behind `before` on the same line.
    ///
    /// # Panics
    /// Where it does not come to that.
    #[track_caller]
    pub fn said(&self, before: &str) -> String {
        until(&format!("{before:?} on its stderr"), || {
            let stderr = self.stderr();
            // A line without its end may go on.
            let mut lines = stderr.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            lines.find_map(|line| line.strip_prefix(before)).map(str::to_owned)
        })
    }

    /// Ends it as Ctrl-C does; gives its stdout.
    ///
    /// # Panics
    /// Where it does not end well.
    #[track_caller]
    pub fn end(self) -> String {
        self.process.interrupted().well()
    }
}

/// A recorder at work.
#[derive(Debug)]
pub struct Recorder {
    server: Server,
    socket: PathBuf,
}

impl Recorder {
    /// Where clients connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has said to its user so far.
    pub fn stderr(&self) -> String {
        self.server.stderr()
    }

    /// Crashes it.
    ///
    /// # Panics
    /// Where it goes on.
    #[track_caller]
    pub fn crash(self) {
        self.server.process.signal(Signal::KILL);
        self.server.process.ended();
    }

    /// Ends the recording; gives its summary.
    ///
    /// # Panics
    /// Where it does not end well.
    #[track_caller]
    pub fn end(self) -> Value {
        json(&self.server.end())
    }
}

/// How a replay ended.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Its exit code.
    pub code: i32,
    /// Its report.
    pub report: Value,
}

impl Replay {
    /// Fails the test unless nothing differs and everything was compared.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn same(&self) {
        let findings = &self.report["findings"];
        assert_eq!((self.code, findings.as_array().map(Vec::len)), (0, Some(0)), "{findings:#}");
        assert_eq!(self.report["verdict"], "same");
    }
}

/// How a socket is named on the command line.
pub fn endpoint(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

#[track_caller]
fn json(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("{error}: {text}"),
    }
}

/// The program in the folder of this profile, built anew if a source of it is newer.
fn built() -> PathBuf {
    let test = env::current_exe().unwrap();
    // target/PROFILE/deps/it-0123456789abcdef
    let profile = test.ancestors().nth(2).unwrap();
    let binary = profile.join("critape");
    if !is_fresh(&binary) {
        // Not always: cargo, asked for one package alone, may choose other features of what it is built on than it did for
        // the whole workspace, and then builds all of that again.
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "-p", "critape", "--profile"]).arg(profile_name(profile));
        build.arg("--target-dir").arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        let status = build.status().expect("cargo starts");
        assert!(status.success(), "{build:?} failed");
    }
    binary
}

/// The profile that cargo builds into this folder.
fn profile_name(folder: &Path) -> &str {
    match folder.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        name => name,
    }
}

/// Whether the program is there, and no source that cargo noted beside it is newer or gone.
fn is_fresh(binary: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let (Some(made), Ok(noted)) = (changed(binary), fs::read_to_string(binary.with_extension("d"))) else {
        return false;
    };
    // Made as for make: `binary: source source …`, and spaces in names behind a backslash. Names with spaces are not found.
    let mut sources =
        noted.lines().filter_map(|line| line.split_once(": ")).flat_map(|(_, names)| names.split(' '));
    sources.all(|source| changed(Path::new(source)).is_some_and(|changed| changed <= made))
}
