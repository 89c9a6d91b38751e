//! Where processes write.

use std::sync::Arc;

use super::log::{ContainerLog, Tag};
use crate::clock::Clock;

/// Longer lines are cut, as containerd does.
const MAX_LINE: usize = 16 * 1024;

/// One of a process's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Takes what a process writes.
pub(crate) trait Output: Send {
    /// Takes all of `bytes`.
    fn write(&mut self, stream: Stream, bytes: &[u8]);
}

/// Keeps it for the answer of `ExecSync`.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Captured {
    /// Of each stream; the rest is dropped. containerd stops there too.
    const MAX: usize = 16 * 1024 * 1024;
}

impl Output for Captured {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = Self::MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Writes it to the container's log, line by line.
#[derive(Debug)]
pub(crate) struct LogOutput {
    log: Option<Arc<ContainerLog>>,
    clock: Clock,
    unfinished: [Vec<u8>; 2],
}

impl LogOutput {
    /// Without a log, what is written is lost.
    pub(crate) fn new(log: Option<Arc<ContainerLog>>, clock: Clock) -> Self {
        Self { log, clock, unfinished: [Vec::new(), Vec::new()] }
    }

    fn flush(&mut self, stream: Stream, tag: Tag) {
        let line = std::mem::take(self.unfinished(stream));
        if let Some(log) = &self.log {
            log.write(self.clock.now(), stream, tag, &line);
        }
    }

    fn unfinished(&mut self, stream: Stream) -> &mut Vec<u8> {
        &mut self.unfinished[usize::from(stream == Stream::Stderr)]
    }
}

impl Output for LogOutput {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, is_whole) = match piece.split_last() {
                Some((b'\n', line)) => (line, true),
                _ => (piece, false),
            };
            for part in piece.chunks(MAX_LINE) {
                if self.unfinished(stream).len() + part.len() > MAX_LINE {
                    self.flush(stream, Tag::Partial);
                }
                self.unfinished(stream).extend_from_slice(part);
            }
            if is_whole {
                self.flush(stream, Tag::Full);
            }
        }
    }
}

impl Drop for LogOutput {
    fn drop(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.unfinished(stream).is_empty() {
                self.flush(stream, Tag::Full);
            }
        }
    }
}
