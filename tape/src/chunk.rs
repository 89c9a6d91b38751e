//! Events packed into chunks, and back.

use std::io::{self, Read, Write};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::schema;

/// How much time compression may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// So little that the writer keeps up with any node.
    Quick,
    /// As much as is of use: nobody waits for it.
    Thorough,
}

impl Effort {
    fn level(self) -> i32 {
        match self {
            Self::Quick => 1,
            Self::Thorough => 9,
        }
    }
}
/// What is kept to encode the next chunk in.
const KEPT_BYTES: usize = 1024 * 1024;
/// A chunk holds one oversized message at worst.
const MAX_CHUNK_BYTES: u64 = 512 * 1024 * 1024;

/// Packs chunks, one after the other: what it works in is large, and made once.
pub(crate) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    encoded: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    pub(crate) fn new(effort: Effort) -> std::io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(effort.level())?;
        compressor.include_checksum(true)?;
        Ok(Self { compressor, encoded: Vec::new() })
    }

    /// The events as they are stored.
    pub(crate) fn pack(&mut self, events: Vec<schema::Event>) -> std::io::Result<Vec<u8>> {
        self.encoded.clear();
        schema::Chunk { events }.encode(&mut self.encoded).map_err(std::io::Error::other)?;
        let packed = self.compressor.compress(&self.encoded);
        // One large message must not be paid for ever after.
        self.encoded.shrink_to(KEPT_BYTES);
        packed
    }
}

/// Fields of `Chunk`, `Event` and `Message`.
const EVENTS: u32 = 1;
const MESSAGE: u32 = 10;
const KEPT: u32 = 4;

/// Writes a chunk of one event, a message with this body, as [`Packer::pack`] would pack it, and without a copy of the body.
pub(crate) fn pack_large(at: u64, message: &schema::Message, body: &[u8], to: impl Write) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(to, Effort::Quick.level())?;
    encoder.include_checksum(true)?;
    // The body is the last field of its message, and that of its event.
    let mut head = schema::Message { body: None, ..*message }.encode_to_vec();
    begin_field(&mut head, KEPT, body.len());
    let head = within(MESSAGE, schema::Event { at, kind: None }.encode_to_vec(), &head, body.len());
    let head = within(EVENTS, Vec::new(), &head, body.len());
    encoder.write_all(&head)?;
    encoder.write_all(body)?;
    encoder.finish()?;
    Ok(())
}

/// `before`, and a field that holds `content` and `more` bytes that follow.
fn within(field: u32, mut before: Vec<u8>, content: &[u8], more: usize) -> Vec<u8> {
    begin_field(&mut before, field, content.len() + more);
    before.extend_from_slice(content);
    before
}

fn begin_field(out: &mut Vec<u8>, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// The events as they are stored.
#[cfg(test)]
pub(crate) fn pack(events: Vec<schema::Event>, effort: Effort) -> std::io::Result<Vec<u8>> {
    Packer::new(effort)?.pack(events)
}

/// The events of a stored chunk, or what is wrong with it.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<schema::Event>, String> {
    let raw = decompress(bytes, MAX_CHUNK_BYTES)?;
    schema::Chunk::decode(raw.as_slice()).map(|chunk| chunk.events).map_err(|error| error.to_string())
}

/// Compresses, with a checksum.
pub(crate) fn compress(bytes: &[u8], effort: Effort) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(effort.level())?;
    compressor.include_checksum(true)?;
    compressor.compress(bytes)
}

/// Decompresses at most `limit` bytes.
pub(crate) fn decompress(bytes: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let decoder = zstd::stream::read::Decoder::new(bytes).map_err(|error| error.to_string())?;
    let mut raw = Vec::new();
    decoder.take(limit + 1).read_to_end(&mut raw).map_err(|error| error.to_string())?;
    if raw.len() as u64 > limit {
        return Err(format!("more than {limit} bytes in one chunk"));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_is_packed_like_any_other() {
        for length in [0, 1, 127, 128, 3_000_000] {
            let body: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
            let message = schema::Message { call: 300, from: 2, compressed: true, body: None };
            let mut packed = Vec::new();
            pack_large(77, &message, &body, &mut packed).unwrap();
            let kept = schema::message::Body::Kept(body.into());
            let kind = schema::event::Kind::Message(schema::Message { body: Some(kept), ..message });
            assert_eq!(unpack(&packed).unwrap(), [schema::Event { at: 77, kind: Some(kind) }]);
        }
    }

    #[test]
    fn chunks_come_back_and_damage_is_noticed() {
        let events = vec![schema::Event { at: 7, kind: None }; 100];
        let packed = pack(events.clone(), Effort::Quick).unwrap();
        assert_eq!(unpack(&packed).unwrap(), events);
        for index in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[index] ^= 0x10;
            // A flipped bit may leave the content as it was (reserved bits), never give other content.
            if let Ok(read) = unpack(&damaged) {
                assert_eq!(read, events, "byte {index}");
            }
        }
        assert!(unpack(&packed[..packed.len() - 1]).is_err());
        assert!(unpack(b"").is_err() || unpack(b"").unwrap().is_empty());
    }

    #[test]
    fn what_grows_too_large_is_refused() {
        let packed = compress(&vec![0; 10_000], Effort::Thorough).unwrap();
        assert!(decompress(&packed, 9_999).is_err());
        assert_eq!(decompress(&packed, 10_000).unwrap().len(), 10_000);
    }
}
