//! From header blocks to fields.

use bytes::Bytes;

use super::table::{self, Table};
use super::{HpackError, huffman};
use crate::event::Header;

/// One field of a block, with what the block says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name and value.
    pub header: Header,
    /// Whoever writes the field again must keep it out of the dynamic table too (RFC 7541 §6.2.3).
    pub never_indexed: bool,
}

/// Decodes the header blocks that one side of a connection sends, in order and without leaving any out.
///
/// After an error the table is no longer what the encoder thinks it is, so no later block can be decoded.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The largest table size that the other side has ever advertised.
    allowed: u32,
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder at the beginning of a connection. `max_table` bounds the memory of its dynamic table in
    /// bytes, whatever the two ends agree on.
    #[must_use]
    pub fn new(max_table: usize) -> Self {
        Self { table: Table::new(max_table), allowed: table::DEFAULT_SIZE, scratch: Vec::new() }
    }

    /// The other side advertised a table size (`SETTINGS_HEADER_TABLE_SIZE`). A smaller one than before takes
    /// nothing away: when it comes into force is not seen here, and only the encoder's own updates change the
    /// table.
    pub fn allow_table(&mut self, size: u32) {
        self.allowed = self.allowed.max(size);
    }

    /// Decodes one whole block into a list of at most `max_list` bytes, 32 counted for each field.
    ///
    /// # Errors
    /// After any error later blocks can't be decoded.
    pub fn decode(&mut self, block: &[u8], max_list: usize) -> Result<Vec<Header>, HpackError> {
        let mut headers = Vec::with_capacity(block.len().min(12));
        self.decode_fields(block, max_list, |field| headers.push(field.header))?;
        Ok(headers)
    }

    /// As [`decode`](Self::decode), handing over field by field. On an error some may have been handed over.
    ///
    /// # Errors
    /// After any error later blocks can't be decoded.
    pub fn decode_fields(
        &mut self,
        block: &[u8],
        max_list: usize,
        mut each: impl FnMut(Field),
    ) -> Result<(), HpackError> {
        let mut input = Input { rest: block };
        let mut size = 0;
        while let Some(first) = input.next() {
            if first & 0b1110_0000 == 0b0010_0000 {
                if size > 0 {
                    return Err(HpackError::LateTableSize);
                }
                self.resize(input.integer(first, 5)?)?;
                continue;
            }
            let field = self.field(first, &mut input)?;
            size += table::cost(&field.header);
            if size > max_list {
                return Err(HpackError::ListTooLarge { limit: max_list });
            }
            each(field);
        }
        self.trim();
        Ok(())
    }

    /// Reads the rest of a field whose first byte is `first`.
    fn field(&mut self, first: u8, input: &mut Input<'_>) -> Result<Field, HpackError> {
        if first & 0b1000_0000 != 0 {
            let header = self.table.get(input.integer(first, 7)?)?;
            return Ok(Field { header, never_indexed: false });
        }
        let indexed = first & 0b0100_0000 != 0;
        let index = input.integer(first, if indexed { 6 } else { 4 })?;
        let name = if index == 0 { input.string(&mut self.scratch)? } else { self.table.get(index)?.name };
        let header = Header { name, value: input.string(&mut self.scratch)? };
        if indexed {
            self.table.insert(header.clone())?;
        }
        Ok(Field { header, never_indexed: !indexed && first & 0b0001_0000 != 0 })
    }

    fn resize(&mut self, size: u32) -> Result<(), HpackError> {
        if size > self.allowed {
            return Err(HpackError::TableSize { size, allowed: self.allowed });
        }
        self.table.resize(size);
        Ok(())
    }

    /// Gives back the memory of an unusually long string.
    fn trim(&mut self) {
        if self.scratch.capacity() > 4096 {
            self.scratch = Vec::new();
        }
    }

    #[cfg(test)]
    pub(super) fn dynamic(&self) -> (usize, Vec<(String, String)>) {
        self.table.dynamic()
    }
}

/// What is left of a block.
struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// An integer that begins in the low `prefix` bits (at most seven) of `first` (RFC 7541 §5.1).
    fn integer(&mut self, first: u8, prefix: u8) -> Result<u32, HpackError> {
        let full = (1u8 << prefix) - 1;
        if first & full < full {
            return Ok(u32::from(first & full));
        }
        let mut value = u64::from(full);
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.next().ok_or(HpackError::Truncated)?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| HpackError::IntegerOverflow);
            }
        }
        Err(HpackError::IntegerOverflow)
    }

    /// A string, Huffman-coded or plain (RFC 7541 §5.2).
    fn string(&mut self, scratch: &mut Vec<u8>) -> Result<Bytes, HpackError> {
        let first = self.next().ok_or(HpackError::Truncated)?;
        let length = self.integer(first, 7)? as usize;
        let (string, rest) = self.rest.split_at_checked(length).ok_or(HpackError::Truncated)?;
        self.rest = rest;
        if first & 0x80 == 0 {
            return Ok(Bytes::copy_from_slice(string));
        }
        scratch.clear();
        huffman::decode(string, scratch)?;
        Ok(Bytes::copy_from_slice(scratch))
    }
}
