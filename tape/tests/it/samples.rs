//! Conversations to be written.

use std::time::Duration;

use bytes::Bytes;
use critape_calls::{
    Body, CallId, ConnectionId, Event, EventKind, Gap, GapReason, Header, HostPath, HostPathKind, Metadata,
    Opening, OpeningAnswer, Peer, Side, Stamp, Surroundings,
};
use proptest::prelude::*;

pub const STARTED: u64 = 1_790_000_000_000_000_000;

/// One event of every kind and every shape, a nanosecond apart.
pub fn one_of_each() -> Vec<Event> {
    let kinds = [around(), of_connections(), of_calls()].concat();
    kinds.into_iter().zip(STARTED + 1..).map(|(kind, at)| Event { at: Stamp(at), kind }).collect()
}

fn metadata() -> Metadata {
    let header = |name: &'static str, value: &'static [u8]| Header { name: name.into(), value: value.into() };
    Metadata(vec![header("user-agent", b"kubelet"), header("x-bin", b"\xff\x00"), header("x-bin", b"")])
}

fn around() -> Vec<EventKind> {
    let answer = OpeningAnswer {
        path: "/runtime.v1.RuntimeService/Status".into(),
        request: Bytes::from_static(b"\x08\x01"),
        code: 5,
        message: "no such thing".into(),
        response: Bytes::new(),
    };
    let gap = |reason, lasted| {
        EventKind::Gap(Gap { calls: 1, bytes: 2, reason, lasted: Duration::from_nanos(lasted) })
    };
    vec![
        EventKind::Surroundings(Surroundings {
            kernel: "6.1".into(),
            boot_id: "b-1".into(),
            cgroup_version: 2,
        }),
        EventKind::ClockAnchor { wall: Stamp(STARTED + 5) },
        EventKind::Opening(Opening { answers: vec![answer] }),
        gap(GapReason::Overload, 3),
        gap(GapReason::DiskFull, 4),
        gap(GapReason::Store, 5),
        gap(GapReason::TooLarge, 0),
        gap(GapReason::NotUnderstood, 2),
        EventKind::Traffic { bytes: 1000 },
    ]
}

fn of_connections() -> Vec<EventKind> {
    let connection = ConnectionId(3);
    let peer = Some(Peer { pid: 10, uid: 0, exe: "/usr/bin/kubelet".into() });
    vec![
        EventKind::ConnectionOpened { connection, peer: peer.clone() },
        EventKind::ConnectionOpened { connection: ConnectionId(4), peer: None },
        EventKind::ConnectionContinues { connection: ConnectionId(2), peer, opened: Stamp(STARTED - 7) },
        EventKind::ConnectionLost { connection: ConnectionId(4), reason: "not HTTP/2".into() },
        EventKind::ConnectionClosed { connection: ConnectionId(4) },
    ]
}

fn of_calls() -> Vec<EventKind> {
    let (call, connection) = (CallId(7), ConnectionId(3));
    let message = |from, compressed, body| EventKind::Message { call, from, compressed, body };
    let paths = [
        HostPathKind::Absent,
        HostPathKind::File,
        HostPathKind::Directory,
        HostPathKind::Socket,
        HostPathKind::Device,
        HostPathKind::Other,
    ];
    let continues = |request| EventKind::CallContinues {
        call: CallId(6),
        connection: ConnectionId(2),
        stream: 3,
        path: "/runtime.v1.RuntimeService/GetContainerEvents".into(),
        metadata: metadata(),
        started: Stamp(STARTED - 6),
        request,
    };
    let path = "/runtime.v1.RuntimeService/CreateContainer".to_owned();
    vec![
        continues(Some(Bytes::new())),
        continues(None),
        EventKind::CallStarted { call, connection, stream: 5, path, metadata: metadata() },
        EventKind::HostPaths {
            call,
            paths: paths.map(|kind| HostPath { path: format!("/{kind}"), kind }).to_vec(),
        },
        message(Side::Client, true, Body::Kept(Bytes::new())),
        message(Side::Client, false, Body::Kept(vec![7; 300].into())),
        EventKind::HalfClosed { call },
        EventKind::ResponseStarted { call, metadata: Metadata::default() },
        message(Side::Runtime, false, Body::Shed(99)),
        EventKind::Trailers { call, metadata: metadata() },
        EventKind::Reset { call, by: Side::Client, code: 8 },
        EventKind::Reset { call: CallId(6), by: Side::Runtime, code: 0 },
        EventKind::Truncated { call },
    ]
}

/// Any events in any order: a tape need not make sense to be kept.
pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| Body::Kept(bytes.into())),
        (0..1_u64 << 40).prop_map(Body::Shed),
    ];
    let message =
        (1..9_u64, any::<bool>(), any::<bool>(), body).prop_map(|(call, client, compressed, body)| {
            let from = if client { Side::Client } else { Side::Runtime };
            EventKind::Message { call: CallId(call), from, compressed, body }
        });
    let sample = proptest::sample::select(one_of_each()).prop_map(|event| event.kind);
    let event = (0..1_000_000_u64, prop_oneof![message, sample])
        .prop_map(|(at, kind)| Event { at: Stamp(STARTED + at), kind });
    proptest::collection::vec(event, 0..60)
}
