//! Exports taken to pieces and put together again, from what `docs/format.md` says and with nothing of the crate.

use prost::Message;
use sha2::{Digest, Sha256};

pub const DESCRIPTORS: u8 = 1;
pub const KEY: u8 = 2;
pub const SEGMENT: u8 = 3;
pub const EVENTS: u8 = 4;
pub const CLOSED: u8 = 5;
pub const UNCLOSED: u8 = 6;
pub const INDEX: u8 = 7;

const HEAD: usize = 12;
/// Offset of the index, and checksum.
const TAIL: usize = 8 + 32;

#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub kind: u8,
    pub raw: Vec<u8>,
}

/// The parts of a segment's header that matter here.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(uint32, tag = "2")]
    pub number: u32,
    #[prost(string, tag = "3")]
    pub writer: String,
    #[prost(uint64, tag = "4")]
    pub started: u64,
    #[prost(uint64, tag = "5")]
    pub first_call: u64,
    #[prost(uint64, tag = "6")]
    pub first_connection: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Footer {
    #[prost(uint64, tag = "1")]
    pub ended: u64,
    #[prost(uint64, tag = "2")]
    pub events: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Index {
    #[prost(message, repeated, tag = "1")]
    pub segments: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(uint32, tag = "1")]
    pub number: u32,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(uint64, tag = "3")]
    pub events: u64,
    #[prost(uint64, tag = "4")]
    pub calls: u64,
}

pub fn header(number: u32) -> Header {
    Header { format: 1, number, writer: "test".into(), started: 1000, first_call: 1, first_connection: 1 }
}

/// An export of these blocks, whatever they are, with an index that fits.
pub fn file(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = start(1);
    let mut index = Index::default();
    for block in blocks {
        match block.kind {
            SEGMENT => {
                let number = Header::decode(block.raw.as_slice()).map_or(0, |header| header.number);
                index.segments.push(Entry { number, offset: bytes.len() as u64, events: 0, calls: 0 });
            }
            EVENTS => {
                if let Some(segment) = index.segments.last_mut() {
                    segment.events += split(&block.raw).len() as u64;
                }
            }
            _ => {}
        }
        put(&mut bytes, block.kind, &block.raw);
    }
    finish(bytes, &index)
}

pub fn start(format: u32) -> Vec<u8> {
    let mut bytes = b"\x89critape".to_vec();
    bytes.extend(format.to_le_bytes());
    bytes
}

pub fn put(bytes: &mut Vec<u8>, kind: u8, raw: &[u8]) {
    put_stored(bytes, kind, raw.len() as u32, &compressed(raw));
}

pub fn put_stored(bytes: &mut Vec<u8>, kind: u8, raw: u32, stored: &[u8]) {
    bytes.push(kind);
    bytes.extend((stored.len() as u32).to_le_bytes());
    bytes.extend(raw.to_le_bytes());
    bytes.extend(stored);
}

pub fn compressed(raw: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor.include_checksum(true).unwrap();
    compressor.compress(raw).unwrap()
}

pub fn finish(mut bytes: Vec<u8>, index: &Index) -> Vec<u8> {
    let offset = bytes.len() as u64;
    put(&mut bytes, INDEX, &index.encode_to_vec());
    bytes.extend(offset.to_le_bytes());
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

/// The blocks of an export with the offsets at which they begin, and what its index says.
pub fn read(bytes: &[u8]) -> (Vec<(usize, Block)>, Index) {
    assert_eq!(bytes[..HEAD], start(1));
    let end = bytes.len() - TAIL;
    assert_eq!(bytes[end + 8..], Sha256::digest(&bytes[..end + 8])[..]);
    let last = u64::from_le_bytes(bytes[end..end + 8].try_into().unwrap()) as usize;
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut blocks) = (HEAD, Vec::new());
    while at < end {
        let (stored, raw) = (number(at + 1), number(at + 5));
        let content = zstd::bulk::decompress(&bytes[at + 9..at + 9 + stored], raw).unwrap();
        assert_eq!(content.len(), raw);
        blocks.push((at, Block { kind: bytes[at], raw: content }));
        at += 9 + stored;
    }
    assert_eq!(at, end);
    let (offset, index) = blocks.pop().unwrap();
    assert_eq!((index.kind, offset), (INDEX, last));
    (blocks, Index::decode(index.raw.as_slice()).unwrap())
}

/// The events of a block.
pub fn split(mut raw: &[u8]) -> Vec<&[u8]> {
    let mut events = Vec::new();
    while !raw.is_empty() {
        let Ok(length) = prost::decode_length_delimiter(&mut raw) else { break };
        let Some((event, rest)) = raw.split_at_checked(length) else { break };
        events.push(event);
        raw = rest;
    }
    events
}

/// A block of these events.
pub fn events(events: &[Vec<u8>]) -> Block {
    let mut raw = Vec::new();
    for event in events {
        prost::encode_length_delimiter(event.len(), &mut raw).unwrap();
        raw.extend(event);
    }
    Block { kind: EVENTS, raw }
}

/// A field with a length.
pub fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encode_length_delimiter((number << 3 | 2) as usize, &mut bytes).unwrap();
    prost::encode_length_delimiter(content.len(), &mut bytes).unwrap();
    bytes.extend(content);
    bytes
}

/// A field with a number.
pub fn varint(number: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encode_length_delimiter((number << 3) as usize, &mut bytes).unwrap();
    prost::encode_length_delimiter(value as usize, &mut bytes).unwrap();
    bytes
}
