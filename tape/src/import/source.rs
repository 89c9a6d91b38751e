//! Reads the blocks of an export, and trusts none of them.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::Fault;
use crate::chunk;
use crate::export::format::{DIGEST, EXPORT_FORMAT, Kind, MAGIC, stored_limit};

/// An export that is being read.
pub(super) struct Source<R> {
    from: R,
    hash: Sha256,
    offset: u64,
}

/// One block.
pub(super) struct Block {
    pub(super) kind: Kind,
    /// Where it begins.
    pub(super) offset: u64,
    /// Its content.
    pub(super) raw: Vec<u8>,
}

impl<R: Read> Source<R> {
    pub(super) fn begin(from: R) -> Result<Self, Fault> {
        let mut source = Self { from, hash: Sha256::new(), offset: 0 };
        let magic: [u8; MAGIC.len()] = source.take().map_err(|fault| match fault {
            Fault::Truncated { .. } => Fault::NotAnExport,
            other => other,
        })?;
        if magic != MAGIC {
            return Err(Fault::NotAnExport);
        }
        let format = u32::from_le_bytes(source.take()?);
        match format {
            EXPORT_FORMAT => Ok(source),
            0 => Err(source.damaged("it has format 0, which there is not")),
            found => Err(Fault::Newer { found, known: EXPORT_FORMAT }),
        }
    }

    pub(super) fn block(&mut self) -> Result<Block, Fault> {
        let offset = self.offset;
        let [number] = self.take()?;
        let kind =
            Kind::of(number).ok_or_else(|| damaged(offset, format!("there is no block of kind {number}")))?;
        let (stored, raw) = (u32::from_le_bytes(self.take()?), u32::from_le_bytes(self.take()?));
        if raw > kind.limit() || u64::from(stored) > stored_limit(raw) {
            let text = format!("{} of {raw} bytes in {stored}, which is too large", kind.name());
            return Err(damaged(offset, text));
        }
        let packed = self.take_many(u64::from(stored))?;
        let bytes = chunk::decompress(&packed, u64::from(raw))
            .map_err(|reason| damaged(offset, format!("{}: {reason}", kind.name())))?;
        if bytes.len() as u64 != u64::from(raw) {
            let text = format!("{} of {} bytes instead of {raw}", kind.name(), bytes.len());
            return Err(damaged(offset, text));
        }
        Ok(Block { kind, offset, raw: bytes })
    }

    /// Checks what stands behind the last block.
    pub(super) fn end(mut self, last: u64) -> Result<(), Fault> {
        if u64::from_le_bytes(self.take()?) != last {
            return Err(self.damaged("it does not say where its index is"));
        }
        let wanted: [u8; DIGEST] = self.hash.clone().finalize().into();
        let found: [u8; DIGEST] = self.take()?;
        if found != wanted {
            return Err(self.damaged("its content does not match its checksum"));
        }
        let mut more = [0];
        match self.from.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something follows its end")),
            Err(error) => Err(Fault::Read(error)),
        }
    }

    fn damaged(&self, reason: impl Into<String>) -> Fault {
        damaged(self.offset, reason)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        self.took(&bytes);
        Ok(bytes)
    }

    /// Grows with what is there, not with what was said to be there.
    fn take_many(&mut self, length: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.from.by_ref().take(length).read_to_end(&mut bytes).map_err(Fault::Read)?;
        if (bytes.len() as u64) < length {
            return Err(Fault::Truncated { offset: self.offset + bytes.len() as u64 });
        }
        self.took(&bytes);
        Ok(bytes)
    }

    fn took(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
    }

    fn failed(&self, error: io::Error) -> Fault {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Fault::Truncated { offset: self.offset }
        } else {
            Fault::Read(error)
        }
    }
}

/// Something is wrong with the block that begins there.
pub(super) fn damaged(offset: u64, reason: impl Into<String>) -> Fault {
    Fault::Damaged { offset, reason: reason.into() }
}
