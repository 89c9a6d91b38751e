//! Both sides of a connection together: what they say, and what it means.

use crate::event::{Event, Limits, Side, Sink};
use crate::side::{Failure, Said, Speaker};
use crate::stream::Streams;

/// Watches one connection: is fed what each side sends, and tells what was said.
///
/// The order of feeding must respect cause: what a side sent because of something it read has to be fed after
/// that. An answer that overtakes its question belongs to no stream, and is not told.
#[derive(Debug)]
pub struct Observer {
    client: Speaker,
    server: Speaker,
    streams: Streams,
    lost: bool,
}

impl Observer {
    /// A connection of which nothing has been seen.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            client: Speaker::new(Side::Client, limits),
            server: Speaker::new(Side::Server, limits),
            streams: Streams::new(&limits),
            lost: false,
        }
    }

    /// Feeds the next bytes that one side sent. After [`Event::Lost`] they are ignored.
    pub fn feed(&mut self, from: Side, bytes: &[u8], sink: &mut impl Sink) {
        if self.lost {
            return;
        }
        let streams = &mut self.streams;
        let (speaker, listener) = match from {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        };
        let outcome = speaker.feed(bytes, &mut |said| match said {
            Said::Headers { stream, headers, end } => streams.headers(from, stream, headers, end, sink),
            Said::Data { stream, data } => streams.data(from, stream, data, sink),
            Said::End { stream } => streams.end(from, stream, Vec::new(), sink),
            Said::Reset { stream, code } => streams.reset(from, stream, code, sink),
            Said::GoAway { last_stream, code, debug } => {
                sink.event(Event::GoAway { from, last_stream, code, debug });
            }
            Said::HeaderTableSize(size) => listener.allow_table(size),
        });
        if let Err(failure) = outcome {
            self.lose(from, &failure, sink);
        }
    }

    /// The connection has ended: gives back what was admitted and never completed, and tells the messages that
    /// were cut short. Streams that had not ended get no event of their own.
    pub fn end(&mut self, sink: &mut impl Sink) {
        self.streams.abandon(sink);
    }

    /// The connection can't be understood any more; feeding it does nothing.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The client's preface has been seen in full.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.client.is_http2()
    }

    fn lose(&mut self, from: Side, failure: &Failure, sink: &mut impl Sink) {
        self.lost = true;
        self.streams.abandon(sink);
        self.client.forget();
        self.server.forget();
        let Failure { reason, offset } = *failure;
        sink.event(Event::Lost { from, reason, offset });
    }
}
