//! What the frames of a connection mean for its streams: who asked what, who answered, who ended.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{Event, Header, Limits, Side, Sink};
use crate::message::{Messages, Place};

/// Requests that are still read after the server broke their stream off. What the client sends then crossed the reset on its way;
/// one that took notice of it sends nothing more, so old ones are given up.
const MAX_CROSSING: usize = 64;

/// The streams of a connection that have not ended on both sides.
#[derive(Debug)]
pub(crate) struct Streams {
    open: BTreeMap<u32, Stream>,
    /// Streams that the server broke off before their request had ended, oldest first.
    crossing: VecDeque<u32>,
    /// The highest stream that the client has opened.
    newest: u32,
    max_open: usize,
    max_message: u32,
}

#[derive(Debug)]
struct Stream {
    request: Half,
    response: Half,
    /// The response headers have been seen.
    answered: bool,
    /// The server broke it off.
    reset: bool,
}

/// One direction of a stream.
#[derive(Debug)]
struct Half {
    messages: Messages,
    ended: bool,
}

impl Half {
    fn new(messages: Messages) -> Self {
        Self { messages, ended: false }
    }
}

impl Stream {
    fn half(&mut self, from: Side) -> &mut Half {
        match from {
            Side::Client => &mut self.request,
            Side::Server => &mut self.response,
        }
    }

    /// Ends what either side has begun.
    fn abandon(&mut self, stream: u32, sink: &mut impl Sink) {
        for from in [Side::Client, Side::Server] {
            self.half(from).messages.end(Place { stream, from }, sink);
        }
    }
}

impl Streams {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            open: BTreeMap::new(),
            crossing: VecDeque::new(),
            newest: 0,
            max_open: limits.max_streams,
            max_message: limits.max_message,
        }
    }

    /// A header block, and whether its side ends with it.
    pub(crate) fn headers(
        &mut self,
        from: Side,
        stream: u32,
        headers: Vec<Header>,
        end: bool,
        sink: &mut impl Sink,
    ) {
        match from {
            Side::Client => self.request_headers(stream, headers, end, sink),
            Side::Server => self.response_headers(stream, headers, end, sink),
        }
    }

    fn request_headers(&mut self, stream: u32, headers: Vec<Header>, end: bool, sink: &mut impl Sink) {
        if !self.open.contains_key(&stream) {
            // Clients open odd streams, each higher than the last; anything else is late or wrong.
            if stream.is_multiple_of(2) || stream <= self.newest {
                return;
            }
            self.newest = stream;
            if self.open.len() >= self.max_open {
                sink.event(Event::StreamShed { stream, headers });
                return;
            }
            let request = Half::new(messages(&headers));
            let response = Half::new(Messages::Unread);
            self.open.insert(stream, Stream { request, response, answered: false, reset: false });
            sink.event(Event::RequestHeaders { stream, headers });
        }
        // A second block is trailers, which gRPC requests don't use: only their end counts.
        if end {
            self.end(Side::Client, stream, Vec::new(), sink);
        }
    }

    fn response_headers(&mut self, stream: u32, headers: Vec<Header>, end: bool, sink: &mut impl Sink) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        if end {
            self.end(Side::Server, stream, headers, sink);
        } else if !open.answered && !open.response.ended && !interim(&headers) {
            open.answered = true;
            open.response.messages = messages(&headers);
            sink.event(Event::ResponseHeaders { stream, headers });
        }
    }

    /// Some content of DATA.
    pub(crate) fn data(&mut self, from: Side, stream: u32, data: &[u8], sink: &mut impl Sink) {
        if let Some(open) = self.open.get_mut(&stream) {
            open.half(from).messages.push(data, Place { stream, from }, self.max_message, sink);
        }
    }

    /// One side ended its half, with these trailers.
    pub(crate) fn end(&mut self, from: Side, stream: u32, trailers: Vec<Header>, sink: &mut impl Sink) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        let half = open.half(from);
        if half.ended {
            return;
        }
        half.ended = true;
        half.messages.end(Place { stream, from }, sink);
        sink.event(match from {
            Side::Client => Event::RequestEnd { stream },
            Side::Server => {
                let trailers_only = !open.answered && !trailers.is_empty();
                Event::ResponseEnd { stream, trailers, trailers_only }
            }
        });
        if open.request.ended && open.response.ended {
            self.open.remove(&stream);
            self.crossing.retain(|crossing| *crossing != stream);
        }
    }

    /// `RST_STREAM`.
    pub(crate) fn reset(&mut self, from: Side, stream: u32, code: u32, sink: &mut impl Sink) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        if open.reset {
            // Told already; now the client has ended it too.
            if from == Side::Client {
                self.give_up(stream, sink);
            }
            return;
        }
        if from == Side::Server && !open.request.ended {
            open.reset = true;
            open.response.ended = true;
            open.response.messages.end(Place { stream, from }, sink);
            sink.event(Event::Reset { stream, from, code });
            self.crossing.push_back(stream);
            if self.crossing.len() > MAX_CROSSING
                && let Some(oldest) = self.crossing.pop_front()
            {
                self.give_up(oldest, sink);
            }
            return;
        }
        self.give_up(stream, sink);
        sink.event(Event::Reset { stream, from, code });
    }

    fn give_up(&mut self, stream: u32, sink: &mut impl Sink) {
        if let Some(mut open) = self.open.remove(&stream) {
            open.abandon(stream, sink);
        }
    }

    /// The connection ended, or can't be followed any more.
    pub(crate) fn abandon(&mut self, sink: &mut impl Sink) {
        for (stream, mut open) in std::mem::take(&mut self.open) {
            open.abandon(stream, sink);
        }
    }
}

/// How the DATA after these headers is read.
fn messages(headers: &[Header]) -> Messages {
    let grpc = headers
        .iter()
        .find(|header| &*header.name == b"content-type")
        .is_some_and(|header| is_grpc(&header.value));
    if grpc { Messages::START } else { Messages::Unread }
}

/// `application/grpc`, also with a `+format` or parameters behind it; not `application/grpc-web`.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.split_at_checked(GRPC.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

/// A 1xx response.
fn interim(headers: &[Header]) -> bool {
    headers.iter().any(|header| &*header.name == b":status" && header.value.starts_with(b"1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_grpc() {
        for yes in ["application/grpc", "application/grpc+proto", "Application/GRPC;charset=utf-8"] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in ["", "application/grpcx", "application/grpc-web", "application/json", "text/html"] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }
}
