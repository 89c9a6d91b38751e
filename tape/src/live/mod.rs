//! The open segment, shown by the one who writes it.
//!
//! sled locks its folder, so nobody else can read the segment that is being written. Its writer listens on a socket in the
//! tape's folder and hands out what it has committed.

mod chunks;
mod frame;
mod read;
mod serve;

pub(crate) use chunks::{LiveChunks, Until};
pub(crate) use read::{Connection, LiveSegment};
pub(crate) use serve::{Server, Shown};

/// The socket in the tape's folder.
const SOCKET: &str = "live";
