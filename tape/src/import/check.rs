//! Looks at events of unknown origin before they are taken.
//!
//! A few bytes can ask for many times their size in memory, and for numbers with which sums overflow. No recorder writes such.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use prost::Message;

use crate::export::format::{MAX_ANSWERS, MAX_MESSAGE, MAX_NUMBER, MAX_OPENING, MAX_SMALL_EVENT};
use crate::schema::{self, event::Kind};

/// The fields of `Event` that may be large.
const OPENING: u64 = 4;
const MESSAGE: u64 = 10;
/// The field of `Opening` that is repeated.
const ANSWERS: u64 = 1;
/// What stands around the bytes of a message.
const MESSAGE_FRAME: u64 = 64;

/// Memory for what must be remembered of a segment: open connections and calls, clients, gaps.
const MAX_REMEMBERED: usize = 64 << 20;
/// What each of them costs beside its text.
const REMEMBERED: usize = 128;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// Over all segments, because that is how they are summed.
    traffic: u64,
    lost: u64,
    /// The rest is of this segment.
    connections: HashMap<u64, Client>,
    /// Open calls with their paths.
    calls: HashMap<u64, String>,
    clients: HashSet<Client>,
    remembered: usize,
}

/// A client, by a hash of what names it, and the length of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Client {
    hash: u64,
    length: usize,
}

impl Checker {
    pub(super) fn begin_segment(&mut self) {
        let (traffic, lost) = (self.traffic, self.lost);
        *self = Self { traffic, lost, ..Self::default() };
    }

    /// The event in these bytes, or why it can't be taken.
    pub(crate) fn event(&mut self, bytes: &[u8]) -> Result<schema::Event, String> {
        check_sizes(bytes)?;
        let event = schema::Event::decode(bytes).map_err(|error| error.to_string())?;
        number("time", event.at)?;
        if let Some(kind) = &event.kind {
            self.check(kind)?;
        }
        Ok(event)
    }

    /// The request path of an open call; nothing where it is not known.
    pub(super) fn path(&self, call: u64) -> &str {
        self.calls.get(&call).map_or("", String::as_str)
    }

    fn check(&mut self, kind: &Kind) -> Result<(), String> {
        match kind {
            Kind::ConnectionOpened(it) => self.open_connection(it.connection, it.peer.as_ref()),
            Kind::ConnectionContinues(it) => self.open_connection(it.connection, it.peer.as_ref()),
            Kind::ConnectionClosed(it) => {
                self.close_connection(it.connection);
                Ok(())
            }
            Kind::CallStarted(it) => self.open_call(it.call, it.connection, &it.path),
            Kind::CallContinues(it) => self.open_call(it.call, it.connection, &it.path),
            Kind::Trailers(it) => {
                self.close_call(it.call);
                Ok(())
            }
            Kind::Reset(it) => {
                self.close_call(it.call);
                Ok(())
            }
            Kind::Truncated(it) => {
                self.close_call(it.call);
                Ok(())
            }
            Kind::Traffic(it) => add("bytes on the wire", &mut self.traffic, it.bytes),
            Kind::Gap(it) => {
                self.remember(0)?;
                add("lost calls", &mut self.lost, it.calls)?;
                add("lost bytes", &mut self.lost, it.bytes)
            }
            Kind::Message(it) => check_body(it.body.as_ref()),
            _ => Ok(()),
        }
    }

    fn open_connection(&mut self, connection: u64, peer: Option<&schema::Peer>) -> Result<(), String> {
        number("connection", connection)?;
        let mut hasher = DefaultHasher::new();
        peer.map(|peer| (&peer.exe, peer.uid)).hash(&mut hasher);
        let client = Client { hash: hasher.finish(), length: peer.map_or(0, |peer| peer.exe.len()) };
        self.close_connection(connection);
        self.remember(client.length)?;
        self.connections.insert(connection, client);
        Ok(())
    }

    fn close_connection(&mut self, connection: u64) {
        if let Some(client) = self.connections.remove(&connection) {
            self.remembered -= client.length + REMEMBERED;
        }
    }

    fn open_call(&mut self, call: u64, connection: u64, path: &str) -> Result<(), String> {
        number("call", call)?;
        number("connection", connection)?;
        let client = self.connections.get(&connection).copied().unwrap_or_default();
        if !self.clients.contains(&client) {
            self.remember(client.length)?;
            self.clients.insert(client);
        }
        self.close_call(call);
        self.remember(path.len())?;
        self.calls.insert(call, path.to_owned());
        Ok(())
    }

    fn close_call(&mut self, call: u64) {
        if let Some(path) = self.calls.remove(&call) {
            self.remembered -= path.len() + REMEMBERED;
        }
    }

    fn remember(&mut self, length: usize) -> Result<(), String> {
        self.remembered += length + REMEMBERED;
        if self.remembered > MAX_REMEMBERED {
            return Err("more is open at a time than any node has".to_owned());
        }
        Ok(())
    }
}

fn check_body(body: Option<&schema::message::Body>) -> Result<(), String> {
    match body {
        Some(schema::message::Body::Parts(_)) => Err("a message is taken apart".to_owned()),
        Some(schema::message::Body::Shed(length)) => number("length", *length),
        Some(schema::message::Body::Kept(_)) | None => Ok(()),
    }
}

/// Whether a number is one that was counted.
pub(super) fn number(what: &str, value: u64) -> Result<(), String> {
    if value > MAX_NUMBER { Err(format!("a {what} of {value}, which is too large")) } else { Ok(()) }
}

fn add(what: &str, sum: &mut u64, value: u64) -> Result<(), String> {
    *sum = sum.saturating_add(value);
    if *sum > MAX_NUMBER { Err(format!("{sum} {what}, which are too many")) } else { Ok(()) }
}

/// Refuses what would take much more memory than its bytes.
fn check_sizes(event: &[u8]) -> Result<(), String> {
    let (mut small, mut opening, mut message, mut answers) = (0, 0, 0, 0);
    for field in Fields(event) {
        let (number, content) = field?;
        let length = content.len() as u64;
        match number {
            OPENING => {
                opening += length;
                for field in Fields(content) {
                    answers += usize::from(field?.0 == ANSWERS);
                }
            }
            MESSAGE => message += length,
            _ => small += length,
        }
    }
    if small > MAX_SMALL_EVENT
        || opening > MAX_OPENING
        || answers > MAX_ANSWERS
        || message > MAX_MESSAGE + MESSAGE_FRAME
    {
        return Err(format!("an event of {} bytes, which is too large", event.len()));
    }
    Ok(())
}

/// The fields of a message: number, and content where it has a length.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, &'a [u8]), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "an event that is no protobuf message".to_owned()))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, &'a [u8])> {
        let key = self.varint()?;
        let content = match key & 7 {
            0 => {
                self.varint()?;
                &[]
            }
            1 => self.bytes(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.bytes(length)?
            }
            5 => self.bytes(4)?,
            // Groups: proto3 has none.
            _ => return None,
        };
        Some((key >> 3, content))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::{tests::one_of_each, to_schema};
    use critape_calls::Stamp;
    use proptest::prelude::*;

    #[test]
    fn what_a_recorder_writes_is_taken() {
        let mut checker = Checker::default();
        for event in one_of_each() {
            let event = to_schema(&event, Stamp(1000));
            assert_eq!(checker.event(&event.encode_to_vec()), Ok(event));
        }
    }

    #[test]
    fn many_headers_in_few_bytes_are_refused() {
        let headers = vec![schema::Header::default(); 2 << 20];
        let event = schema::Event {
            at: 0,
            kind: Some(Kind::Trailers(schema::Trailers { call: 1, metadata: headers })),
        };
        assert!(Checker::default().event(&event.encode_to_vec()).unwrap_err().contains("too large"));
        let answers = vec![schema::opening::Answer::default(); MAX_ANSWERS + 1];
        let event = schema::Event { at: 0, kind: Some(Kind::Opening(schema::Opening { answers })) };
        assert!(Checker::default().event(&event.encode_to_vec()).unwrap_err().contains("too large"));
    }

    #[test]
    fn what_stays_open_is_bounded() {
        let mut checker = Checker::default();
        let peer = Some(schema::Peer { exe: "x".repeat(1 << 20), ..Default::default() });
        let opened = |connection| {
            let opened = schema::ConnectionOpened { connection, peer: peer.clone() };
            schema::Event { at: 0, kind: Some(Kind::ConnectionOpened(opened)) }.encode_to_vec()
        };
        let taken = (0..100).take_while(|connection| checker.event(&opened(*connection)).is_ok()).count();
        assert!((50..64).contains(&taken), "{taken}");
        checker.begin_segment();
        assert!(checker.event(&opened(1)).is_ok());
    }

    #[test]
    fn sums_do_not_overflow() {
        let mut checker = Checker::default();
        let traffic = |bytes| {
            schema::Event { at: 0, kind: Some(Kind::Traffic(schema::Traffic { bytes })) }.encode_to_vec()
        };
        assert!(checker.event(&traffic(MAX_NUMBER)).is_ok());
        checker.begin_segment();
        assert!(checker.event(&traffic(1)).is_err());
        assert!(checker.event(&traffic(u64::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn hostile_events_never_panic(bytes: Vec<u8>) {
            let _ = Checker::default().event(&bytes);
        }
    }
}
