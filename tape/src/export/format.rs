//! How an export is laid out; `docs/format.md` tells it in full.
//!
//! ```text
//! magic, format            8 bytes, u32
//! block …                  kind u8, stored length u32, raw length u32, a zstd frame
//! offset of the last one   u64
//! SHA-256 of all the above 32 bytes
//! ```
//!
//! Numbers are little-endian. Both sides hold to the same limits, so what this program writes it also reads.

use prost::Message;

/// The newest form of an export that this program writes and reads.
pub(crate) const EXPORT_FORMAT: u32 = 1;

/// The first byte is no text, so that nobody takes it for some.
pub(crate) const MAGIC: [u8; 8] = *b"\x89critape";

/// Bytes of the checksum over the whole file.
pub(crate) const DIGEST: usize = 32;

/// Events of one block; more than one take at most this many bytes together …
pub(crate) const MAX_BLOCK: usize = 16 << 20;
/// … and are at most so many.
pub(crate) const MAX_BLOCK_EVENTS: usize = 1 << 20;
/// The largest message there is: no recorder keeps a larger one.
pub(crate) const MAX_MESSAGE: u64 = 256 << 20;
/// The most that a segment's opening state may take.
pub(crate) const MAX_OPENING: u64 = 256 << 20;
/// Answers in it; there are about ten calls that the recorder makes.
pub(crate) const MAX_ANSWERS: usize = 4096;
/// Any other event: lists of headers are the largest, and they end at a quarter of a mebibyte.
pub(crate) const MAX_SMALL_EVENT: u64 = 2 << 20;
/// Segments; one every ten minutes fills four months.
pub(crate) const MAX_SEGMENTS: usize = 1 << 14;
/// Numbers of calls and connections, and sums of bytes. So large is nothing that was counted, and sums of a few don't overflow.
pub(crate) const MAX_NUMBER: u64 = 1 << 60;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The descriptors of the messages of the segments that follow.
    Descriptors,
    /// The key of sealed values.
    Key,
    /// The header of a segment, which begins it.
    Segment,
    /// Events of the segment.
    Events,
    /// The footer of the segment, which was closed in order.
    Closed,
    /// The end of a segment that was not.
    Unclosed,
    /// Counts of everything.
    End,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Descriptors, Self::Key, Self::Segment, Self::Events, Self::Closed, Self::Unclosed, Self::End];

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Descriptors => 1,
            Self::Key => 2,
            Self::Segment => 3,
            Self::Events => 4,
            Self::Closed => 5,
            Self::Unclosed => 6,
            Self::End => 7,
        }
    }

    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// What messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Key => "a key",
            Self::Segment => "a segment's header",
            Self::Events => "events",
            Self::Closed => "a segment's footer",
            Self::Unclosed => "a segment's end",
            Self::End => "the index",
        }
    }

    /// The most bytes that its content may have.
    pub(crate) fn limit(self) -> u32 {
        match self {
            Self::Descriptors => 16 << 20,
            Self::Key | Self::Segment => 64 << 10,
            Self::End => 1 << 20,
            Self::Events => 512 << 20,
            Self::Closed => 64 << 20,
            Self::Unclosed => 0,
        }
    }
}

/// What compression adds at most to what can't be compressed.
pub(crate) fn stored_limit(raw: u32) -> u64 {
    u64::from(raw) + u64::from(raw) / 128 + 1024
}

/// The last block: what the file holds, and where.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Index {
    #[prost(message, repeated, tag = "1")]
    pub(crate) segments: Vec<IndexEntry>,
}

/// What a reader needs of a segment's footer; the rest it can count.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct FooterStart {
    /// Nanoseconds since the segment began.
    #[prost(uint64, tag = "1")]
    pub(crate) ended: u64,
    /// Its events.
    #[prost(uint64, tag = "2")]
    pub(crate) events: u64,
    /// Whether its end was made afterwards.
    #[prost(bool, tag = "14")]
    pub(crate) mended: bool,
}

/// One segment.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct IndexEntry {
    /// Its number on the tape.
    #[prost(uint32, tag = "1")]
    pub(crate) number: u32,
    /// Where the block with its header begins.
    #[prost(uint64, tag = "2")]
    pub(crate) offset: u64,
    /// Its events.
    #[prost(uint64, tag = "3")]
    pub(crate) events: u64,
    /// The calls that start in it.
    #[prost(uint64, tag = "4")]
    pub(crate) calls: u64,
}
