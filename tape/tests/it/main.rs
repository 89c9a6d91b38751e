//! Tapes written and read back, as users of the crate do it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use critape_calls::{
    Body, CallId, ConnectionId, Event, EventKind, Header, Metadata, Opening, OpeningAnswer, Peer, Side, Stamp,
};
use critape_tape::{Tape, TapeError, Writer, is_tape};

mod export;
mod faults;
mod golden;
mod hostile;
mod layout;
mod live;
mod repair;
mod samples;
mod secrets;
mod seeds;

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
    let verified = tape.verify().unwrap();
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
    assert!(tape.verify().unwrap().damage.is_empty());
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
    let verified = tape.verify().unwrap();
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
fn reading_changes_nothing_that_matters_however_large_the_messages() {
    let folder = tempfile::tempdir().unwrap();
    for (name, calls, size) in [("few", 2, 7 << 20), ("many", 1000, 5000)] {
        let path = folder.path().join(name);
        let mut writer = Writer::open(&path, Stamp(0), "test").unwrap();
        let mut seed = 1_u32;
        for mut event in conversation(&writer, 0, calls, size) {
            if let EventKind::Message { body: Body::Kept(body), .. } = &mut event.kind {
                // Does not compress away.
                let noise = std::iter::repeat_with(|| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                });
                *body = noise.take(size).collect::<Vec<_>>().into();
            }
            writer.append(&event).unwrap();
        }
        writer.close(Stamp(1_000_000)).unwrap();
        for time in 0..3 {
            let verified = Tape::open(&path).unwrap().verify().unwrap();
            assert!(verified.damage.is_empty(), "{name}, read {time} times: {:?}", verified.damage);
            assert_eq!(verified.calls, calls);
        }
        let closed = fs::read_to_string(path.join("segments/00000001/closed")).unwrap();
        assert_eq!(closed.split_whitespace().count(), 2, "it is held against a checksum: {closed:?}");
    }
}

#[test]
fn a_tape_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let writer = Writer::open(&path, Stamp(0), "test").unwrap();
    let me = std::process::id().to_string();
    assert_eq!(Tape::open(&path).unwrap().holder(), Some(me.as_str()));
    assert!(
        matches!(Writer::open(&path, Stamp(0), "test"), Err(TapeError::BeingWritten { holder, .. }) if holder == me)
    );
    drop(writer);
    assert_eq!(Tape::open(&path).unwrap().holder(), None);
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
    assert!(!tape.verify().unwrap().damage.is_empty());
    assert!(tape.events().any(|event| event.is_err()));
}

#[test]
fn a_tape_that_lost_its_end_is_not_taken_for_one_whose_recorder_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 0, 500, 40);
    let db = path.join("segments/00000001/db");
    let mut bytes = fs::read(&db).unwrap();
    for at in (2000..40_000.min(bytes.len())).step_by(97) {
        bytes[at] ^= 0xFF;
    }
    fs::write(&db, bytes).unwrap();
    let verified = Tape::open(&path).unwrap().verify().unwrap();
    assert!(!verified.damage.is_empty(), "{verified:?}");
    fs::remove_dir_all(path.join("segments/00000001")).unwrap();
    assert!(!Tape::open(&path).unwrap().verify().unwrap().damage.is_empty());
}

#[test]
fn a_tape_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 0, 1, 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
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

#[test]
fn a_segment_that_was_rolled_stands_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open(&path, Stamp(1000), "test").unwrap();
    let stream = conversation(&writer, 1000, 0, 0);
    let (call, connection) = (writer.first_call(), writer.first_connection());
    writer.append(&stream[0]).unwrap();
    let watched = EventKind::CallStarted {
        call,
        connection,
        stream: 1,
        path: "/runtime.v1.RuntimeService/GetContainerEvents".into(),
        metadata: Metadata::default(),
    };
    writer.append(&event(1001, watched)).unwrap();
    let message = |at: u64, from: Side, body: &'static [u8]| {
        let body = Body::Kept(Bytes::from_static(body));
        event(at, EventKind::Message { call, from, compressed: false, body })
    };
    writer.append(&message(1002, Side::Client, b"")).unwrap();
    writer.append(&message(1003, Side::Runtime, b"one")).unwrap();
    writer.roll(Stamp(2000)).unwrap();
    assert_eq!(writer.first_call(), CallId(2), "numbers go on");
    writer.append(&message(2001, Side::Runtime, b"two")).unwrap();
    writer.append(&event(2002, EventKind::Trailers { call, metadata: status("0") })).unwrap();
    writer.close(Stamp(3000)).unwrap();

    let whole: Vec<_> = Tape::open(&path).unwrap().calls().map(Result::unwrap).collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].responses.len(), 2);
    let info = Tape::open(&path).unwrap().info().unwrap();
    assert_eq!((info.summary.calls, info.summary.connections), (1, 1), "nothing is counted twice");

    fs::remove_dir_all(path.join("segments/00000001")).unwrap();
    let rest: Vec<_> = Tape::open(&path).unwrap().calls().map(Result::unwrap).collect();
    assert_eq!(rest.len(), 1, "the call is still known");
    assert_eq!(rest[0].started, Stamp(1001));
    assert_eq!((rest[0].requests.len(), rest[0].responses.len()), (1, 1));
    assert_eq!(rest[0].peer.as_ref().unwrap().exe, "/usr/bin/crictl");
    assert!(rest[0].outcome.is_ok());
}

#[test]
fn a_crash_while_a_segment_is_packed_leaves_one_of_the_two() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let events = write(&path, 1000, 100, 50);
    let segments = path.join("segments");
    // The packed copy was being written.
    fs::create_dir(segments.join("00000001.packed")).unwrap();
    assert_eq!(Tape::open(&path).unwrap().events().count(), events.len());
    // The old one was moved away and the new one had not yet taken its place.
    fs::rename(segments.join("00000001"), segments.join("00000001.replaced")).unwrap();
    assert_eq!(Tape::open(&path).unwrap().events().count(), events.len());
    // The new one was in place and the old one had not been removed.
    fs::create_dir(segments.join("00000001.replaced")).unwrap();
    let tape = Tape::open(&path).unwrap();
    assert_eq!(tape.events().count(), events.len());
    assert!(tape.verify().unwrap().damage.is_empty());
    assert_eq!(fs::read_dir(&segments).unwrap().count(), 1);
}

#[test]
fn many_small_commits_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open(&path, Stamp(1000), "test").unwrap();
    let events = conversation(&writer, 1000, 2000, 300);
    for event in &events {
        writer.append(event).unwrap();
        writer.commit().unwrap();
    }
    let size = |path: &Path| -> u64 {
        fs::read_dir(path.join("segments/00000001"))
            .unwrap()
            .flatten()
            .filter_map(|it| it.metadata().ok())
            .map(|it| it.len())
            .sum()
    };
    let before = size(&path);
    writer.close(Stamp(50_000)).unwrap();
    let after = size(&path);
    assert!(after < before / 2, "{before} → {after}");
    let read: Vec<_> = Tape::open(&path).unwrap().events().map(Result::unwrap).collect();
    assert_eq!(read, events);
}
