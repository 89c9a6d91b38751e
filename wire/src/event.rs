//! What is told about a connection, and to whom.

use bytes::Bytes;

use crate::frame::FrameError;
use crate::hpack::HpackError;

/// One end of a connection: who sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that opened the connection and sends requests.
    Client,
    /// The end that answers.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One header field as it was sent. HTTP/2 names are lowercase; pseudo headers keep their colon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name.
    pub name: Bytes,
    /// The value; any bytes.
    pub value: Bytes,
}

/// One thing that happened on a connection.
///
/// Events of one side come in the order of its bytes. A stream begins with [`RequestHeaders`] (or
/// [`StreamShed`]), and nothing comes for it after both its ends or a [`Reset`],
/// but that what the client had sent already may cross a reset by the server: then its message and end still come.
///
/// Every gRPC message whose length was read gives exactly one of [`Message`], [`MessageShed`] and
/// [`MessageTruncated`].
///
/// [`RequestHeaders`]: Event::RequestHeaders
/// [`StreamShed`]: Event::StreamShed
/// [`Reset`]: Event::Reset
/// [`Message`]: Event::Message
/// [`MessageShed`]: Event::MessageShed
/// [`MessageTruncated`]: Event::MessageTruncated
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The header block that opens a stream: pseudo headers included, order and duplicates kept.
    RequestHeaders {
        /// The stream it opens.
        stream: u32,
        /// The fields in the order sent.
        headers: Vec<Header>,
    },
    /// A stream opened beyond [`Limits::max_streams`]: this is all that is told about it.
    StreamShed {
        /// The stream that is not followed.
        stream: u32,
        /// The fields in the order sent.
        headers: Vec<Header>,
    },
    /// One gRPC message, complete.
    Message {
        /// Its stream.
        stream: u32,
        /// Who sent it.
        from: Side,
        /// The compressed flag of its prefix; the body is as sent.
        compressed: bool,
        /// The body, without the five bytes of prefix.
        body: Bytes,
    },
    /// One gRPC message, complete, whose body was not collected: [`Sink::admit`] declined it, or it is longer
    /// than [`Limits::max_message`].
    MessageShed {
        /// Its stream.
        stream: u32,
        /// Who sent it.
        from: Side,
        /// The compressed flag of its prefix.
        compressed: bool,
        /// Bytes of body.
        length: u32,
    },
    /// A gRPC message that began and will not be completed: its stream or the connection ended in it.
    MessageTruncated {
        /// Its stream.
        stream: u32,
        /// Who sent it.
        from: Side,
        /// Bytes of body announced; `None` where the prefix itself was cut.
        length: Option<u32>,
        /// Bytes of body that came.
        got: u32,
    },
    /// A stream that calls itself gRPC sent a message prefix whose first byte is neither 0 nor 1. No more
    /// messages are read from this side of the stream; its end is still told.
    BadPrefix {
        /// The stream.
        stream: u32,
        /// Who sent it.
        from: Side,
        /// The first byte of the prefix.
        flag: u8,
    },
    /// The client ended its half (`END_STREAM`).
    RequestEnd {
        /// The stream.
        stream: u32,
    },
    /// Response headers that are not the end. Interim responses (1xx) are not told.
    ResponseHeaders {
        /// The stream.
        stream: u32,
        /// The fields in the order sent.
        headers: Vec<Header>,
    },
    /// The server ended its half.
    ResponseEnd {
        /// The stream.
        stream: u32,
        /// The trailers; empty where the end came with DATA.
        trailers: Vec<Header>,
        /// The block is the only one of the response ("Trailers-Only" in gRPC).
        trailers_only: bool,
    },
    /// `RST_STREAM` on a stream that had not ended. It may follow the end of one half.
    Reset {
        /// The stream.
        stream: u32,
        /// Who sent it.
        from: Side,
        /// The error code of RFC 9113 §7.
        code: u32,
    },
    /// GOAWAY.
    GoAway {
        /// Who sent it.
        from: Side,
        /// The last stream of the peer that the sender has processed or might process.
        last_stream: u32,
        /// The error code of RFC 9113 §7.
        code: u32,
        /// Debug data, cut at 64 KiB.
        debug: Bytes,
    },
    /// The connection can't be understood from here on, or never was HTTP/2. Nothing else comes.
    Lost {
        /// Whose bytes were not understood.
        from: Side,
        /// Why.
        reason: LostReason,
        /// Where: bytes from the beginning of that side's stream. For a broken frame or header block this is
        /// where the frame begins.
        offset: u64,
    },
}

/// Why a connection can't be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    /// The client did not begin with the preface, or the server not with SETTINGS.
    #[error("the connection does not speak HTTP/2")]
    NotHttp2,
    /// Frames that don't fit together.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A header block that can't be decoded, so that later blocks can't be either.
    #[error(transparent)]
    Hpack(HpackError),
    /// A header list longer than [`Limits::max_header_list`].
    #[error("header list of more than {limit} bytes")]
    HeaderListTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A header block and its continuations are longer than [`Limits::max_header_block`].
    #[error("header block of more than {limit} bytes")]
    HeaderBlockTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Where events go, and who says which bodies are worth their memory.
pub trait Sink {
    /// Something happened.
    fn event(&mut self, event: Event);

    /// Asked once per message when its length has been read, before the body is collected. `false` leaves the
    /// body out ([`Event::MessageShed`]). Not asked for messages longer than [`Limits::max_message`].
    fn admit(&mut self, length: u32) -> bool {
        let _ = length;
        true
    }

    /// Called once for a message that was admitted and will never be completed, with the length that was
    /// admitted, so that a budget can be given back.
    fn release(&mut self, length: u32) {
        let _ = length;
    }
}

/// What one connection may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Decoded header list in bytes, counted as RFC 9113 §6.5.2 does (32 more for each field).
    pub max_header_list: usize,
    /// Raw header block in bytes: HEADERS and its CONTINUATION frames, frame headers counted.
    pub max_header_block: usize,
    /// Memory of one HPACK dynamic table in bytes, whatever size the two ends agree on.
    pub max_header_table: usize,
    /// Longest message whose body is collected, in bytes.
    pub max_message: u32,
    /// Streams followed at once.
    pub max_streams: usize,
}

impl Default for Limits {
    /// 256 KiB of headers raw or decoded, 1 MiB of table, messages of 96 MiB (CRI-O sends up to 80), 10 000
    /// streams.
    fn default() -> Self {
        Self {
            max_header_list: 256 << 10,
            max_header_block: 256 << 10,
            max_header_table: 1 << 20,
            max_message: 96 << 20,
            max_streams: 10_000,
        }
    }
}
