//! Exports that are cut short, damaged, or made to do harm.

use std::fs;
use std::path::Path;

use critape_tape::{ExportKey, ImportError, Slice, Tape, TapeError, import};
use proptest::prelude::*;
use prost::Message as _;

use crate::export::{exported, write_segment};
use crate::layout::{
    self, Block, CLOSED, DESCRIPTORS, EVENTS, Entry, Footer, Header, Index, KEY, SEGMENT, UNCLOSED, events,
    field, file, header, varint,
};
use crate::samples::{STARTED, one_of_each};

fn block(kind: u8, raw: &[u8]) -> Block {
    Block { kind, raw: raw.to_vec() }
}

fn segment(header: &Header) -> Block {
    block(SEGMENT, &header.encode_to_vec())
}

fn closed(events: u64) -> Block {
    block(CLOSED, &Footer { ended: 5, events }.encode_to_vec())
}

fn descriptors() -> Block {
    block(DESCRIPTORS, b"a set")
}

/// A small export that is well.
fn well() -> Vec<Block> {
    let half_closed = [varint(1, 300), field(11, &varint(1, 7))].concat();
    let message = [varint(1, 301), field(10, &[varint(1, 7), field(4, b"hello")].concat())].concat();
    vec![
        block(KEY, b"a key"),
        descriptors(),
        segment(&header(1)),
        events(&[half_closed.clone(), message]),
        events(std::slice::from_ref(&half_closed)),
        closed(3),
        segment(&header(4)),
        events(&[half_closed]),
        block(UNCLOSED, b""),
    ]
}

/// Imports what must not be imported; nothing may be left of it.
#[track_caller]
fn refused(bytes: &[u8]) -> ImportError {
    let folder = tempfile::tempdir().unwrap();
    let error = import(bytes, Path::new("f.critape"), &folder.path().join("tape")).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left: {error}");
    assert!(error.to_string().starts_with("f.critape "), "{error}");
    error
}

/// The reason why these blocks are damaged.
#[track_caller]
fn damage(blocks: &[Block]) -> String {
    damage_of(&file(blocks))
}

#[track_caller]
fn damage_of(bytes: &[u8]) -> String {
    let error = refused(bytes);
    let ImportError::Damaged { reason, .. } = error else { unreachable!("{error}") };
    reason
}

#[test]
fn what_another_program_wrote_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    import(file(&well()).as_slice(), Path::new("f"), &path).unwrap();
    let tape = Tape::open(&path).unwrap();
    assert_eq!(tape.events().map(Result::unwrap).count(), 4);
    let verified = tape.verify().unwrap();
    assert!(verified.damage.is_empty());
    assert_eq!(verified.unclean, [4]);
}

#[test]
fn a_part_is_not_taken_for_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    write_segment(&tape, STARTED, &one_of_each(), true);
    write_segment(&tape, STARTED + 5_000_000, &one_of_each(), false);
    for bytes in [exported(&tape, &Slice::All, ExportKey::Left), file(&well())] {
        let (blocks, _) = layout::read(&bytes);
        let boundaries = blocks.iter().map(|(offset, _)| *offset);
        let elsewhere = (12..bytes.len()).step_by(bytes.len() / 20);
        for length in boundaries.chain(elsewhere).chain(bytes.len() - 42..bytes.len()) {
            let error = refused(&bytes[..length]);
            assert!(
                matches!(error, ImportError::Truncated { offset, .. } if offset <= length as u64),
                "{length}: {error}"
            );
        }
        for length in 0..8 {
            assert!(matches!(refused(&bytes[..length]), ImportError::NotAnExport(_)));
        }
        let longer = [bytes.as_slice(), b"\n"].concat();
        assert!(damage_of(&longer).contains("follows its end"));
    }
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let bytes = file(&well());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        refused(&damaged);
    }
}

#[test]
fn a_newer_format_is_named() {
    let newer = |error| matches!(error, ImportError::Tape(TapeError::Newer { known: 1, found: 2.., .. }));
    assert!(newer(refused(&layout::start(2))));
    let of_format = |format| [descriptors(), segment(&Header { format, ..header(1) })];
    assert!(newer(refused(&file(&of_format(9)))));
    assert!(damage(&of_format(0)).contains("format 0"));
    assert!(damage_of(&layout::start(0)).contains("format 0"));
    assert!(matches!(refused(b"{\"id\":1}\n{}"), ImportError::NotAnExport(_)));
    assert!(matches!(refused(b""), ImportError::NotAnExport(_)));
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let large = u32::MAX.to_le_bytes();
    let claims = |kind: u8, stored: [u8; 4], raw: [u8; 4]| {
        [layout::start(1), vec![kind], stored.into(), raw.into()].concat()
    };
    for kind in 1..=7 {
        assert!(damage_of(&claims(kind, [0; 4], large)).contains("too large"));
        assert!(damage_of(&claims(kind, large, [0; 4])).contains("too large"));
    }
    // As large as a block may be, and not there.
    let most = (512_u32 << 20).to_le_bytes();
    assert!(matches!(refused(&claims(EVENTS, most, most)), ImportError::Truncated { .. }));
    for kind in [0, 8, 255] {
        assert!(damage_of(&claims(kind, [0; 4], [0; 4])).contains("no block of kind"));
    }
}

#[test]
fn a_bomb_does_not_go_off() {
    let bomb = |claimed: u32| {
        let mut bytes = layout::start(1);
        layout::put(&mut bytes, DESCRIPTORS, b"x");
        layout::put(&mut bytes, SEGMENT, &header(1).encode_to_vec());
        layout::put_stored(&mut bytes, EVENTS, claimed, &layout::compressed(&vec![0; 64 << 20]));
        bytes
    };
    assert!(damage_of(&bomb(10_000)).contains("more than 10000 bytes"));
    // Each zero is an event.
    assert!(damage_of(&bomb(64 << 20)).contains("too many for one block"));
    assert!(damage_of(&bomb(65 << 20)).contains("instead of"));
    let headers = field(12, &[varint(1, 1), field(2, b"").repeat(2 << 20)].concat());
    assert!(damage(&[descriptors(), segment(&header(1)), events(&[headers])]).contains("too large"));
}

#[test]
fn blocks_out_of_place_are_refused() {
    let end = block(UNCLOSED, b"");
    let (one, two) = (segment(&header(1)), segment(&header(2)));
    for (blocks, reason) in [
        (vec![], "there is no segment"),
        (vec![descriptors()], "there is no segment"),
        (vec![one.clone()], "without descriptors"),
        (vec![descriptors(), events(&[])], "events where it has no place"),
        (vec![descriptors(), closed(0)], "footer where it has no place"),
        (vec![descriptors(), end.clone()], "end where it has no place"),
        (vec![descriptors(), one.clone(), two.clone()], "header where it has no place"),
        (vec![descriptors(), one.clone(), descriptors()], "descriptors where it has no place"),
        (vec![descriptors(), one.clone()], "the index within a segment"),
        (vec![descriptors(), two.clone(), end.clone(), one.clone()], "segment 1 where it has no place"),
        (vec![descriptors(), one.clone(), end.clone(), one.clone()], "segment 1 where it has no place"),
        (vec![descriptors(), segment(&header(0))], "segment 0 where it has no place"),
        (vec![block(KEY, b"a"), block(KEY, b"b")], "a key where it has no place"),
        (vec![descriptors(), one.clone(), end.clone(), block(KEY, b"b")], "a key where it has no place"),
        (vec![descriptors(), one.clone(), closed(1)], "counts 1 events and 0 are there"),
        (vec![block(KEY, &[0; 70_000])], "too large"),
        (vec![descriptors(), block(SEGMENT, b"\xff\xff")], "varint"),
    ] {
        let found = damage(&blocks);
        assert!(found.contains(reason), "{found} instead of {reason}");
    }
}

#[test]
fn events_that_no_recorder_writes_are_refused() {
    let of = |event: Vec<u8>| damage(&[descriptors(), segment(&header(1)), events(&[event])]);
    let huge = u64::MAX >> 1;
    for event in [
        varint(1, huge),
        field(5, &varint(1, huge)),
        field(8, &[varint(1, huge), varint(2, 1)].concat()),
        field(8, &[varint(1, 1), varint(2, huge)].concat()),
        field(10, &varint(5, huge)),
        field(16, &varint(2, huge)),
        field(17, &varint(1, huge)),
    ] {
        assert!(of(event).contains("too"));
    }
    assert!(of(field(10, &field(6, b"\x01\x01x"))).contains("taken apart"));
    assert!(of(field(5, &field(2, &field(3, b"\xff")))).contains("UTF-8"));
    assert!(of(vec![0x0b, 0x0c]).contains("no protobuf"));
    let first = Header { first_call: huge, ..header(1) };
    assert!(damage(&[descriptors(), segment(&first)]).contains("too large"));
    let torn = [descriptors(), segment(&header(1)), block(EVENTS, b"\x05ab")];
    assert!(damage(&torn).contains("ends with its block"));
}

#[test]
fn an_index_that_lies_is_refused() {
    let bytes = file(&well());
    let (blocks, index) = layout::read(&bytes);
    let mut body = layout::start(1);
    blocks.iter().for_each(|(_, block)| layout::put(&mut body, block.kind, &block.raw));
    assert_eq!(layout::finish(body.clone(), &index), bytes);
    let lie = |change: fn(&mut Vec<Entry>)| {
        let mut index: Index = index.clone();
        change(&mut index.segments);
        layout::finish(body.clone(), &index)
    };
    for bytes in [
        lie(Vec::clear),
        lie(|segments| segments[0].events += 1),
        lie(|segments| segments[1].calls = 9),
        lie(|segments| segments[1].offset = 0),
        lie(|segments| segments[1].number = 5),
        lie(|segments| segments.push(segments[0].clone())),
    ] {
        assert!(damage_of(&bytes).contains("the index does not say"));
    }
}

/// Blocks that are well on their own, in any order and with any content.
fn any_blocks() -> impl Strategy<Value = Vec<Block>> {
    let any_block =
        (1..8_u8, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, raw)| Block { kind, raw });
    let some = prop_oneof![3 => proptest::sample::select(well()), 1 => any_block];
    proptest::collection::vec(some, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_exports_never_panic(blocks in any_blocks(), first in 0..10_usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tape");
        // What is well at first, so that more is reached.
        let blocks: Vec<_> = well().into_iter().take(first).chain(blocks).collect();
        match import(file(&blocks).as_slice(), Path::new("f"), &path) {
            Ok(_) => {
                let tape = Tape::open(&path).unwrap();
                // One without any segments is said to have lost them.
                let empty = tape.info().unwrap().segments.is_empty();
                prop_assert!(empty || tape.verify().unwrap().damage.is_empty());
            }
            Err(_) => prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0),
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, begun: bool) {
        let bytes = if begun { [layout::start(1), bytes].concat() } else { bytes };
        prop_assert!(import(bytes.as_slice(), Path::new("f"), &tempfile::tempdir().unwrap().path().join("t")).is_err());
    }
}
