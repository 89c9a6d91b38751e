//! Writes the blocks of an export.

use std::io::{self, Write};

use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;

use super::format::{EXPORT_FORMAT, Kind, MAGIC};

/// Nobody waits for an export, and what it holds repeats.
const LEVEL: i32 = 15;
/// Power of two of the bytes in which repetition is found: a whole block.
const WINDOW: u32 = 24;

/// An export that is being written.
pub(super) struct Blocks<W> {
    out: W,
    compressor: Compressor<'static>,
    hash: Sha256,
    offset: u64,
}

impl<W: Write> Blocks<W> {
    pub(super) fn begin(out: W) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        compressor.window_log(WINDOW)?;
        compressor.long_distance_matching(true)?;
        let mut blocks = Self { out, compressor, hash: Sha256::new(), offset: 0 };
        blocks.write(&MAGIC)?;
        blocks.write(&EXPORT_FORMAT.to_le_bytes())?;
        Ok(blocks)
    }

    /// Bytes written so far: where the next block begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn put(&mut self, kind: Kind, raw: &[u8]) -> io::Result<()> {
        let length = u32::try_from(raw.len()).ok().filter(|length| *length <= kind.limit());
        let length = length.ok_or_else(|| {
            let text = format!("{} of {} bytes: an export has no room for so many", kind.name(), raw.len());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let stored = self.compressor.compress(raw)?;
        self.write(&[kind.number()])?;
        self.write(&(stored.len() as u32).to_le_bytes())?;
        self.write(&length.to_le_bytes())?;
        self.write(&stored)
    }

    /// Writes the last block and what stands behind it; gives the size of the file.
    pub(super) fn end(mut self, index: &[u8]) -> io::Result<u64> {
        let offset = self.offset;
        self.put(Kind::End, index)?;
        self.write(&offset.to_le_bytes())?;
        let digest = self.hash.clone().finalize();
        self.write(&digest)?;
        self.out.flush()?;
        Ok(self.offset)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
