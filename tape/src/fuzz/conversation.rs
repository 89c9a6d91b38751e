//! Conversations made of pieces, written and read.

use std::path::Path;

use bytes::Bytes;
use critape_calls::{
    Assembler, Body, CallId, ConnectionId, Event, EventKind, Header, Metadata, Opening, OpeningAnswer, Side,
    Stamp, Summary,
};
use prost::Message;

use super::pieces;
use crate::chunk::{self, Effort};
use crate::convert;
use crate::elements;
use crate::import::Checker;
use crate::schema::{self, event::Kind, message};
use crate::secrets::{Key, Opener, SealPolicy, Sealer};

/// What a piece is, by the lower bits of its control byte; the others are a call and a side.
const KIND_BITS: u32 = 3;
pub(super) const EVENT: u8 = 0;
pub(super) const MESSAGE: u8 = 1;
const PARTS: u8 = 2;
pub(super) const CALL: u8 = 3;
const RESPONSE: u8 = 4;
const TRAILERS: u8 = 5;
const ANSWER: u8 = 6;

/// Any other would do.
const KEY: [u8; 64] = *b"a key that is no secret, and is as long as the keys of tapes are";
/// No message may grow larger.
const MAX_MESSAGE: usize = 1 << 20;
const STARTED: Stamp = Stamp(1_790_000_000_000_000_000);

/// Reads the conversation as a tape would give it to us, writes what was read, and reads that.
///
/// # Panics
/// Where something comes back otherwise than it was written.
pub fn conversation(data: &[u8]) {
    let (policy, data) = match data.split_first() {
        Some((first, rest)) if first & 1 == 0 => (SealPolicy::Default, rest),
        Some((_, rest)) => (SealPolicy::Strict, rest),
        None => return,
    };
    take(data);
    let events = read(stored(data));
    let mut writing = Writing::new(policy);
    let mut assembler = Assembler::default();
    for event in events {
        writing.write(&event);
        assembler.push(event);
    }
    assembler.finish();
}

/// Takes what an import takes, and counts it.
fn take(data: &[u8]) {
    let (mut checker, mut summary) = (Checker::default(), Summary::default());
    for (control, content) in pieces(data) {
        if kind(control) == EVENT
            && let Ok(event) = checker.event(content)
            && let Some(event) = convert::from_schema(event, STARTED)
        {
            summary.add(&event);
        }
    }
}

/// The events as they come out of a chunk.
fn stored(data: &[u8]) -> Vec<schema::Event> {
    let events = pieces(data).zip(0..).filter_map(|((control, content), at)| event(control, content, at));
    let packer = chunk::Packer::new(Effort::Quick);
    let packed = packer.and_then(|mut packer| packer.pack(events.collect()));
    let packed = packed.unwrap_or_default();
    let unpacked = chunk::unpack(&packed);
    assert!(unpacked.is_ok(), "{unpacked:?}");
    unpacked.unwrap_or_default()
}

fn kind(control: u8) -> u8 {
    control & ((1 << KIND_BITS) - 1)
}

fn event(control: u8, content: &[u8], at: u64) -> Option<schema::Event> {
    let side = if control >> 7 == 0 { Side::Client } else { Side::Runtime };
    let call = CallId(u64::from((control & 0x7f) >> KIND_BITS));
    let kind = match kind(control) {
        EVENT => return schema::Event::decode(content).ok(),
        PARTS => {
            let from = match side {
                Side::Client => schema::Side::Client,
                Side::Runtime => schema::Side::Runtime,
            };
            let body = Some(message::Body::Parts(content.to_vec().into()));
            let message = schema::Message { call: call.0, from: from.into(), compressed: false, body };
            return Some(schema::Event { at, kind: Some(Kind::Message(message)) });
        }
        MESSAGE => EventKind::Message {
            call,
            from: side,
            compressed: false,
            body: Body::Kept(Bytes::copy_from_slice(content)),
        },
        CALL => {
            let (path, rest) = path(content);
            EventKind::CallStarted {
                call,
                connection: ConnectionId(1),
                stream: 1,
                path,
                metadata: headers(rest),
            }
        }
        RESPONSE => EventKind::ResponseStarted { call, metadata: headers(content) },
        TRAILERS => EventKind::Trailers { call, metadata: headers(content) },
        ANSWER => {
            let (path, rest) = path(content);
            let (request, rest) = split(rest);
            let (response, message) = split(rest);
            EventKind::Opening(Opening {
                answers: vec![OpeningAnswer {
                    path,
                    request: Bytes::copy_from_slice(request),
                    code: 0,
                    message: String::from_utf8_lossy(message).into_owned(),
                    response: Bytes::copy_from_slice(response),
                }],
            })
        }
        _ => return None,
    };
    Some(convert::to_schema(&Event { at: Stamp(STARTED.0 + at), kind }, STARTED))
}

/// The path of the method that the first byte numbers.
fn path(content: &[u8]) -> (String, &[u8]) {
    let Some((first, rest)) = content.split_first() else { return (String::new(), content) };
    let path = cri::methods().iter().nth(usize::from(*first)).map(|method| method.path.clone());
    (path.unwrap_or_default(), rest)
}

/// Two parts, of which the first ends with a byte that no text has.
fn split(content: &[u8]) -> (&[u8], &[u8]) {
    let end = content.iter().position(|byte| *byte == 0xff).unwrap_or(content.len());
    (&content[..end], content.get(end + 1..).unwrap_or_default())
}

/// Headers, one a line.
fn headers(content: &[u8]) -> Metadata {
    let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Metadata(
        lines
            .map(|line| {
                let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
                Header {
                    name: Bytes::copy_from_slice(&line[..end]),
                    value: Bytes::copy_from_slice(line.get(end + 1..).unwrap_or_default()),
                }
            })
            .collect(),
    )
}

/// The events of a tape that anybody may have written. What can't be put together or opened is left out.
fn read(stored: Vec<schema::Event>) -> Vec<Event> {
    let (mut elements, mut opener) = (elements::Reader::default(), Opener::new(&Key::of(KEY)));
    let mut events = Vec::new();
    for mut event in stored {
        if let Some(Kind::Message(message)) = &mut event.kind
            && let Some(message::Body::Parts(parts)) = &message.body
        {
            let Some(whole) = elements.put_together(parts, MAX_MESSAGE) else { continue };
            assert!(whole.len() <= MAX_MESSAGE);
            message.body = Some(message::Body::Kept(whole));
        }
        if let Some(event) = convert::from_schema(event, STARTED) {
            let _ = opener.open(&mut event.clone());
            events.push(event);
        }
    }
    events
}

/// One who writes, and one who reads it.
struct Writing {
    sealer: Sealer,
    writer: elements::Writer,
    reader: elements::Reader,
    opener: Opener,
}

impl Writing {
    fn new(policy: SealPolicy) -> Self {
        let key = Key::of(KEY);
        Self {
            // Nothing is kept, so there is no folder.
            sealer: Sealer::new(Path::new("/dev/null"), &key, policy),
            writer: elements::Writer::default(),
            reader: elements::Reader::default(),
            opener: Opener::new(&key),
        }
    }

    fn write(&mut self, event: &Event) {
        let sealed = self.sealer.seal(event);
        if let EventKind::Message { body: Body::Kept(body), .. } = &sealed.kind
            && let Some(parts) = self.writer.take_apart("", body)
        {
            assert_eq!(self.reader.put_together(&parts, body.len()).as_ref(), Some(body));
        }
        let mut read = convert::from_schema(convert::to_schema(&sealed, STARTED), STARTED);
        assert_eq!(read.as_ref(), Some(&sealed));
        if let Some(read) = &mut read {
            let opened = self.opener.open(read);
            assert!(opened.is_ok(), "sealed {event:?} as {sealed:?}");
            assert_eq!(*read, *event, "sealed as {sealed:?}");
        }
    }
}
