//! What to record, from where, onto what.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use cri::Endpoint;
use critape_tape::{Retention, Seal};

use crate::queue::OnOverload;

/// What to record, from where, onto what.
#[derive(Debug)]
pub struct Config {
    /// The runtime.
    pub upstream: Endpoint,
    /// Where clients connect.
    pub entrance: Entrance,
    /// The tape: made where it is not there, appended to where it is.
    pub tape: PathBuf,
    /// Bytes of messages that may wait for the writer. Beyond it bodies are left out of the tape.
    pub memory: u64,
    /// What happens when the writer does not keep up.
    pub on_overload: OnOverload,
    /// Whether the runtime is asked what it holds when a segment begins.
    pub ask_opening: bool,
    /// When a segment is closed and another begun.
    pub segment: SegmentLimits,
    /// How much of the tape is kept.
    pub retention: Retention,
    /// What is sealed before it is stored.
    pub seal: Seal,
    /// The program whose `tape pack-segment TAPE NUMBER` packs closed segments; without one this process does.
    pub packer: Option<PathBuf>,
}

/// Where clients connect.
#[derive(Debug)]
pub enum Entrance {
    /// A socket of the recorder's own, made and removed by it, as wide as the runtime's.
    Listen(Endpoint),
    /// A socket that a service manager listens on and passed. It is left as it is.
    Passed(UnixListener),
    /// The runtime's own path. The recorder's socket takes its place, and the runtime's a name beside it, until the end.
    ///
    /// The socket is a new one, or one that was passed: then clients that come while no recorder runs wait for the next.
    TakeOver(Option<UnixListener>),
}

/// When a segment is closed and another begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Bytes of its chunks.
    pub max_bytes: u64,
    /// Time since it began.
    pub max_age: Duration,
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_age: Duration::from_secs(3600) }
    }
}

impl Config {
    /// The usual way.
    pub fn new(upstream: Endpoint, listen: Endpoint, tape: PathBuf) -> Self {
        Self {
            upstream,
            entrance: Entrance::Listen(listen),
            tape,
            memory: 20 << 20,
            on_overload: OnOverload::default(),
            ask_opening: true,
            segment: SegmentLimits::default(),
            retention: Retention::default(),
            seal: Seal::default(),
            packer: None,
        }
    }
}
