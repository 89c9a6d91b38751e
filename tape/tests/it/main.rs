//! Tapes written and read back, as users of the crate do it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use critape_calls::{
    Body, CallId, ConnectionId, Event, EventKind, Header, Metadata, Opening, OpeningAnswer, Peer, Side, Stamp,
};
use critape_tape::{Tape, TapeError, Writer, is_tape};

const VERSION: &str = "/runtime.v1.RuntimeService/Version";

fn event(at: u64, kind: EventKind) -> Event {
    Event { at: Stamp(at), kind }
}

fn status(code: &str) -> Metadata {
    Metadata(vec![Header { name: "grpc-status".into(), value: Bytes::copy_from_slice(code.as_bytes()) }])
}

/// A connection with `calls` calls of `size` bytes each, starting at the numbers the writer gives.
fn conversation(writer: &Writer, at: u64, calls: u64, size: usize) -> Vec<Event> {
    let connection = writer.first_connection();
    let peer = Some(Peer { pid: 10, uid: 0, exe: "/usr/bin/crictl".into() });
    let mut events = vec![event(at, EventKind::ConnectionOpened { connection, peer })];
    for index in 0..calls {
        let call = CallId(writer.first_call().0 + index);
        let at = at + index * 10;
        events.push(event(
            at,
            EventKind::CallStarted {
                call,
                connection,
                stream: 1,
                path: VERSION.into(),
                metadata: Metadata::default(),
            },
        ));
        let body = Body::Kept(vec![index as u8; size].into());
        events.push(event(at + 1, EventKind::Message { call, from: Side::Client, compressed: false, body }));
        events.push(event(at + 2, EventKind::Trailers { call, metadata: status("0") }));
    }
    events.push(event(at + calls * 10, EventKind::ConnectionClosed { connection }));
    events
}

fn write(path: &Path, started: u64, calls: u64, size: usize) -> Vec<Event> {
    let mut writer = Writer::open(path, Stamp(started), "test").unwrap();
    let events = conversation(&writer, started, calls, size);
    events.iter().for_each(|event| writer.append(event).unwrap());
    writer.close(Stamp(started + calls * 10 + 5)).unwrap();
    events
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    assert!(!is_tape(&path));
    let events = write(&path, 5000, 1000, 30);
    assert!(is_tape(&path));
    let tape = Tape::open(&path).unwrap();
    let read: Vec<_> = tape.events().map(Result::unwrap).collect();
    assert_eq!(read, events);
    let calls: Vec<_> = tape.calls().map(Result::unwrap).collect();
    assert_eq!(calls.len(), 1000);
    assert!(calls.iter().all(|call| call.outcome.is_ok() && call.peer.is_some()));
    let info = tape.info().unwrap();
    assert!(info.is_clean());
    assert_eq!((info.summary.calls, info.summary.connections), (1000, 1));
    assert_eq!(info.summary.generations.iter().map(String::as_str).collect::<Vec<_>>(), ["runtime.v1"]);
    let verified = tape.verify();
    assert_eq!((verified.calls, verified.events), (1000, events.len() as u64));
    assert!(verified.damage.is_empty() && verified.unclean.is_empty());
}

#[test]
fn recording_again_appends_a_segment_and_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 1000, 3, 1);
    write(&path, 9000, 2, 1);
    let tape = Tape::open(&path).unwrap();
    let calls: Vec<_> = tape.calls().map(|call| call.unwrap().id).collect();
    assert_eq!(calls, [1, 2, 3, 4, 5].map(CallId));
    let info = tape.info().unwrap();
    assert_eq!(info.segments.len(), 2);
    assert_eq!(info.summary.last_connection, Some(ConnectionId(2)));
    assert_eq!(info.summary.span, Some((Stamp(1000), Stamp(9025))));
}

#[test]
fn a_segment_that_was_deleted_leaves_the_rest_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    for started in [1000, 2000, 3000] {
        write(&path, started, 2, 1);
    }
    fs::remove_dir_all(path.join("segments/00000002")).unwrap();
    let tape = Tape::open(&path).unwrap();
    let calls: Vec<_> = tape.calls().map(|call| call.unwrap().id).collect();
    assert_eq!(calls, [1, 2, 5, 6].map(CallId));
    assert!(tape.verify().damage.is_empty());
}

#[test]
fn a_tape_whose_writer_vanished_is_unclean_and_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open(&path, Stamp(1000), "test").unwrap();
    let events = conversation(&writer, 1000, 10, 5);
    events.iter().for_each(|event| writer.append(event).unwrap());
    writer.commit().unwrap();
    // No close: as after a kill.
    drop(writer);
    let tape = Tape::open(&path).unwrap();
    assert!(!tape.info().unwrap().is_clean());
    assert_eq!(tape.events().count(), events.len());
    let verified = tape.verify();
    assert_eq!(verified.unclean, [1]);
    assert!(verified.damage.is_empty());
    assert_eq!(Writer::open(&path, Stamp(2000), "test").unwrap().first_call(), CallId(11));
}

#[test]
fn large_messages_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open(&path, Stamp(0), "test").unwrap();
    // Pseudo-random, so that it doesn't compress away.
    let mut seed = 1_u32;
    let body: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(20 << 20)
    .collect();
    let body = Body::Kept(body.into());
    let message =
        event(1, EventKind::Message { call: CallId(1), from: Side::Runtime, compressed: false, body });
    writer.append(&message).unwrap();
    writer.close(Stamp(2)).unwrap();
    let read: Vec<_> = Tape::open(&path).unwrap().events().map(Result::unwrap).collect();
    assert_eq!(read, [message]);
}

#[test]
fn a_tape_that_is_being_written_says_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let writer = Writer::open(&path, Stamp(0), "test").unwrap();
    let me = std::process::id().to_string();
    assert!(matches!(Tape::open(&path), Err(TapeError::BeingWritten { holder, .. }) if holder == me));
    assert!(matches!(Writer::open(&path, Stamp(0), "test"), Err(TapeError::BeingWritten { .. })));
    drop(writer);
    Tape::open(&path).unwrap();
}

#[test]
fn damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 0, 2000, 40);
    let db = path.join("segments/00000001/db");
    let mut bytes = fs::read(&db).unwrap();
    // Here and there, wherever something is stored.
    let stored: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).step_by(501).collect();
    assert!(stored.len() > 10);
    for at in stored {
        bytes[at] ^= 0x5A;
    }
    fs::write(&db, bytes).unwrap();
    let tape = Tape::open(&path).unwrap();
    assert!(!tape.verify().damage.is_empty());
    assert!(tape.events().any(|event| event.is_err()));
}

#[test]
fn the_opening_tells_the_runtime() {
    use prost::Message as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let version = cri::v1::VersionResponse {
        version: "0.1.0".into(),
        runtime_name: "containerd".into(),
        runtime_version: "1.6.20".into(),
        runtime_api_version: "v1".into(),
    };
    let answer = OpeningAnswer {
        path: VERSION.into(),
        request: Bytes::new(),
        code: 0,
        message: String::new(),
        response: version.encode_to_vec().into(),
    };
    let mut writer = Writer::open(&path, Stamp(0), "test").unwrap();
    writer.append(&event(1, EventKind::Opening(Opening { answers: vec![answer] }))).unwrap();
    writer.close(Stamp(2)).unwrap();
    let info = Tape::open(&path).unwrap().info().unwrap();
    assert_eq!(info.summary.runtime, Some(("containerd".into(), "1.6.20".into())));
}
