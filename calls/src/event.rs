//! What a recorder sees, one thing at a time and in order.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Body, CallId, ConnectionId, Metadata, Peer, Stamp};

/// Who did something on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// kubelet, crictl, or whoever connected.
    Client,
    /// The runtime.
    Runtime,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When its bytes were read from the socket.
    pub at: Stamp,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen on a tape.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// The host's surroundings, once a segment.
    Surroundings(Surroundings),
    /// What the runtime held when the segment began, asked by the recorder itself.
    Opening(Opening),
    /// A client connected.
    ConnectionOpened {
        /// The connection's number on this tape.
        connection: ConnectionId,
        /// Who connected, where the kernel told.
        peer: Option<Peer>,
    },
    /// The bytes of a connection can't be understood from here on. They are still forwarded.
    ConnectionLost {
        /// Which one.
        connection: ConnectionId,
        /// Why.
        reason: String,
    },
    /// A connection of an earlier segment is still open when this one begins.
    ConnectionContinues {
        /// Its number.
        connection: ConnectionId,
        /// Who connected.
        peer: Option<Peer>,
        /// When.
        opened: Stamp,
    },
    /// A call of an earlier segment has not ended when this one begins.
    CallContinues {
        /// The call's number.
        call: CallId,
        /// The connection it came on.
        connection: ConnectionId,
        /// Its HTTP/2 stream.
        stream: u32,
        /// Its request path.
        path: String,
        /// Its metadata.
        metadata: Metadata,
        /// When it started.
        started: Stamp,
        /// Its request, where that is small.
        request: Option<Bytes>,
    },
    /// A connection ended.
    ConnectionClosed {
        /// Which one.
        connection: ConnectionId,
    },
    /// A request's headers came.
    CallStarted {
        /// The call's number on this tape.
        call: CallId,
        /// The connection it came on.
        connection: ConnectionId,
        /// Its HTTP/2 stream.
        stream: u32,
        /// Its request path.
        path: String,
        /// Its metadata, without HTTP/2's own pseudo headers.
        metadata: Metadata,
    },
    /// The kinds of the host paths that a `CreateContainer` names.
    HostPaths {
        /// The call.
        call: CallId,
        /// The paths in the order of the request.
        paths: Vec<HostPath>,
    },
    /// A message was complete.
    Message {
        /// The call.
        call: CallId,
        /// Who sent it.
        from: Side,
        /// gRPC's compressed flag, as it was sent.
        compressed: bool,
        /// Its bytes.
        body: Body,
    },
    /// The client sent all it had to send.
    HalfClosed {
        /// The call.
        call: CallId,
    },
    /// Response headers came that were not the end.
    ResponseStarted {
        /// The call.
        call: CallId,
        /// The headers, without pseudo headers.
        metadata: Metadata,
    },
    /// The runtime ended the call.
    Trailers {
        /// The call.
        call: CallId,
        /// The trailers; with the headers in one block where the response had nothing else.
        metadata: Metadata,
    },
    /// One side broke the call off.
    Reset {
        /// The call.
        call: CallId,
        /// Who did.
        by: Side,
        /// HTTP/2's error code.
        code: u32,
    },
    /// The call's end was not seen: its connection broke, or observation ended.
    Truncated {
        /// The call.
        call: CallId,
    },
    /// Something could not be recorded.
    Gap(Gap),
    /// Bytes that crossed the client's side of all connections since the last event of this kind, each counted once.
    Traffic {
        /// How many.
        bytes: u64,
    },
    /// What the wall clock said at this moment.
    ClockAnchor {
        /// The wall clock.
        wall: Stamp,
    },
}

/// The kind of a host path at the moment a container that mounts it was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostPathKind {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A unix socket.
    Socket,
    /// A block or character device.
    Device,
    /// Anything else, or what could not be looked at.
    Other,
}

impl fmt::Display for HostPathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::File => "file",
            Self::Directory => "directory",
            Self::Socket => "socket",
            Self::Device => "device",
            Self::Other => "other",
        })
    }
}

/// A path of the host that a container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPath {
    /// The path.
    pub path: String,
    /// What was there.
    pub kind: HostPathKind,
}

/// The host of a recording, as far as a replay needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
    /// The kernel's boot id: two segments with one boot id share a monotonic clock.
    pub boot_id: String,
    /// 1 or 2; 0 where it could not be told.
    pub cgroup_version: u32,
}

/// What the runtime held when a segment began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opening {
    /// One answer for each call the recorder made.
    pub answers: Vec<OpeningAnswer>,
}

/// One call of the recorder's own.
#[derive(Clone, Debug, PartialEq)]
pub struct OpeningAnswer {
    /// Request path.
    pub path: String,
    /// Bytes of the request.
    pub request: Bytes,
    /// gRPC status code, 0 where it went well.
    pub code: u32,
    /// gRPC status message.
    pub message: String,
    /// Bytes of the response; empty where the call failed.
    pub response: Bytes,
}

/// Why something is missing on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The writer did not keep up, and the memory budget was used up.
    Overload,
    /// The disk is full, or nearly.
    DiskFull,
    /// The store failed.
    Store,
    /// A message was larger than the recorder keeps.
    TooLarge,
    /// A connection's bytes could not be understood.
    NotUnderstood,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overload => "overload",
            Self::DiskFull => "disk full",
            Self::Store => "store failed",
            Self::TooLarge => "message too large",
            Self::NotUnderstood => "bytes not understood",
        })
    }
}

/// A stretch that could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Calls that lost something.
    pub calls: u64,
    /// Bytes of messages that are missing.
    pub bytes: u64,
    /// Why.
    pub reason: GapReason,
    /// How long it lasted.
    pub lasted: Duration,
}

impl Opening {
    /// The bytes of the answer to this RPC, in whichever generation it was asked.
    pub fn answer(&self, rpc: &str) -> Option<&Bytes> {
        self.answers
            .iter()
            .find(|answer| answer.code == 0 && answer.path.rsplit('/').next() == Some(rpc))
            .map(|answer| &answer.response)
    }

    /// Name and version of the runtime.
    pub fn runtime(&self) -> Option<(String, String)> {
        runtime_of(self.answer("Version")?)
    }
}

/// Name and version from the bytes of a `VersionResponse`.
pub(crate) fn runtime_of(bytes: &Bytes) -> Option<(String, String)> {
    // The fields have these numbers and types in every generation.
    let version = <cri::v1::VersionResponse as prost::Message>::decode(bytes.as_ref()).ok()?;
    (!version.runtime_name.is_empty()).then_some((version.runtime_name, version.runtime_version))
}
