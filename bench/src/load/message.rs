//! Messages of a given size that compress as CRI's do: words, names and numbers, no two alike.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use cri::v1;
use prost::Message;

/// How many different messages there are of each size.
const VARIANTS: usize = 64;
const IMAGE_BYTES: usize = 40;
const KEY_BYTES: usize = 16;
/// Of an annotation.
const MOST_VALUE_BYTES: usize = 100;
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
    /// Of `size` bytes each, give or take a few.
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

/// An image with annotations, as many as it takes.
fn request(size: usize, random: &mut Random) -> v1::ImageStatusRequest {
    /// Tags and lengths of an annotation, and of what is around all of them.
    const AROUND: usize = 6;
    let mut image = v1::ImageSpec { image: text(IMAGE_BYTES, random), ..Default::default() };
    let mut left = size.saturating_sub(IMAGE_BYTES + 2 * AROUND);
    while left > KEY_BYTES + AROUND {
        let length = (left - KEY_BYTES - AROUND).min(1 + random.below(MOST_VALUE_BYTES));
        // Alike keys would be one.
        let key = format!("{:0KEY_BYTES$x}", random.next());
        image.annotations.insert(key, text(length, random));
        left -= KEY_BYTES + AROUND + length;
    }
    v1::ImageStatusRequest { image: Some(image), verbose: false }
}

fn text(length: usize, random: &mut Random) -> String {
    let mut text = String::with_capacity(length + 64);
    while text.len() < length {
        text.push_str(WORDS[random.below(WORDS.len())]);
        // Writing to a string can't fail.
        let _ = write!(text, "{:x} ", random.next() >> 32);
    }
    text.truncate(length);
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_about_the_size_that_was_asked_for_and_differ() {
        for size in [200, 1024, 65_536] {
            let messages = Messages::of(size, 2, 1);
            let length = messages.get(0).len();
            assert!(length.abs_diff(size) < 40 + size / 20, "{length} for {size}");
            assert_ne!(messages.get(0), messages.get(1));
            // The answer is the same bytes: they must read as one.
            v1::ImageStatusResponse::decode(&messages.get(0)[5..]).unwrap();
        }
    }
}
