//! Python's grpcio, on a gRPC implementation of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use cri::{Generation, methods};
use prost::Message;
use serde_json::{Value, json};

use crate::parts::Parts;
use crate::process::{Process, until};

/// A client with one connection, run by `grpcio_client.py`.
#[derive(Debug)]
pub struct Grpcio {
    process: Process,
    calls: u64,
}

/// A call that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun(u64);

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As `NOT_FOUND`.
    pub code: String,
    /// The status message.
    pub message: String,
    /// Messages.
    pub answers: Vec<Vec<u8>>,
}

impl Grpcio {
    /// Starts one that connects to `socket` with its first call.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn start(parts: &Parts, socket: &Path) -> Self {
        let mut command = Command::new(parts.python());
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("grpcio_client.py")).arg(socket);
        Self { process: Process::start(command.stdin(Stdio::piped())), calls: 0 }
    }

    /// Begins a call of CRI v1.
    ///
    /// # Panics
    /// Where the client has ended.
    #[track_caller]
    pub fn begin(&mut self, rpc: &str, request: &impl Message) -> Begun {
        let method = methods().by_name(Generation::V1, rpc);
        // A name that nobody knows is worth a call as well.
        let path = method.map_or(format!("/runtime.v1.RuntimeService/{rpc}"), |method| method.path.clone());
        let stream = method.is_some_and(|method| method.server_streaming);
        self.calls += 1;
        let call =
            json!({ "id": self.calls, "path": path, "request": request.encode_to_vec(), "stream": stream });
        self.process.tell(&call.to_string());
        Begun(self.calls)
    }

    /// Waits for the end of a call.
    ///
    /// # Panics
    /// Where it goes on.
    #[track_caller]
    pub fn end(&self, call: Begun) -> Outcome {
        let ended = until("a call ends", || {
            let said = self.process.stdout();
            // A line without its end may go on.
            let lines = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|ended| ended["id"] == call.0)
        });
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Outcome {
            code: text(&ended["code"]),
            message: text(&ended["message"]),
            answers: serde_json::from_value(ended["answers"].clone()).unwrap(),
        }
    }

    /// A call from its begin to its end.
    ///
    /// # Panics
    /// Where it goes on.
    #[track_caller]
    pub fn call(&mut self, rpc: &str, request: &impl Message) -> Outcome {
        let call = self.begin(rpc, request);
        self.end(call)
    }
}
