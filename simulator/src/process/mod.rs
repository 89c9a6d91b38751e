//! Processes without a kernel: tasks that sleep, print and exit.

mod environment;
mod log;
mod output;
mod program;
mod shell;
mod signal;

use std::time::Duration;

use tokio::task::AbortHandle;

pub(crate) use environment::{Cgroup, Environment, Files};
pub(crate) use log::ContainerLog;
pub(crate) use output::{Captured, LogOutput, Output, Stream};
pub(crate) use program::{MissingBinary, Program};
use signal::Outbox;
pub(crate) use signal::{Fate, Inbox, KILL, Namespace, stop_signal_number};

/// How long a real runtime takes from "started" to the first instruction. Without it a container that exits at once would
/// often have exited before `StartContainer` returns, which no client has ever seen.
const STARTUP: Duration = Duration::from_millis(2);

/// A container's first process, running. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    /// As a real runtime's `info` would give it.
    pub pid: u32,
    signals: Outbox,
    task: AbortHandle,
}

impl Process {
    /// Starts `program`; `exited` is told its exit code, unless it is killed before.
    pub(crate) fn spawn(
        pid: u32,
        program: Program,
        namespace: Namespace,
        environment: Environment,
        mut output: LogOutput,
        exited: impl FnOnce(i32) + Send + 'static,
    ) -> Self {
        let (signals, mut inbox) = signal::channel(namespace);
        if program == Program::Service {
            inbox.handle_all();
        }
        let task = tokio::spawn(async move {
            tokio::time::sleep(STARTUP).await;
            let code = program.run(environment, &mut output, &mut inbox).await;
            // The last line is in the log before anyone can see that the container has exited.
            drop(output);
            exited(code);
        });
        Self { pid, signals, task: task.abort_handle() }
    }

    /// Sends a signal other than `KILL`. One that is deadly is for the caller to carry out.
    pub(crate) fn signal(&self, number: i32) -> Fate {
        self.signals.send(number)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}
