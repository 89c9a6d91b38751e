//! Between the model of a conversation and the schema on disk.

use std::time::Duration;

use critape_calls::{
    Body, CallId, ConnectionId, Event, EventKind, Gap, GapReason, Header, HostPath, HostPathKind, Metadata,
    Opening, OpeningAnswer, Peer, Side, Stamp, Surroundings,
};

use crate::schema::{self, event::Kind};

/// The event as it is stored; `started` is when its segment began.
pub(crate) fn to_schema(event: &Event, started: Stamp) -> schema::Event {
    let at = event.at.0.saturating_sub(started.0);
    schema::Event { at, kind: Some(kind_to_schema(&event.kind)) }
}

/// The event that is stored, or `None` for a kind that this program doesn't know.
pub(crate) fn from_schema(event: schema::Event, started: Stamp) -> Option<Event> {
    let at = Stamp(started.0.saturating_add(event.at));
    Some(Event { at, kind: kind_from_schema(event.kind?)? })
}

fn kind_to_schema(kind: &EventKind) -> Kind {
    match kind {
        EventKind::ClockAnchor { wall } => Kind::ClockAnchor(schema::ClockAnchor { wall: wall.0 }),
        EventKind::Traffic { bytes } => Kind::Traffic(schema::Traffic { bytes: *bytes }),
        EventKind::Surroundings(it) => Kind::Surroundings(schema::Surroundings {
            kernel: it.kernel.clone(),
            boot_id: it.boot_id.clone(),
            cgroup_version: it.cgroup_version,
        }),
        EventKind::Opening(opening) => {
            Kind::Opening(schema::Opening { answers: opening.answers.iter().map(answer_to_schema).collect() })
        }
        EventKind::ConnectionOpened { connection, peer } => {
            Kind::ConnectionOpened(schema::ConnectionOpened {
                connection: connection.0,
                peer: peer.as_ref().map(|peer| schema::Peer {
                    pid: peer.pid,
                    uid: peer.uid,
                    exe: peer.exe.clone(),
                }),
            })
        }
        EventKind::ConnectionContinues { connection, peer, opened } => {
            Kind::ConnectionContinues(schema::ConnectionContinues {
                connection: connection.0,
                peer: peer.as_ref().map(peer_to_schema),
                opened: opened.0,
            })
        }
        EventKind::CallContinues { call, connection, stream, path, metadata, started, request } => {
            Kind::CallContinues(schema::CallContinues {
                call: call.0,
                connection: connection.0,
                stream: *stream,
                path: path.clone(),
                metadata: headers_to_schema(metadata),
                started: started.0,
                request: request.clone().unwrap_or_default(),
                has_request: request.is_some(),
            })
        }
        EventKind::ConnectionLost { connection, reason } => {
            Kind::ConnectionLost(schema::ConnectionLost { connection: connection.0, reason: reason.clone() })
        }
        EventKind::ConnectionClosed { connection } => {
            Kind::ConnectionClosed(schema::ConnectionClosed { connection: connection.0 })
        }
        EventKind::CallStarted { call, connection, stream, path, metadata } => {
            Kind::CallStarted(schema::CallStarted {
                call: call.0,
                connection: connection.0,
                stream: *stream,
                path: path.clone(),
                metadata: headers_to_schema(metadata),
            })
        }
        EventKind::HostPaths { call, paths } => Kind::HostPaths(schema::HostPaths {
            call: call.0,
            paths: paths.iter().map(host_path_to_schema).collect(),
        }),
        EventKind::Message { call, from, compressed, body } => Kind::Message(schema::Message {
            call: call.0,
            from: side_to_schema(*from).into(),
            compressed: *compressed,
            body: Some(match body {
                Body::Kept(bytes) => schema::message::Body::Kept(bytes.clone()),
                Body::Shed(length) => schema::message::Body::Shed(*length),
            }),
        }),
        EventKind::HalfClosed { call } => Kind::HalfClosed(schema::HalfClosed { call: call.0 }),
        EventKind::ResponseStarted { call, metadata } => Kind::ResponseStarted(schema::ResponseStarted {
            call: call.0,
            metadata: headers_to_schema(metadata),
        }),
        EventKind::Trailers { call, metadata } => {
            Kind::Trailers(schema::Trailers { call: call.0, metadata: headers_to_schema(metadata) })
        }
        EventKind::Reset { call, by, code } => {
            Kind::Reset(schema::Reset { call: call.0, by: side_to_schema(*by).into(), code: *code })
        }
        EventKind::Truncated { call } => Kind::Truncated(schema::Truncated { call: call.0 }),
        EventKind::Gap(gap) => Kind::Gap(gap_to_schema(gap)),
    }
}

fn kind_from_schema(kind: Kind) -> Option<EventKind> {
    Some(match kind {
        Kind::ClockAnchor(it) => EventKind::ClockAnchor { wall: Stamp(it.wall) },
        Kind::Traffic(it) => EventKind::Traffic { bytes: it.bytes },
        Kind::Surroundings(it) => EventKind::Surroundings(Surroundings {
            kernel: it.kernel,
            boot_id: it.boot_id,
            cgroup_version: it.cgroup_version,
        }),
        Kind::Opening(it) => {
            EventKind::Opening(Opening { answers: it.answers.into_iter().map(answer_from_schema).collect() })
        }
        Kind::ConnectionOpened(it) => EventKind::ConnectionOpened {
            connection: ConnectionId(it.connection),
            peer: it.peer.map(peer_from_schema),
        },
        Kind::ConnectionContinues(it) => EventKind::ConnectionContinues {
            connection: ConnectionId(it.connection),
            peer: it.peer.map(peer_from_schema),
            opened: Stamp(it.opened),
        },
        Kind::CallContinues(it) => EventKind::CallContinues {
            call: CallId(it.call),
            connection: ConnectionId(it.connection),
            stream: it.stream,
            path: it.path,
            metadata: headers_from_schema(it.metadata),
            started: Stamp(it.started),
            request: it.has_request.then_some(it.request),
        },
        Kind::ConnectionLost(it) => {
            EventKind::ConnectionLost { connection: ConnectionId(it.connection), reason: it.reason }
        }
        Kind::ConnectionClosed(it) => EventKind::ConnectionClosed { connection: ConnectionId(it.connection) },
        Kind::CallStarted(it) => EventKind::CallStarted {
            call: CallId(it.call),
            connection: ConnectionId(it.connection),
            stream: it.stream,
            path: it.path,
            metadata: headers_from_schema(it.metadata),
        },
        Kind::HostPaths(it) => EventKind::HostPaths {
            call: CallId(it.call),
            paths: it.paths.into_iter().map(host_path_from_schema).collect(),
        },
        Kind::Message(it) => EventKind::Message {
            call: CallId(it.call),
            from: side_from_schema(it.from()),
            compressed: it.compressed,
            body: match it.body {
                Some(schema::message::Body::Kept(bytes)) => Body::Kept(bytes),
                Some(schema::message::Body::Shed(length)) => Body::Shed(length),
                // Put together before it comes here, or a form of a later program.
                Some(schema::message::Body::Parts(_)) | None => return None,
            },
        },
        Kind::HalfClosed(it) => EventKind::HalfClosed { call: CallId(it.call) },
        Kind::ResponseStarted(it) => {
            EventKind::ResponseStarted { call: CallId(it.call), metadata: headers_from_schema(it.metadata) }
        }
        Kind::Trailers(it) => {
            EventKind::Trailers { call: CallId(it.call), metadata: headers_from_schema(it.metadata) }
        }
        Kind::Reset(it) => {
            EventKind::Reset { call: CallId(it.call), by: side_from_schema(it.by()), code: it.code }
        }
        Kind::Truncated(it) => EventKind::Truncated { call: CallId(it.call) },
        Kind::Gap(gap) => EventKind::Gap(gap_from_schema(&gap)),
    })
}

fn peer_to_schema(peer: &Peer) -> schema::Peer {
    schema::Peer { pid: peer.pid, uid: peer.uid, exe: peer.exe.clone() }
}

fn peer_from_schema(peer: schema::Peer) -> Peer {
    Peer { pid: peer.pid, uid: peer.uid, exe: peer.exe }
}

fn answer_to_schema(answer: &OpeningAnswer) -> schema::opening::Answer {
    schema::opening::Answer {
        path: answer.path.clone(),
        request: answer.request.clone(),
        code: answer.code,
        message: answer.message.clone(),
        response: answer.response.clone(),
    }
}

fn answer_from_schema(answer: schema::opening::Answer) -> OpeningAnswer {
    OpeningAnswer {
        path: answer.path,
        request: answer.request,
        code: answer.code,
        message: answer.message,
        response: answer.response,
    }
}

fn headers_to_schema(metadata: &Metadata) -> Vec<schema::Header> {
    metadata
        .0
        .iter()
        .map(|header| schema::Header { name: header.name.clone(), value: header.value.clone() })
        .collect()
}

fn headers_from_schema(headers: Vec<schema::Header>) -> Metadata {
    Metadata(headers.into_iter().map(|header| Header { name: header.name, value: header.value }).collect())
}

fn host_path_to_schema(path: &HostPath) -> schema::HostPath {
    use schema::host_path::Kind;
    let kind = match path.kind {
        HostPathKind::Absent => Kind::Absent,
        HostPathKind::File => Kind::File,
        HostPathKind::Directory => Kind::Directory,
        HostPathKind::Socket => Kind::Socket,
        HostPathKind::Device => Kind::Device,
        HostPathKind::Other => Kind::Other,
    };
    schema::HostPath { path: path.path.clone(), kind: kind.into() }
}

fn host_path_from_schema(path: schema::HostPath) -> HostPath {
    use schema::host_path::Kind;
    let kind = match path.kind() {
        Kind::Absent => HostPathKind::Absent,
        Kind::File => HostPathKind::File,
        Kind::Directory => HostPathKind::Directory,
        Kind::Socket => HostPathKind::Socket,
        Kind::Device => HostPathKind::Device,
        Kind::Other => HostPathKind::Other,
    };
    HostPath { path: path.path, kind }
}

fn side_to_schema(side: Side) -> schema::Side {
    match side {
        Side::Client => schema::Side::Client,
        Side::Runtime => schema::Side::Runtime,
    }
}

fn side_from_schema(side: schema::Side) -> Side {
    match side {
        schema::Side::Client => Side::Client,
        schema::Side::Runtime => Side::Runtime,
    }
}

pub(crate) fn gap_to_schema(gap: &Gap) -> schema::Gap {
    use schema::gap::Reason;
    let reason = match gap.reason {
        GapReason::Overload => Reason::Overload,
        GapReason::DiskFull => Reason::DiskFull,
        GapReason::Store => Reason::Store,
        GapReason::TooLarge => Reason::TooLarge,
        GapReason::NotUnderstood => Reason::NotUnderstood,
    };
    schema::Gap {
        calls: gap.calls,
        bytes: gap.bytes,
        reason: reason.into(),
        lasted: u64::try_from(gap.lasted.as_nanos()).unwrap_or(u64::MAX),
    }
}

pub(crate) fn gap_from_schema(gap: &schema::Gap) -> Gap {
    use schema::gap::Reason;
    let reason = match gap.reason() {
        Reason::Overload => GapReason::Overload,
        Reason::DiskFull => GapReason::DiskFull,
        Reason::Store => GapReason::Store,
        Reason::TooLarge => GapReason::TooLarge,
        Reason::NotUnderstood => GapReason::NotUnderstood,
    };
    Gap { calls: gap.calls, bytes: gap.bytes, reason, lasted: Duration::from_nanos(gap.lasted) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bytes::Bytes;

    /// One event of every kind.
    pub(crate) fn one_of_each() -> Vec<Event> {
        let call = CallId(7);
        let connection = ConnectionId(3);
        let metadata = Metadata(vec![Header { name: "a".into(), value: Bytes::from_static(b"\xff") }]);
        let kinds = vec![
            EventKind::Surroundings(Surroundings {
                kernel: "6.1".into(),
                boot_id: "b".into(),
                cgroup_version: 2,
            }),
            EventKind::ClockAnchor { wall: Stamp(9) },
            EventKind::Opening(Opening {
                answers: vec![OpeningAnswer {
                    path: "/p".into(),
                    request: "r".into(),
                    code: 5,
                    message: "m".into(),
                    response: "x".into(),
                }],
            }),
            EventKind::ConnectionOpened {
                connection,
                peer: Some(Peer { pid: 1, uid: 2, exe: "/usr/bin/kubelet".into() }),
            },
            EventKind::ConnectionContinues { connection, peer: None, opened: Stamp(77) },
            EventKind::CallContinues {
                call: CallId(6),
                connection,
                stream: 3,
                path: "/p".into(),
                metadata: metadata.clone(),
                started: Stamp(78),
                request: Some("".into()),
            },
            EventKind::CallStarted {
                call,
                connection,
                stream: 5,
                path: "/runtime.v1.RuntimeService/Version".into(),
                metadata: metadata.clone(),
            },
            EventKind::HostPaths {
                call,
                paths: [
                    HostPathKind::Absent,
                    HostPathKind::File,
                    HostPathKind::Directory,
                    HostPathKind::Socket,
                    HostPathKind::Device,
                    HostPathKind::Other,
                ]
                .map(|kind| HostPath { path: format!("/{kind}"), kind })
                .to_vec(),
            },
            EventKind::Message { call, from: Side::Client, compressed: true, body: Body::Kept("".into()) },
            EventKind::HalfClosed { call },
            EventKind::ResponseStarted { call, metadata: metadata.clone() },
            EventKind::Message { call, from: Side::Runtime, compressed: false, body: Body::Shed(99) },
            EventKind::Trailers { call, metadata },
            EventKind::Reset { call, by: Side::Runtime, code: 8 },
            EventKind::Truncated { call },
            EventKind::Gap(Gap {
                calls: 1,
                bytes: 2,
                reason: GapReason::DiskFull,
                lasted: Duration::from_nanos(3),
            }),
            EventKind::Traffic { bytes: 1000 },
            EventKind::ConnectionLost { connection, reason: "not HTTP/2".into() },
            EventKind::ConnectionClosed { connection },
        ];
        kinds.into_iter().enumerate().map(|(at, kind)| Event { at: Stamp(1000 + at as u64), kind }).collect()
    }

    #[test]
    fn every_kind_of_event_comes_back_as_it_was() {
        for event in one_of_each() {
            let stored = to_schema(&event, Stamp(1000));
            assert_eq!(from_schema(stored, Stamp(1000)), Some(event));
        }
    }

    #[test]
    fn a_kind_of_a_later_program_is_left_out() {
        assert_eq!(from_schema(schema::Event { at: 1, kind: None }, Stamp(0)), None);
    }
}
