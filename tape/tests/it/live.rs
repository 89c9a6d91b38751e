//! A tape that is being written, read at the same time.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use critape_calls::{Call, Event, EventKind, Stamp};
use critape_tape::{Seal, Tape, Writer};

use crate::conversation;

/// Nothing here takes this long unless it is broken.
const LONG: Duration = Duration::from_secs(60);

fn read(path: &Path) -> Vec<Event> {
    Tape::open(path).unwrap().events().map(Result::unwrap).collect()
}

/// Appends a conversation and commits it.
fn write(writer: &mut Writer, at: u64, calls: u64, size: usize) -> Vec<Event> {
    let events = conversation(writer, at, calls, size);
    events.iter().for_each(|event| writer.append(event).unwrap());
    writer.commit().unwrap();
    events
}

#[test]
fn what_is_committed_can_be_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open(&path, Stamp(0), "test").unwrap();
    assert!(read(&path).is_empty());
    let mut written = write(&mut writer, 0, 3, 10);
    assert_eq!(read(&path), written);
    let info = Tape::open(&path).unwrap().info().unwrap();
    assert!(info.is_open() && info.is_clean());
    assert_eq!((info.summary.calls, info.segments.len()), (3, 1));
    let uncommitted = Event { at: Stamp(900), kind: EventKind::Traffic { bytes: 7 } };
    writer.append(&uncommitted).unwrap();
    assert!(read(&path) == written, "and not what is not committed");
    written.push(uncommitted);
    writer.roll(Stamp(1000)).unwrap();
    written.extend(write(&mut writer, 1000, 500, 3000));
    assert!(read(&path) == written, "closed segments and the open one");
    let tape = Tape::open(&path).unwrap();
    let verified = tape.verify().unwrap();
    assert!(verified.damage.is_empty() && verified.unclean.is_empty(), "{verified:?}");
    assert_eq!(verified.segments, 2);
    writer.close(Stamp(9000)).unwrap();
    assert!(read(&path) == written);
    assert!(!Tape::open(&path).unwrap().info().unwrap().is_open());
}

#[test]
fn a_reader_goes_on_where_the_segment_is_closed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open(&path, Stamp(0), "test").unwrap();
    let written = write(&mut writer, 0, 2000, 300);
    let tape = Tape::open(&path).unwrap();
    let mut events = tape.events();
    let mut got: Vec<Event> = events.by_ref().take(700).map(Result::unwrap).collect();
    writer.close(Stamp(90_000)).unwrap();
    got.extend(events.map(Result::unwrap));
    assert!(got == written);
}

#[test]
fn a_follower_sees_every_call_as_it_ends_until_the_writer_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open_sealing(&path, Stamp(0), "test", &Seal::default()).unwrap();
    let first = writer.first_call().0;
    write(&mut writer, 0, 3, 10);
    let (seen, sees) = mpsc::channel();
    let tape = Tape::open(&path).unwrap();
    let follower = thread::spawn(move || {
        for call in tape.following_calls() {
            seen.send(call.unwrap()).unwrap();
        }
    });
    let next = |expected: u64| {
        let call: Call = sees.recv_timeout(LONG).unwrap();
        assert_eq!(call.id.0, expected);
    };
    (first..first + 3).for_each(next);
    for round in 1..4 {
        writer.roll(Stamp(round * 1000)).unwrap();
        let first = writer.first_call().0;
        write(&mut writer, round * 1000, 2, 10);
        (first..first + 2).for_each(next);
    }
    writer.close(Stamp(9000)).unwrap();
    assert!(sees.recv_timeout(LONG).is_err(), "nothing more");
    follower.join().unwrap();
}

#[test]
fn a_tape_in_a_deep_folder_is_shown_too() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than the path of a socket may be.
    let path = folder.path().join("x".repeat(100)).join("y".repeat(100));
    let mut writer = Writer::open(&path, Stamp(0), "test").unwrap();
    let written = write(&mut writer, 0, 1, 10);
    assert_eq!(read(&path), written);
}
