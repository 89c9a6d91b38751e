//! HPACK (RFC 7541): the compression of header fields.
//!
//! [`Decoder`] follows what one side's encoder does, table for table, and keeps order, duplicates and the
//! never-indexed mark. There is no compressing encoder: what this crate writes anew are literals.

mod decode;
mod encode;
mod huffman;
mod table;

#[cfg(test)]
mod tests;

pub use decode::{Decoder, Field};
pub use encode::literal;

/// Why a header block can't be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// The block ends within a field.
    #[error("header block ends within a field")]
    Truncated,
    /// An integer beyond 32 bits, or padded with needless bytes.
    #[error("integer in a header block out of range")]
    IntegerOverflow,
    /// A field refers to an entry that is in neither table.
    #[error("header block refers to entry {index} that no table has")]
    NoSuchEntry {
        /// The index.
        index: u32,
    },
    /// Not a Huffman code, the end-of-string code, or padding that is none.
    #[error("header string is not valid Huffman code")]
    Huffman,
    /// A table size beyond what the peer allows.
    #[error("header table size set to {size}, allowed is {allowed}")]
    TableSize {
        /// The size asked for.
        size: u32,
        /// The largest size that the peer has advertised.
        allowed: u32,
    },
    /// A table size update after the first field of a block.
    #[error("header table size set within a block")]
    LateTableSize,
    /// More in the dynamic table than it may take.
    #[error("header table of more than {limit} bytes")]
    TableTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The decoded list is longer than it may be.
    #[error("header list of more than {limit} bytes")]
    ListTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}
