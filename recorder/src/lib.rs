//! The relay on a socket that writes a tape.
//!
//! It stands between kubelet and the runtime of a node, so its first duty is to do no harm: it copies bytes between two unix
//! sockets untouched, and looks at a copy of them after they were forwarded. Whatever goes wrong with the looking or the
//! writing, forwarding goes on and the tape says what it lacks. It never parses HTTP/2 (that is `critape-wire`) and never
//! touches the store (that is `critape-tape`, on a thread of its own).
//!
//! ```text
//! client ──▶ relay ──▶ runtime        one task per connection, all on one thread
//!              │ copy
//!              ▼
//!            tap ──▶ queue ──▶ writer thread ──▶ tape
//! ```
//!
//! Start from [`Recorder`].

mod clock;
mod config;
mod counters;
mod courtesy;
mod entrance;
mod host;
mod metrics;
mod number;
mod opening;
mod queue;
mod recorder;
mod relay;
mod shortage;
mod takeover;
mod tap;
mod unwatched;
mod watchdog;
mod writer;

pub use config::{Config, Entrance, SegmentLimits};
pub use counters::{Counters, Passed};
pub use metrics::{Metrics, MetricsError};
pub use queue::OnOverload;
pub use recorder::{Handle, RecordError, Recorder};
pub use takeover::{GivenBack, TakeOverError, give_back};
pub use watchdog::{Heart, Watchdog};

#[doc(hidden)]
pub use unwatched::relay_without_recording;
