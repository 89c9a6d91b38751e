//! A call: one RPC from its headers to its end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::{HostPath, Outcome};

/// A moment on a tape: nanoseconds since the Unix epoch.
///
/// Within a segment it is the monotonic clock moved by one constant, so differences are true durations and a step of the wall
/// clock does not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Time from `earlier` to this moment; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment so long before this one.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This moment moved by `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The number of a call on its tape, from 1. Printed as a user gives it to `tape show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The number of a connection on its tape, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who is at the client's end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Process id, as the kernel gave it when the connection was made.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Path of the executable; empty where it could not be read.
    pub exe: String,
}

/// A connection that calls came on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its number.
    pub id: ConnectionId,
    /// Who connected.
    pub peer: Option<Peer>,
    /// When.
    pub opened: Stamp,
}

/// One header, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Name, lower case.
    pub name: Bytes,
    /// Value; names that end with `-bin` carry base64.
    pub value: Bytes,
}

/// Headers in the order in which they were sent, duplicates kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(pub Vec<Header>);

impl Metadata {
    /// The first value under this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|header| header.name == name.as_bytes()).map(|header| header.value.as_ref())
    }

    /// The first value under this name, where it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }
}

/// The bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// All of them.
    Kept(Bytes),
    /// They were not kept; only their number is known.
    Shed(u64),
}

impl Body {
    /// The bytes, where they were kept.
    pub fn kept(&self) -> Option<&Bytes> {
        match self {
            Self::Kept(bytes) => Some(bytes),
            Self::Shed(_) => None,
        }
    }

    /// Number of bytes, kept or not.
    pub fn len(&self) -> u64 {
        match self {
            Self::Kept(bytes) => bytes.len() as u64,
            Self::Shed(length) => *length,
        }
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One message of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedMessage {
    /// When its last byte was read.
    pub at: Stamp,
    /// gRPC's compressed flag.
    pub compressed: bool,
    /// Its bytes.
    pub body: Body,
}

/// One RPC.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its number on the tape.
    pub id: CallId,
    /// The connection it came on.
    pub connection: ConnectionId,
    /// Who called, where it is known.
    pub peer: Option<Peer>,
    /// When its headers were read.
    pub started: Stamp,
    /// Its request path.
    pub path: String,
    /// The path as it went over the wire, where the call was put into other terms: [`Self::in_common_terms`].
    pub sent_as: Option<String>,
    /// Request metadata.
    pub metadata: Metadata,
    /// Time the client gave it, from `grpc-timeout`.
    pub deadline: Option<Duration>,
    /// Request messages; one for every RPC of CRI.
    pub requests: Vec<RecordedMessage>,
    /// Response headers, where there were any apart from the end.
    pub response_metadata: Option<Metadata>,
    /// Response messages.
    pub responses: Vec<RecordedMessage>,
    /// When the call ended.
    pub ended: Stamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Kinds of the host paths it names.
    pub host_paths: Vec<HostPath>,
}

impl Call {
    /// Time from the headers to the end.
    pub fn duration(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// The RPC, where the schema has it.
    pub fn method(&self) -> Option<&'static cri::Method> {
        cri::methods().by_path(&self.path)
    }

    /// The bytes of the request, where it was kept.
    pub fn request(&self) -> Option<&Bytes> {
        self.requests.first().and_then(|message| message.body.kept())
    }

    /// Whether every message of the call was kept.
    pub fn is_whole(&self) -> bool {
        self.requests.iter().chain(&self.responses).all(|message| message.body.kept().is_some())
    }
}

/// The value of a `grpc-timeout` header.
pub(crate) fn parse_timeout(text: &str) -> Option<Duration> {
    let split = text.len().checked_sub(1)?;
    if split == 0 || split > 8 || !text.is_char_boundary(split) {
        return None;
    }
    let (digits, unit) = text.split_at(split);
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value.checked_mul(3600)?)),
        "M" => Some(Duration::from_secs(value.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse_timeout("1999960u"), Some(Duration::from_micros(1_999_960)));
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3600)));
        for bad in ["", "S", "2", "2s", "-1S", "123456789S", "2Ä"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
