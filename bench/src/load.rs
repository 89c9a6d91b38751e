//! Calls an endpoint and takes the time.

mod caller;
mod message;
mod runs;

pub(crate) use caller::{CONNECTION_WINDOW, Caller, IMAGE_STATUS, STREAM_WINDOW, Target};
pub(crate) use critape_replayer::Timer;
pub(crate) use message::{Messages, Random, framed};
pub(crate) use runs::{closed_loop, on_one_thread, open_loop};
