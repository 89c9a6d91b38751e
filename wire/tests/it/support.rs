//! A sink that keeps the books, and frames written by hand.

use critape_wire::{Event, Header, Limits, Observer, Side, Sink};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITIZED: u8 = 0x20;

/// Bytes and who sent them, in order.
pub type Tape = Vec<(Side, Vec<u8>)>;

/// Notes events and what is owed for admitted bodies.
#[derive(Debug, Default)]
pub struct Notes {
    pub events: Vec<Event>,
    /// Declines bodies longer than this.
    pub most: Option<u32>,
    pub owed: u64,
}

impl Sink for Notes {
    fn event(&mut self, event: Event) {
        if let Event::Message { body, .. } = &event {
            self.owed -= body.len() as u64;
        }
        self.events.push(event);
    }

    fn admit(&mut self, length: u32) -> bool {
        let admitted = self.most.is_none_or(|most| length <= most);
        self.owed += if admitted { u64::from(length) } else { 0 };
        admitted
    }

    fn release(&mut self, length: u32) {
        self.owed -= u64::from(length);
    }
}

/// Everything told about a tape, the connection's end included.
pub fn observe(tape: &Tape, limits: Limits, most: Option<u32>) -> Vec<Event> {
    let (mut observer, mut notes) = (Observer::new(limits), Notes { most, ..Notes::default() });
    for (from, bytes) in tape {
        observer.feed(*from, bytes, &mut notes);
    }
    observer.end(&mut notes);
    assert_eq!(notes.owed, 0, "every admitted body was handed over or given back");
    notes.events
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of plain literals.
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        assert!(name.len() < 127 && value.len() < 127);
        block.push(0);
        block.push(name.len() as u8);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// A gRPC message with its prefix.
pub fn message(flag: u8, body: &[u8]) -> Vec<u8> {
    [&[flag][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

pub fn headers(fields: &[(&str, &str)]) -> Vec<Header> {
    fields
        .iter()
        .map(|(name, value)| Header {
            name: name.as_bytes().to_vec().into(),
            value: value.as_bytes().to_vec().into(),
        })
        .collect()
}

/// The first bytes of a client, and those of a server.
pub fn hello() -> Tape {
    vec![
        (Side::Client, [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        (Side::Server, frame(SETTINGS, 0, 0, &[])),
        (Side::Client, frame(SETTINGS, 1, 0, &[])),
        (Side::Server, frame(SETTINGS, 1, 0, &[])),
    ]
}

pub const REQUEST: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/runtime.v1.RuntimeService/Version"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];

pub const RESPONSE: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

pub const TRAILERS: &[(&str, &str)] = &[("grpc-status", "0"), ("grpc-message", "")];
