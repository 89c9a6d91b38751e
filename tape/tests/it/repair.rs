//! Tapes that are damaged, or whose recorder was killed, and mended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use critape_calls::{Call, CallId, Ending, EventKind, Stamp};
use critape_tape::{Repair, Tape, TapeError, Writer, repair};

use super::{conversation, write};

/// Calls of each segment.
const CALLS: u64 = 400;

/// A tape of three segments, closed in order; the middle one has lists that refer to one another.
fn three_segments(path: &Path) {
    for (started, more) in [(1_000, false), (1_000_000, true), (2_000_000, false)] {
        let mut writer = Writer::open(path, Stamp(started), "test").unwrap();
        for (index, mut event) in conversation(&writer, started, CALLS, 1).into_iter().enumerate() {
            if let (true, EventKind::Message { body, .. }) = (more, &mut event.kind) {
                *body = critape_calls::Body::Kept(list(index as u64).into());
            }
            writer.append(&event).unwrap();
        }
        writer.close(Stamp(started + CALLS * 10 + 5)).unwrap();
    }
}

/// A list of containers: two that are in all of them, and one that is new. Much of it does not compress.
fn list(index: u64) -> Vec<u8> {
    use prost::Message as _;
    let container = |id: u64| {
        let mut seed = id + 1;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + (seed >> 58) as u8)
        });
        let labels = [("noise".to_owned(), noise.take(12_000).collect())].into();
        cri::v1::Container { id: format!("{id:064x}"), created_at: id as i64, labels, ..Default::default() }
    };
    let containers = [1, index + 10, 2].map(container).to_vec();
    cri::v1::ListContainersResponse { containers }.encode_to_vec()
}

fn calls(path: &Path) -> BTreeMap<CallId, Call> {
    Tape::open(path).unwrap().calls().map(Result::unwrap).map(|call| (call.id, call)).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

fn db(tape: &Path, number: u32) -> PathBuf {
    tape.join(format!("segments/{number:08}/db"))
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x5A;
    fs::write(file, bytes).unwrap();
}

fn assert_whole(path: &Path) {
    let verified = Tape::open(path).unwrap().verify().unwrap();
    assert!(verified.damage.is_empty() && verified.unclean.is_empty(), "{verified:?}");
    assert_eq!(repair(path).unwrap().repairs, [], "it is mended once");
}

#[test]
fn a_whole_tape_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 1000, 50, 30);
    assert_whole(&path);
    assert!(!path.join("damaged").exists());
    assert!(matches!(repair(&folder.path().join("absent")), Err(TapeError::Absent(_))));
    assert!(matches!(repair(folder.path()), Err(TapeError::NotATape(_))));
}

#[test]
fn a_killed_recorders_segment_gets_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 1000, 10, 30);
    let mut writer = Writer::open(&path, Stamp(5000), "test").unwrap();
    let events = conversation(&writer, 5000, 10, 300);
    // Without the end of the last call.
    events[..events.len() - 2].iter().for_each(|event| writer.append(event).unwrap());
    writer.commit().unwrap();
    assert!(matches!(repair(&path), Err(TapeError::BeingWritten { .. })));
    drop(writer);
    let before = calls(&path);
    assert_eq!(repair(&path).unwrap().repairs, [Repair::Ended { segment: 2, calls: 10 }]);
    let info = Tape::open(&path).unwrap().info().unwrap();
    assert!(info.is_clean());
    assert_eq!(info.segments.iter().map(|segment| segment.mended).collect::<Vec<_>>(), [false, true]);
    assert_eq!(calls(&path), before);
    assert!(path.join("segments/00000002/closed").exists());
    assert_whole(&path);
    assert_eq!(Writer::open(&path, Stamp(9000), "test").unwrap().first_call(), CallId(21));
}

#[test]
fn a_mended_end_is_told_by_an_export_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let mut writer = Writer::open(&path, Stamp(5000), "test").unwrap();
    conversation(&writer, 5000, 10, 3).iter().for_each(|event| writer.append(event).unwrap());
    writer.commit().unwrap();
    drop(writer);
    repair(&path).unwrap();
    let mut file = Vec::new();
    let tape = Tape::open(&path).unwrap();
    critape_tape::export(&tape, &critape_tape::Slice::All, critape_tape::ExportKey::Left, &mut file).unwrap();
    let imported = folder.path().join("imported");
    critape_tape::import(file.as_slice(), Path::new("x"), &imported).unwrap();
    assert!(Tape::open(&imported).unwrap().info().unwrap().segments[0].mended);
}

/// Every damage: the tape is whole afterwards, what was kept is what it was, and what is shown was said.
#[test]
fn wherever_a_segment_is_damaged_the_rest_of_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    three_segments(&path);
    for (was_read, steps) in [(false, 12), (true, 3)] {
        if was_read {
            // The store has a snapshot now.
            Tape::open(&path).unwrap().events().for_each(|event| drop(event.unwrap()));
        }
        let before = calls(&path);
        let length = fs::read(db(&path, 2)).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let mut survivors = Vec::new();
        for at in (0..length).step_by(length / steps) {
            let copied = folder.path().join(format!("copy-{was_read}-{at}"));
            copy(&path, &copied);
            flip(&db(&copied, 2), at);
            let damaged = fs::read(db(&copied, 2)).unwrap();
            let repaired = repair(&copied).unwrap();
            let [done] = repaired.repairs.as_slice() else { panic!("byte {at}: {repaired:?}") };
            assert_eq!(fs::read(done.kept().unwrap().join("db")).unwrap(), damaged, "byte {at}");
            assert_whole(&copied);
            survivors.push(check_survivors(&before, &copied, done));
            fs::remove_dir_all(&copied).unwrap();
        }
        // Damage that is far behind leaves what is before it.
        println!("read before: {was_read}; calls that stay as they were: {survivors:?}");
        assert!(survivors.iter().filter(|count| **count > 0).count() * 2 > survivors.len(), "{survivors:?}");
    }
}

/// Checks what is left against what there was; gives how many calls of the damaged segment are as they were.
fn check_survivors(before: &BTreeMap<CallId, Call>, path: &Path, done: &Repair) -> usize {
    let after = calls(path);
    let of_damaged = |call: &CallId| (CALLS + 1..=2 * CALLS).contains(&call.0);
    let same = before.iter().filter(|(id, call)| after.get(*id) == Some(*call));
    let (damaged, others): (Vec<CallId>, Vec<CallId>) = same.map(|(id, _)| *id).partition(of_damaged);
    assert_eq!(others.len() as u64, 2 * CALLS, "{done}");
    for (id, call) in &after {
        let said = &before[id];
        // What is shown was said; what has an end has all of its messages, or it is known that they are missing.
        if call.outcome.ending != Ending::Truncated {
            assert_eq!(call.requests.len(), said.requests.len(), "{done}");
            assert_eq!(call.outcome, said.outcome);
        }
        for (message, said) in call.requests.iter().zip(&said.requests) {
            assert!(message == said || matches!(message.body, critape_calls::Body::Shed(_)), "{done}: {id}");
        }
    }
    let lost = after.len() - damaged.len() - others.len() + before.len() - after.len();
    if let Repair::Rewritten { lost: told, .. } = done {
        assert_eq!(*told, lost as u64, "{done}");
    }
    damaged.len()
}

#[test]
fn what_cannot_be_read_at_all_is_kept_beside_the_tape() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    three_segments(&path);
    fs::write(db(&path, 3), b"nothing of a store").unwrap();
    let repaired = repair(&path).unwrap();
    assert!(!repaired.is_mended());
    assert!(matches!(repaired.repairs.as_slice(), [Repair::TakenOff { segment: 3, is_empty: false, .. }]));
    assert_eq!(fs::read(path.join("damaged/00000003/db")).unwrap(), b"nothing of a store");
    assert_whole(&path);
    // Its numbers are not used again.
    let writer = Writer::open(&path, Stamp(9_000_000), "test").unwrap();
    assert!(writer.first_call() > CallId(3 * CALLS));
    assert!(path.join("segments/00000004").is_dir());
}

#[test]
fn leftovers_and_a_lost_marker_are_dealt_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 1000, 5, 30);
    write(&path, 5000, 5, 30);
    fs::remove_file(path.join("critape-tape")).unwrap();
    fs::create_dir(path.join("segments/00000001.packed")).unwrap();
    fs::rename(path.join("segments/00000002"), path.join("segments/00000002.replaced")).unwrap();
    fs::write(path.join("segments/00000001/snap.0000000000000999.generating"), b"half").unwrap();
    fs::create_dir_all(path.join("damaged/00000001.partial")).unwrap();
    let repaired = repair(&path).unwrap();
    assert_eq!(
        repaired.repairs,
        [Repair::Marked, Repair::Recovered { leftovers: 2 }, Repair::Tidied { segment: 1, files: 1 }]
    );
    assert_whole(&path);
    assert_eq!(calls(&path).len(), 10);
}

#[test]
fn a_segment_that_was_only_begun_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write(&path, 1000, 5, 30);
    fs::create_dir(path.join("segments/00000002")).unwrap();
    let repaired = repair(&path).unwrap();
    assert!(repaired.is_mended());
    assert!(
        matches!(repaired.repairs.as_slice(), [Repair::TakenOff { segment: 2, is_empty: true, .. }]),
        "{repaired:?}"
    );
    assert_whole(&path);
}
