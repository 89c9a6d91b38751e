//! Tapes exported and imported again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use critape_calls::{Call, Event, EventKind, Stamp};
use critape_tape::{Chosen, ExportError, ExportKey, ImportError, Slice, Tape, Writer, export, import};
use proptest::prelude::*;

use crate::layout::{self, Block, CLOSED, DESCRIPTORS, EVENTS, KEY, SEGMENT, UNCLOSED};
use crate::samples::{STARTED, events, one_of_each};
use crate::{conversation, write};

pub fn exported(tape: &Path, slice: &Slice, key: ExportKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    let done = export(&Tape::open(tape).unwrap(), slice, key, &mut bytes).unwrap();
    assert_eq!(done.bytes, bytes.len() as u64);
    bytes
}

pub fn imported(bytes: &[u8], tape: &Path) -> Tape {
    import(bytes, Path::new("file.critape"), tape).unwrap();
    Tape::open(tape).unwrap()
}

/// A segment of these events, closed or as a killed recorder leaves it.
pub fn write_segment(tape: &Path, started: u64, events: &[Event], closed: bool) {
    let mut writer = Writer::open(tape, Stamp(started), "test 1.0").unwrap();
    events.iter().for_each(|event| writer.append(event).unwrap());
    writer.commit().unwrap();
    if closed {
        writer.close(Stamp(started + 2_000_000)).unwrap();
    }
}

fn calls(tape: &Tape) -> Vec<Call> {
    tape.calls().map(Result::unwrap).collect()
}

fn all_events(tape: &Tape) -> Vec<Event> {
    tape.events().map(Result::unwrap).collect()
}

#[track_caller]
fn assert_same(one: &Tape, other: &Tape) {
    assert_eq!(all_events(one), all_events(other));
    assert_eq!(calls(one), calls(other));
    let (first, second) = (one.info().unwrap(), other.info().unwrap());
    assert_eq!(first.segments, second.segments);
    assert_eq!(first.summary, second.summary);
    assert_eq!(one.verify().unwrap(), other.verify().unwrap());
    assert!(other.verify().unwrap().damage.is_empty());
}

/// Exports, imports, and compares; gives the export.
#[track_caller]
fn round(tape: &Path) -> Vec<u8> {
    let bytes = exported(tape, &Slice::All, ExportKey::Left);
    let home = tempfile::tempdir().unwrap();
    let copy = home.path().join("copy");
    let imported = imported(&bytes, &copy);
    assert_same(&Tape::open(tape).unwrap(), &imported);
    assert_eq!(exported(&copy, &Slice::All, ExportKey::Left), bytes, "exported again it is the same");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing else was left");
    bytes
}

#[test]
fn a_tape_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    write_segment(&tape, STARTED, &one_of_each(), true);
    write(&tape, STARTED + 5_000_000, 1000, 300);
    // Of a killed recorder, and then one that recorded nothing.
    write_segment(&tape, STARTED + 9_000_000, &one_of_each(), false);
    write_segment(&tape, STARTED + 9_500_000, &[], true);
    fs::remove_dir_all(tape.join("segments/00000002")).unwrap();
    let bytes = round(&tape);
    assert_eq!(Tape::open(&tape).unwrap().verify().unwrap().unclean, [3]);

    let (blocks, index) = layout::read(&bytes);
    let kinds: Vec<_> = blocks.iter().map(|(_, block)| block.kind).collect();
    assert_eq!(kinds, [DESCRIPTORS, SEGMENT, EVENTS, CLOSED, SEGMENT, EVENTS, UNCLOSED, SEGMENT, CLOSED]);
    assert_eq!(index.segments.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(index.segments[0].events, one_of_each().len() as u64);
    assert_eq!(blocks[0].1.raw, cri::descriptor_set());
    assert_eq!(layout::split(&blocks[2].1.raw).len(), one_of_each().len());
    for segment in &index.segments {
        let (_, block) = blocks.iter().find(|(offset, _)| *offset == segment.offset as usize).unwrap();
        assert_eq!(block.kind, SEGMENT);
    }
}

#[test]
fn several_may_read_a_tape_at_once() {
    let home = tempfile::tempdir().unwrap();
    let (first, copy) = (home.path().join("first"), home.path().join("copy"));
    write_segment(&first, STARTED, &one_of_each(), true);
    let tape = imported(&exported(&first, &Slice::All, ExportKey::Left), &copy);
    let mut reading = tape.events();
    let one = reading.next().unwrap().unwrap();
    let all = all_events(&Tape::open(&copy).unwrap());
    assert_eq!(one, all[0]);
    assert_eq!(reading.map(Result::unwrap).collect::<Vec<_>>(), all[1..], "and the first one goes on");
    assert!(tape.verify().unwrap().damage.is_empty());
}

#[test]
fn a_tape_of_several_blocks_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    write(&tape, STARTED, 90, 500_000);
    let (blocks, _) = layout::read(&round(&tape));
    assert!(blocks.iter().filter(|(_, block)| block.kind == EVENTS).count() > 2);
}

#[test]
fn numbers_go_on_where_an_imported_tape_is_recorded_onto() {
    let folder = tempfile::tempdir().unwrap();
    let (tape, copy) = (folder.path().join("tape"), folder.path().join("copy"));
    write(&tape, STARTED, 10, 30);
    imported(&exported(&tape, &Slice::All, ExportKey::Left), &copy);
    write(&copy, STARTED + 5_000_000, 2, 30);
    let ids: Vec<_> = calls(&Tape::open(&copy).unwrap()).iter().map(|call| call.id.0).collect();
    assert_eq!(ids, (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_slice_has_the_calls_it_was_asked_for_and_what_they_need() {
    let folder = tempfile::tempdir().unwrap();
    let (tape, copy) = (folder.path().join("tape"), folder.path().join("copy"));
    for number in 0..4 {
        let started = STARTED + number * 10_000_000;
        let mut writer = Writer::open(&tape, Stamp(started), "test").unwrap();
        // Surroundings and what else stands at the head of a segment.
        let head = one_of_each().into_iter().take(8).map(|event| Event { at: Stamp(started), ..event });
        let both = [conversation(&writer, started, 5, 40), conversation(&writer, started, 5, 40)];
        let other = both[1].iter().cloned().map(elsewhere);
        for event in head.chain(both[0].clone()).chain(other) {
            writer.append(&event).unwrap();
        }
        writer.close(Stamp(started + 1_000_000)).unwrap();
    }
    let whole = Tape::open(&tape).unwrap();
    // All of the second segment's first connection but one, and one of the fourth's.
    let wanted: Vec<_> =
        calls(&whole).into_iter().filter(|call| [11, 12, 13, 14, 31].contains(&call.id.0)).collect();
    assert_eq!(wanted.len(), 5);
    let mut chosen = Chosen::default();
    wanted.iter().for_each(|call| chosen.add(call));
    let bytes = exported(&tape, &Slice::Calls(chosen), ExportKey::Left);
    let slice = imported(&bytes, &copy);
    assert_eq!(calls(&slice), wanted);
    assert_eq!(slice.info().unwrap().segments.iter().map(|it| it.number).collect::<Vec<_>>(), [2, 4]);
    assert!(slice.verify().unwrap().damage.is_empty() && slice.verify().unwrap().unclean.is_empty());
    let events = all_events(&slice);
    let count = |is: fn(&EventKind) -> bool| events.iter().filter(|event| is(&event.kind)).count();
    assert_eq!(count(|kind| matches!(kind, EventKind::Opening(_))), 2);
    assert_eq!(count(|kind| matches!(kind, EventKind::Surroundings(_))), 2);
    assert_eq!(count(|kind| matches!(kind, EventKind::ConnectionOpened { .. })), 2);
    assert_eq!(count(|kind| matches!(kind, EventKind::ConnectionClosed { .. })), 2);
    assert_eq!(count(|kind| matches!(kind, EventKind::Traffic { .. })), 0, "those are bytes of others too");
    let info = slice.info().unwrap();
    assert_eq!(
        (info.summary.calls, info.summary.connections, info.summary.events),
        (5, 2, events.len() as u64)
    );
}

/// The same on the next connection, with the next numbers.
fn elsewhere(event: Event) -> Event {
    let kind = match event.kind {
        EventKind::ConnectionOpened { mut connection, peer } => {
            connection.0 += 1;
            EventKind::ConnectionOpened { connection, peer }
        }
        EventKind::ConnectionClosed { mut connection } => {
            connection.0 += 1;
            EventKind::ConnectionClosed { connection }
        }
        EventKind::CallStarted { mut call, mut connection, stream, path, metadata } => {
            (call.0, connection.0) = (call.0 + 5, connection.0 + 1);
            EventKind::CallStarted { call, connection, stream, path, metadata }
        }
        EventKind::Message { mut call, from, compressed, body } => {
            call.0 += 5;
            EventKind::Message { call, from, compressed, body }
        }
        EventKind::Trailers { mut call, metadata } => {
            call.0 += 5;
            EventKind::Trailers { call, metadata }
        }
        other => other,
    };
    Event { kind, ..event }
}

#[test]
fn a_slice_of_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    write(&tape, STARTED, 3, 10);
    let slice = Slice::Calls(Chosen::default());
    let error = export(&Tape::open(&tape).unwrap(), &slice, ExportKey::Left, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ExportError::Nothing { .. }), "{error}");
}

#[test]
fn the_key_goes_along_only_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    write(&tape, STARTED, 3, 10);
    let with = |key| layout::read(&exported(&tape, &Slice::All, key)).0;
    let has_key = |blocks: &[(usize, Block)]| blocks.iter().any(|(_, block)| block.kind == KEY);
    assert!(!has_key(&with(ExportKey::Included)), "there is none");
    fs::write(tape.join("key"), b"not for everyone").unwrap();
    assert!(!has_key(&with(ExportKey::Left)));
    assert!(has_key(&with(ExportKey::Included)));

    let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
    imported(&exported(&tape, &Slice::All, ExportKey::Included), &open);
    imported(&exported(&tape, &Slice::All, ExportKey::Left), &closed);
    assert_eq!(fs::read(open.join("key")).unwrap(), b"not for everyone");
    assert_eq!(fs::metadata(open.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!closed.join("key").exists());
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    write(&tape, STARTED, 3, 10);
    let bytes = exported(&tape, &Slice::All, ExportKey::Left);
    let (empty, file) = (folder.path().join("empty"), folder.path().join("file"));
    fs::create_dir(&empty).unwrap();
    fs::write(&file, "text").unwrap();
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    for place in [&tape, &empty, &file, &dangling, Path::new("/")] {
        let error = import(bytes.as_slice(), Path::new("f"), place).unwrap_err();
        assert!(matches!(error, ImportError::Exists(_)), "{error}");
    }
    assert!(import(bytes.as_slice(), Path::new("f"), &folder.path().join("no/such/tape")).is_err());
    let names: BTreeSet<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["tape", "empty", "file", "dangling"].map(Into::into).into());
}

#[test]
fn a_damaged_tape_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    write(&tape, STARTED, 2000, 40);
    let db = tape.join("segments/00000001/db");
    let mut bytes = fs::read(&db).unwrap();
    let stored: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).step_by(501).collect();
    stored.into_iter().for_each(|at| bytes[at] ^= 0x5A);
    fs::write(&db, bytes).unwrap();
    let tape = Tape::open(&tape).unwrap();
    assert!(export(&tape, &Slice::All, ExportKey::Left, &mut Vec::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_is_on_a_tape_comes_back(segments in proptest::collection::vec((events(), any::<bool>()), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        let tape = folder.path().join("tape");
        for (number, (events, closed)) in segments.iter().enumerate() {
            write_segment(&tape, STARTED + number as u64, events, *closed);
        }
        round(&tape);
    }
}
