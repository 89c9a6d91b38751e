//! What the events of one connection's wire mean for the tape.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use critape_calls::{
    Body, CallId, Code, ConnectionId, Ending, Event, EventKind, GapReason, Header, Metadata, Peer, Side,
    Stamp,
};
use critape_wire::{Limits, LostReason, Sink};

use super::Shared;
use crate::counters::{Counters, MethodIndex};
use crate::host;

/// The services whose calls are recorded. Everything else on the socket passes and is counted.
const SERVICES: [&str; 6] = [
    "/runtime.v1.RuntimeService/",
    "/runtime.v1.ImageService/",
    "/runtime.v1alpha2.RuntimeService/",
    "/runtime.v1alpha2.ImageService/",
    "/runtime.RuntimeService/",
    "/runtime.ImageService/",
];

/// Ends of calls that wait for their requests, on one connection.
const MAX_WAITING: usize = 16;
#[derive(Debug)]
pub(super) struct State {
    pub(super) shared: Rc<Shared>,
    connection: ConnectionId,
    pub(super) at: Stamp,
    /// Who connected, and when, as long as the tape has not been told: there was no room.
    unannounced: Option<(Option<Peer>, Stamp)>,
    /// The connection is not understood any more.
    pub(super) lost: Option<LostConnection>,
    /// Calls that have not ended, by stream.
    calls: HashMap<u32, OpenCall>,
}

/// What passes on a connection that is not understood.
#[derive(Debug)]
pub(super) struct LostConnection {
    /// Bytes since they were last counted.
    pub(super) bytes: u64,
    counted: Stamp,
    counts: Counts,
}

/// Whether what is not understood is missing on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Yes,
    /// It never was gRPC: others use the socket too.
    No,
}

/// How much of a call goes onto the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// All of it.
    Whole,
    /// It has begun there; the rest found no room.
    Begun,
    /// Nothing.
    Nothing,
}

#[derive(Debug)]
struct OpenCall {
    id: CallId,
    kept: Kept,
    method: MethodIndex,
    started: Stamp,
    names_host_paths: bool,
    /// The client has sent all it had to send.
    asked: bool,
    /// The runtime ended the call before its request had come through: grpc-go refuses an unknown method on its headers alone.
    /// The end is written down when the request is complete.
    ended: Option<EventKind>,
}

impl State {
    /// Of a connection that was made at this moment.
    pub(super) fn new(shared: Rc<Shared>, connection: ConnectionId, peer: Option<Peer>, at: Stamp) -> Self {
        let unannounced = Some((peer, at));
        Self { shared, connection, at, unannounced, lost: None, calls: HashMap::new() }
    }

    fn push(&self, kind: EventKind) {
        self.shared.push(self.at, kind);
    }

    /// Tells the tape of the connection, where there is room.
    pub(super) fn announce(&mut self, how: impl FnOnce(ConnectionId, Option<Peer>, Stamp) -> EventKind) {
        if self.shared.queue.is_flooded() {
            return;
        }
        if let Some((peer, opened)) = self.unannounced.take() {
            self.push(how(self.connection, peer, opened));
        }
    }

    /// The connection is not understood from here on.
    pub(super) fn lose(&mut self, reason: String, counts: Counts) {
        match counts {
            Counts::No => self.shared.counters.other_connection(),
            Counts::Yes => self.shared.counters.undecodable(),
        }
        self.push(EventKind::ConnectionLost { connection: self.connection, reason });
        if counts == Counts::Yes {
            for call in self.calls.values() {
                self.shared.queue.note_gap(self.at, Some(call.id), 0, GapReason::NotUnderstood);
            }
        }
        self.lost = Some(LostConnection { bytes: 0, counted: self.at, counts });
    }

    /// Counts the bytes that were not understood, if that was not done for so long.
    pub(super) fn count_lost(&mut self, every: Duration) {
        let Some(lost) = &mut self.lost else { return };
        if lost.counts == Counts::Yes && lost.bytes > 0 && self.at.since(lost.counted) >= every {
            self.shared.queue.note_gap(self.at, None, lost.bytes, GapReason::NotUnderstood);
            (lost.bytes, lost.counted) = (0, self.at);
        }
    }

    fn start(&mut self, stream: u32, headers: Vec<critape_wire::Header>) {
        let path = headers.iter().find(|header| header.name == ":path").map(|header| header.value.clone());
        let path = path.map(|path| String::from_utf8_lossy(&path).into_owned()).unwrap_or_default();
        if !SERVICES.iter().any(|service| path.starts_with(service)) {
            self.shared.counters.other_call();
            return;
        }
        let id = CallId(Shared::take(&self.shared.next_call));
        let names_host_paths = path.ends_with("/CreateContainer");
        let flooded = self.shared.queue.is_flooded();
        let kept = if flooded { Kept::Nothing } else { Kept::Whole };
        let (method, started) = (self.shared.counters.started(&path), self.at);
        let call = OpenCall { id, kept, method, started, names_host_paths, asked: false, ended: None };
        self.calls.insert(stream, call);
        if flooded {
            self.shared.queue.note_gap(self.at, Some(id), 0, GapReason::Overload);
            return;
        }
        self.announce(|connection, peer, opened| EventKind::ConnectionContinues { connection, peer, opened });
        let connection = self.connection;
        self.push(EventKind::CallStarted { call: id, connection, stream, path, metadata: metadata(headers) });
    }

    /// The call on this stream, if there is room to tell of it. If there no longer is, that is noted.
    fn told(&mut self, stream: u32, bytes: u64) -> Option<&mut OpenCall> {
        let call = self.calls.get_mut(&stream)?;
        if call.kept == Kept::Whole && self.shared.queue.is_flooded() {
            call.kept = Kept::Begun;
        }
        if call.kept != Kept::Whole {
            self.shared.queue.note_gap(self.at, Some(call.id), bytes, GapReason::Overload);
            return None;
        }
        Some(call)
    }

    fn message(&mut self, stream: u32, from: Side, compressed: bool, body: Body) {
        let told = self.told(stream, body.len()).map(|call| (call.id, call.names_host_paths));
        let Some((call, names_host_paths)) = told else {
            if let Body::Kept(bytes) = body {
                self.shared.queue.release(bytes.len() as u64);
            }
            return;
        };
        match &body {
            Body::Kept(bytes) if names_host_paths && from == Side::Client => {
                self.look_at_host_paths(call, bytes.clone());
            }
            Body::Kept(_) => {}
            Body::Shed(length) => {
                let too_large = *length > u64::from(Limits::default().max_message);
                let reason = if too_large { GapReason::TooLarge } else { GapReason::Overload };
                self.shared.queue.note_gap(self.at, Some(call), *length, reason);
                self.shared.counters.shed(reason);
            }
        }
        self.push(EventKind::Message { call, from, compressed, body });
    }

    /// On another thread: a path may lie on a file system that doesn't answer.
    fn look_at_host_paths(&self, call: CallId, request: bytes::Bytes) {
        let (queue, at) = (self.shared.queue.clone(), self.at);
        self.shared.lookups.borrow_mut().spawn_blocking(move || {
            let paths = host::host_paths(&request);
            if !paths.is_empty() {
                queue.push(Event { at, kind: EventKind::HostPaths { call, paths } });
            }
        });
    }

    /// The client has sent all it had to send.
    fn asked(&mut self, stream: u32) {
        if let Some(call) = self.told(stream, 0) {
            let call = call.id;
            self.push(EventKind::HalfClosed { call });
        }
        let Some(call) = self.calls.get_mut(&stream) else { return };
        call.asked = true;
        if call.ended.is_some() {
            self.finish(stream);
        }
    }

    /// The call has ended in this way.
    fn ended(&mut self, stream: u32, by: Side, how: impl FnOnce(CallId) -> EventKind) {
        let Some(call) = self.calls.get_mut(&stream) else { return };
        let first = call.ended.is_none();
        if first {
            let how = how(call.id);
            count_end(&self.shared.counters, call, &how, self.at);
            call.ended = Some(how);
        }
        // If it had ended before and the client says so as well, nothing more comes.
        if by == Side::Client || (first && call.asked) {
            self.finish(stream);
        } else if first {
            self.give_up_waiting();
        }
    }

    /// A client that took notice of the early end sends nothing more: the oldest of those that are waited for is written down.
    fn give_up_waiting(&mut self) {
        let waiting =
            || self.calls.iter().filter(|(_, call)| call.ended.is_some()).map(|(stream, _)| *stream);
        if waiting().count() > MAX_WAITING
            && let Some(oldest) = waiting().min()
        {
            self.finish(oldest);
        }
    }

    /// Writes down how a call ended: it is not watched any more.
    fn finish(&mut self, stream: u32) {
        if let Some(call) = self.calls.remove(&stream) {
            self.write_end(call);
        }
    }

    fn write_end(&self, call: OpenCall) {
        let unseen = EventKind::Truncated { call: call.id };
        match call.kept {
            Kept::Whole => self.push(call.ended.unwrap_or(unseen)),
            // What is missing of it may be anything.
            Kept::Begun => self.push(unseen),
            Kept::Nothing => {}
        }
    }

    pub(super) fn close(&mut self) {
        self.at = self.shared.clock.now();
        self.count_lost(Duration::ZERO);
        let mut open: Vec<OpenCall> = self.calls.drain().map(|(_, call)| call).collect();
        open.sort_unstable_by_key(|call| call.id);
        for call in open {
            if call.ended.is_none() {
                let unseen = EventKind::Truncated { call: call.id };
                count_end(&self.shared.counters, &call, &unseen, self.at);
            }
            self.write_end(call);
        }
        self.shared.counters.disconnected();
        if self.unannounced.is_none() {
            self.push(EventKind::ConnectionClosed { connection: self.connection });
        }
    }
}

impl Sink for State {
    fn event(&mut self, event: critape_wire::Event) {
        use critape_wire::Event as Wire;
        match event {
            Wire::RequestHeaders { stream, headers } | Wire::StreamShed { stream, headers } => {
                self.start(stream, headers);
            }
            Wire::Message { stream, from, compressed, body } => {
                self.message(stream, side(from), compressed, Body::Kept(body));
            }
            Wire::MessageShed { stream, from, compressed, length } => {
                self.message(stream, side(from), compressed, Body::Shed(length.into()));
            }
            Wire::RequestEnd { stream } => self.asked(stream),
            Wire::ResponseHeaders { stream, headers } => {
                if let Some(call) = self.told(stream, 0) {
                    let call = call.id;
                    self.push(EventKind::ResponseStarted { call, metadata: metadata(headers) });
                }
            }
            Wire::ResponseEnd { stream, trailers, .. } => {
                let metadata = metadata(trailers);
                self.ended(stream, Side::Runtime, |call| EventKind::Trailers { call, metadata });
            }
            Wire::Reset { stream, from, code } => {
                let by = side(from);
                self.ended(stream, by, |call| EventKind::Reset { call, by, code });
            }
            Wire::Lost { reason, .. } => {
                let counts = if reason == LostReason::NotHttp2 { Counts::No } else { Counts::Yes };
                self.lose(reason.to_string(), counts);
            }
            // The bytes of these are not a message, and the call's end tells the rest.
            Wire::MessageTruncated { .. } | Wire::BadPrefix { .. } | Wire::GoAway { .. } => {}
        }
    }

    fn admit(&mut self, length: u32) -> bool {
        self.shared.queue.admit(length.into())
    }

    fn release(&mut self, length: u32) {
        self.shared.queue.release(length.into());
    }
}

fn side(side: critape_wire::Side) -> Side {
    match side {
        critape_wire::Side::Client => Side::Client,
        critape_wire::Side::Server => Side::Runtime,
    }
}

/// Headers without HTTP/2's own.
fn metadata(headers: Vec<critape_wire::Header>) -> Metadata {
    Metadata(
        headers
            .into_iter()
            .filter(|header| !header.name.starts_with(b":"))
            .map(|header| Header { name: header.name, value: header.value })
            .collect(),
    )
}

/// Counts how a call ended. A client whose deadline has come counts as one that broke the call off.
fn count_end(counters: &Counters, call: &OpenCall, how: &EventKind, at: Stamp) {
    let status = |metadata: &Metadata| metadata.text("grpc-status").and_then(|text| text.parse().ok());
    let (ending, code) = match how {
        EventKind::Trailers { metadata, .. } => match status(metadata) {
            Some(code) => (Ending::Status, Code(code)),
            None => (Ending::Truncated, Code::OK),
        },
        EventKind::Reset { by: Side::Client, .. } => (Ending::Cancelled, Code::OK),
        EventKind::Reset { code, .. } => (Ending::Reset(*code), Code::OK),
        _ => (Ending::Truncated, Code::OK),
    };
    counters.ended(call.method, ending, code, at.since(call.started));
}
