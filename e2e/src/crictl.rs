//! crictl, as people run it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::critape::endpoint;
use crate::parts::Parts;
use crate::process::{Ended, Process};

/// One user of crictl: its endpoint is set, as in `/etc/crictl.yaml`.
#[derive(Clone, Debug)]
pub struct Crictl {
    binary: PathBuf,
    config: PathBuf,
}

impl Crictl {
    /// One that talks to `socket`, and keeps its configuration in `folder`.
    ///
    /// # Panics
    /// Where that can't be written.
    pub fn new(parts: &Parts, folder: &Path, socket: &Path) -> Self {
        let name = socket.file_stem().unwrap_or_default().display().to_string();
        let config = folder.join(format!("crictl-{name}.yaml"));
        let socket = endpoint(socket);
        // Patient: two cores may be busy with other tests.
        let text = format!("runtime-endpoint: {socket}\nimage-endpoint: {socket}\ntimeout: 30\n");
        fs::write(&config, text).expect("a folder of the test's own");
        Self { binary: parts.crictl(), config }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it does not end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ended {
        Process::run(self.command().args(args))
    }

    /// Starts it. What it reads comes from [`Process::tell`].
    ///
    /// # Panics
    /// Where it can't be started.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Process {
        Process::start(self.command().args(args).stdin(Stdio::piped()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for name in ["CONTAINER_RUNTIME_ENDPOINT", "IMAGE_SERVICE_ENDPOINT", "CRI_CONFIG_FILE"] {
            command.env_remove(name);
        }
        command.arg("--config").arg(&self.config);
        command
    }

    /// The last word of what it says: the id of what it made.
    ///
    /// # Panics
    /// Where it does not end well.
    #[track_caller]
    pub fn made<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        self.run(args).well().split_whitespace().next_back().unwrap_or_default().to_owned()
    }

    /// What it prints as JSON.
    ///
    /// # Panics
    /// Where it does not end well, or prints something else.
    #[track_caller]
    pub fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> Value {
        let text = self.run(args).well();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}
