//! Messages of a given size that compress as CRI's do: words, names and numbers, no two alike.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use cri::v1;
use prost::Message;

/// How many different messages there are of each size.
const VARIANTS: usize = 64;
const WORDS: [&str; 16] = [
    "io.kubernetes.pod.name=",
    "io.kubernetes.container.hash=",
    "\"image\":",
    "\"mounts\":[",
    "/var/lib/containers/",
    "registry.example/team/",
    "service-",
    "sha256:",
    "readonly",
    "\"createdAt\":\"2026-01-31T12:",
    "cgroup/kubepods/",
    "annotations",
    "true,",
    "resources",
    "\"pid\":",
    "env",
];

/// A small generator of numbers, the same from run to run (`splitmix64`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// In `0.0..1.0`.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `ImageStatus` requests of one size, framed as gRPC frames them. The server sends back what it got, which reads as a response.
#[derive(Clone, Debug)]
pub(crate) struct Messages(Vec<Bytes>);

impl Messages {
    /// Of `size` bytes each, give or take three.
    pub(crate) fn new(size: usize) -> Self {
        Self::of(size, VARIANTS, 0)
    }

    /// So many different ones; another `seed` gives others.
    pub(crate) fn of(size: usize, variants: usize, seed: u64) -> Self {
        let mut random = Random(seed << 32 | size as u64);
        Self((0..variants).map(|_| framed(&request(size, &mut random))).collect())
    }

    pub(crate) fn get(&self, index: usize) -> Bytes {
        self.0[index % self.0.len()].clone()
    }
}

fn request(size: usize, random: &mut Random) -> v1::ImageStatusRequest {
    // Two fields around the text, with tags and lengths.
    let length = size.saturating_sub(if size < 128 { 4 } else { 6 });
    let mut image = String::with_capacity(length + 64);
    while image.len() < length {
        image.push_str(WORDS[random.below(WORDS.len())]);
        // Writing to a string can't fail.
        let _ = write!(image, "{:x} ", random.next() >> 32);
    }
    image.truncate(length);
    v1::ImageStatusRequest { image: Some(v1::ImageSpec { image, ..Default::default() }), verbose: false }
}

/// A message as it goes over the wire.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(length as u32);
    // There is room.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}
