//! gRPC messages put together again from the DATA of one side of a stream.

use bytes::Bytes;

use crate::event::{Event, Side, Sink};
use crate::frame::take;

/// Bytes of a message's prefix: one of flags, four of length.
const PREFIX: usize = 5;

/// Where messages belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) stream: u32,
    pub(crate) from: Side,
}

/// The messages of one side of a stream.
#[derive(Debug)]
pub(crate) enum Messages {
    /// DATA is not read as messages.
    Unread,
    /// In the prefix of a message, or between messages.
    Prefix { bytes: [u8; PREFIX], have: u8 },
    /// In the body of a message.
    Body(Body),
}

#[derive(Debug)]
pub(crate) struct Body {
    compressed: bool,
    length: u32,
    got: u32,
    /// What has come of it; `None` where it is not collected.
    bytes: Option<Vec<u8>>,
}

impl Messages {
    /// Before the first message.
    pub(crate) const START: Self = Self::Prefix { bytes: [0; PREFIX], have: 0 };

    /// Takes the next bytes of DATA.
    pub(crate) fn push(&mut self, mut data: &[u8], at: Place, max: u32, sink: &mut impl Sink) {
        while !data.is_empty() {
            match self {
                Self::Unread => return,
                Self::Prefix { bytes, have } => {
                    let from = usize::from(*have);
                    let some = take(&mut data, PREFIX - from);
                    bytes[from..from + some.len()].copy_from_slice(some);
                    *have += some.len() as u8;
                    if usize::from(*have) == PREFIX {
                        *self = Self::begin(*bytes, at, max, sink);
                    }
                }
                Self::Body(body) => body.push(&mut data),
            }
            if let Self::Body(body) = self
                && body.got == body.length
            {
                sink.event(body.complete(at));
                *self = Self::START;
            }
        }
    }

    /// A prefix is complete.
    fn begin(prefix: [u8; PREFIX], at: Place, max: u32, sink: &mut impl Sink) -> Self {
        let [flag, length @ ..] = prefix;
        if flag > 1 {
            sink.event(Event::BadPrefix { stream: at.stream, from: at.from, flag });
            return Self::Unread;
        }
        let length = u32::from_be_bytes(length);
        let admitted = length <= max && sink.admit(length);
        Self::Body(Body { compressed: flag == 1, length, got: 0, bytes: admitted.then(Vec::new) })
    }

    /// No more comes: tells a message that is not complete.
    pub(crate) fn end(&mut self, at: Place, sink: &mut impl Sink) {
        let (length, got) = match std::mem::replace(self, Self::Unread) {
            Self::Unread | Self::Prefix { have: 0, .. } => return,
            Self::Prefix { .. } => (None, 0),
            Self::Body(body) => {
                if body.bytes.is_some() {
                    sink.release(body.length);
                }
                (Some(body.length), body.got)
            }
        };
        sink.event(Event::MessageTruncated { stream: at.stream, from: at.from, length, got });
    }
}

impl Body {
    fn push(&mut self, data: &mut &[u8]) {
        let some = take(data, (self.length - self.got) as usize);
        self.got += some.len() as u32;
        if let Some(bytes) = &mut self.bytes {
            // At once: growing step by step would leave holes of every size behind. What was admitted may be taken, and untouched
            // memory costs nothing.
            bytes.reserve_exact(self.length as usize - bytes.len());
            bytes.extend_from_slice(some);
        }
    }

    fn complete(&mut self, at: Place) -> Event {
        let Place { stream, from } = at;
        let Self { compressed, length, .. } = *self;
        match self.bytes.take() {
            Some(bytes) => Event::Message { stream, from, compressed, body: Bytes::from(bytes) },
            None => Event::MessageShed { stream, from, compressed, length },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { stream: 1, from: Side::Client };

    /// Notes events, and lengths asked for and given back; declines what is longer than `most`.
    struct Notes {
        most: u32,
        events: Vec<Event>,
        asked: Vec<u32>,
        released: Vec<u32>,
    }

    impl Notes {
        fn new(most: u32) -> Self {
            Self { most, events: vec![], asked: vec![], released: vec![] }
        }
    }

    impl Sink for Notes {
        fn event(&mut self, event: Event) {
            self.events.push(event);
        }

        fn admit(&mut self, length: u32) -> bool {
            self.asked.push(length);
            length <= self.most
        }

        fn release(&mut self, length: u32) {
            self.released.push(length);
        }
    }

    fn message(compressed: bool, body: &'static [u8]) -> Event {
        Event::Message { stream: 1, from: Side::Client, compressed, body: Bytes::from_static(body) }
    }

    fn truncated(length: Option<u32>, got: u32) -> Event {
        Event::MessageTruncated { stream: 1, from: Side::Client, length, got }
    }

    #[test]
    fn messages_come_out_whatever_the_pieces() {
        let data = b"\0\0\0\0\x03abc\x01\0\0\0\0\0\0\0\0\x01d";
        for size in 1..=data.len() {
            let (mut messages, mut notes) = (Messages::START, Notes::new(100));
            for chunk in data.chunks(size) {
                messages.push(chunk, AT, 100, &mut notes);
            }
            messages.end(AT, &mut notes);
            assert_eq!(notes.events, [message(false, b"abc"), message(true, b""), message(false, b"d")]);
            assert_eq!((notes.asked, notes.released), (vec![3, 0, 1], vec![]));
        }
    }

    #[test]
    fn declined_and_overlong_messages_are_only_counted() {
        let (mut messages, mut notes) = (Messages::START, Notes::new(3));
        messages.push(b"\0\0\0\0\x04abcd\x01\0\0\0\x06abcdef\0\0\0\0\x01z", AT, 5, &mut notes);
        let shed =
            |compressed, length| Event::MessageShed { stream: 1, from: Side::Client, compressed, length };
        assert_eq!(notes.events, [shed(false, 4), shed(true, 6), message(false, b"z")]);
        assert_eq!(notes.asked, [4, 1], "the sink is not asked for what is over the limit");
    }

    #[test]
    fn a_message_cut_short_is_told_and_given_back() {
        for (data, most, event, released) in [
            (&b"\0\0"[..], 100, truncated(None, 0), vec![]),
            (b"\0\0\0\0\x04", 100, truncated(Some(4), 0), vec![4]),
            (b"\0\0\0\0\x04ab", 100, truncated(Some(4), 2), vec![4]),
            (b"\0\0\0\0\x04ab", 0, truncated(Some(4), 2), vec![]),
        ] {
            let (mut messages, mut notes) = (Messages::START, Notes::new(most));
            messages.push(data, AT, 100, &mut notes);
            messages.end(AT, &mut notes);
            messages.end(AT, &mut notes);
            assert_eq!(notes.events, [event]);
            assert_eq!(notes.released, released);
        }
    }

    #[test]
    fn what_is_no_prefix_ends_the_reading() {
        let (mut messages, mut notes) = (Messages::START, Notes::new(100));
        messages.push(b"\0\0\0\0\0<html>...", AT, 100, &mut notes);
        messages.end(AT, &mut notes);
        let bad = Event::BadPrefix { stream: 1, from: Side::Client, flag: b'<' };
        assert_eq!(notes.events, [message(false, b""), bad]);
    }

    #[test]
    fn a_body_is_never_moved_while_it_grows() {
        let mut body = Body { compressed: false, length: 20 << 20, got: 0, bytes: Some(Vec::new()) };
        body.push(&mut &[0; 10][..]);
        let place = body.bytes.as_ref().unwrap().as_ptr();
        while body.got < body.length {
            body.push(&mut &[0; 16384][..]);
        }
        let bytes = body.bytes.unwrap();
        assert_eq!((bytes.as_ptr(), bytes.capacity()), (place, 20 << 20));
    }
}
