//! Arbitrary messages of every method, sealed and opened again.

use bytes::Bytes;
use cri::methods;
use critape_calls::{Body, CallId, ConnectionId, Event, EventKind, Metadata, Side, Stamp};
use critape_tape::SealPolicy;
use proptest::prelude::*;
use prost::encoding::encode_varint;
use prost_reflect::{Kind, MessageDescriptor};

use super::{read, seal, write};

/// Numbers from a seed, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn text(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 10] = [
            b"",
            b"sealed:v1:",
            b"a secret word",
            b"YSBzZWNyZXQgd29yZA",
            "é".as_bytes(),
            b"\xff\xa9",
            b"https://u:p@h/x?k=v&l=w#f",
            b"r:e@g/i@sha256:0",
            b"\"\\\n%41",
            b"AAAA.",
        ];
        let pieces = self.roll(4);
        (0..pieces).flat_map(|_| PIECES[self.roll(10) as usize].to_vec()).collect()
    }

    /// Bytes that are this message, now and then only nearly.
    fn message(&mut self, descriptor: &MessageDescriptor, depth: u32) -> Vec<u8> {
        let fields: Vec<_> = descriptor.fields().collect();
        let mut out = Vec::new();
        for _ in 0..self.roll(6) {
            if fields.is_empty() || self.roll(8) == 0 {
                self.odd(&mut out);
                continue;
            }
            let field = &fields[self.roll(fields.len() as u64) as usize];
            let number = u64::from(field.number());
            match field.kind() {
                Kind::Message(inner) if depth > 0 => {
                    let content = self.message(&inner, depth - 1);
                    self.content(number, &content, &mut out);
                }
                Kind::String | Kind::Bytes | Kind::Message(_) => {
                    let content = self.text();
                    self.content(number, &content, &mut out);
                }
                Kind::Double | Kind::Fixed64 => {
                    encode_varint(number << 3 | 1, &mut out);
                    out.extend_from_slice(&self.0.to_le_bytes());
                }
                _ => {
                    encode_varint(number << 3, &mut out);
                    encode_varint(self.roll(1 << 30), &mut out);
                }
            }
        }
        out
    }

    fn content(&mut self, number: u64, content: &[u8], out: &mut Vec<u8>) {
        encode_varint(number << 3 | 2, out);
        if self.roll(40) == 0 && content.len() < 128 {
            // A length longer than it must be.
            out.extend_from_slice(&[content.len() as u8 | 0x80, 0]);
        } else {
            encode_varint(content.len() as u64, out);
        }
        out.extend_from_slice(content);
    }

    /// Unknown fields, and once in a while what is no field at all.
    fn odd(&mut self, out: &mut Vec<u8>) {
        let content = self.text();
        match self.roll(20) {
            0 => out.extend_from_slice(&content),
            1 => out.extend_from_slice(&[0x0b, 0x0c]),
            2..=6 => out.extend_from_slice(&[0xc5, 0x3e, 1, 2, 3, 4]),
            _ => self.content(1000, &content, out),
        }
    }
}

/// A call of every method, with a request and two responses.
fn everything(seed: u64) -> Vec<Event> {
    let mut dice = Dice(seed);
    let mut kinds = Vec::new();
    for (method, number) in methods().iter().zip(1..) {
        let (call, path) = (CallId(number), method.path.clone());
        let connection = ConnectionId(1);
        kinds.push(EventKind::CallStarted {
            call,
            connection,
            stream: 1,
            path,
            metadata: Metadata::default(),
        });
        for (from, descriptor) in [
            (Side::Client, method.input()),
            (Side::Runtime, method.output()),
            (Side::Runtime, method.output()),
        ] {
            let body = Body::Kept(Bytes::from(dice.message(&descriptor, 4)));
            kinds.push(EventKind::Message { call, from, compressed: dice.roll(20) == 0, body });
        }
        let header = |name: &'static str, value: Vec<u8>| critape_calls::Header {
            name: name.into(),
            value: value.into(),
        };
        let metadata = Metadata(vec![
            header("grpc-message", dice.text()),
            header("grpc-status-details-bin", dice.text()),
            header("grpc-status", dice.text()),
            header("cookie", dice.text()),
            header("x", dice.text()),
        ]);
        kinds.push(EventKind::Trailers { call, metadata });
    }
    kinds.into_iter().zip(1001..).map(|(kind, at)| Event { at: Stamp(at), kind }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sealed_comes_back_exactly(seed in any::<u64>(), strict in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tape");
        let events = everything(seed);
        write(&path, &events, &seal(if strict { SealPolicy::Strict } else { SealPolicy::Default }));
        let tape = critape_tape::Tape::open(&path).unwrap();
        let opened = read(&tape.unsealed().unwrap());
        for (opened, event) in opened.iter().zip(&events) {
            prop_assert_eq!(opened, event);
        }
        prop_assert_eq!(opened.len(), events.len());
    }
}
