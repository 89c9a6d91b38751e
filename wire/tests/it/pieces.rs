//! The same bytes in any pieces mean the same, and no bytes do harm.

use critape_wire::{Event, Limits, Side};
use proptest::prelude::*;

use crate::script::{Writer, good, steps};
use crate::support::*;

/// Limits that made-up conversations run into.
fn tight() -> Limits {
    Limits {
        max_header_list: 600,
        max_header_block: 250,
        max_header_table: 2000,
        max_message: 30,
        max_streams: 4,
    }
}

/// The same bytes in the same order, cut at these lengths in turn.
fn cut(tape: &Tape, lengths: &[usize]) -> Tape {
    let mut lengths = lengths.iter().copied().cycle();
    let mut pieces = Tape::new();
    for (from, bytes) in tape {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (front, back) = rest.split_at(lengths.next().unwrap().min(rest.len()));
            pieces.push((*from, front.to_vec()));
            rest = back;
        }
    }
    pieces
}

/// Neighbours of one side put together.
fn joined(tape: &Tape) -> Tape {
    let mut joined = Tape::new();
    for (from, bytes) in tape {
        match joined.last_mut() {
            Some((side, last)) if side == from => last.extend_from_slice(bytes),
            _ => joined.push((*from, bytes.clone())),
        }
    }
    joined
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), prop::collection::vec(1usize..60, 1..10)]
}

/// Messages, ends and resets come only where something is open, and nothing after the loss.
fn check_order(events: &[Event]) {
    let mut open = std::collections::BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::RequestHeaders { stream, .. } => assert!(open.insert(*stream, (true, true)).is_none()),
            Event::Message { stream, from, .. }
            | Event::MessageShed { stream, from, .. }
            | Event::BadPrefix { stream, from, .. } => assert!(half(&open, *stream, *from), "{at}"),
            Event::RequestEnd { stream } => {
                let halves = open.get_mut(stream).unwrap();
                assert!(std::mem::take(&mut halves.0));
            }
            Event::ResponseEnd { stream, .. } => {
                let halves = open.get_mut(stream).unwrap();
                assert!(std::mem::take(&mut halves.1));
            }
            // What the client had sent already crosses the server's reset.
            Event::Reset { stream, from, .. } => {
                let (client, server) = open[stream];
                assert!(client || server);
                open.insert(*stream, (client && *from == Side::Server, false));
            }
            Event::Lost { .. } => assert_eq!(at, events.len() - 1),
            _ => {}
        }
    }
}

fn half(open: &std::collections::BTreeMap<u32, (bool, bool)>, stream: u32, from: Side) -> bool {
    let (client, server) = open[&stream];
    if from == Side::Client { client } else { server }
}

fn check(tape: &Tape, lengths: &[usize]) -> Result<(), TestCaseError> {
    for (limits, most) in [(Limits::default(), None), (Limits::default(), Some(10)), (tight(), Some(20))] {
        let events = observe(tape, limits, most);
        check_order(&events);
        prop_assert_eq!(&observe(&cut(tape, lengths), limits, most), &events);
        prop_assert_eq!(&observe(&joined(tape), limits, most), &events);
    }
    Ok(())
}

proptest! {
    #[test]
    fn legal_bytes_mean_the_same_in_any_pieces(steps in steps(good()), lengths in lengths()) {
        let tape = Writer::write(&steps);
        check(&tape, &lengths)?;
        let lost = observe(&tape, Limits::default(), None).iter().any(|event| matches!(event, Event::Lost { .. }));
        prop_assert!(!lost);
    }

    #[test]
    fn damaged_bytes_mean_the_same_in_any_pieces(
        steps in steps(good()),
        lengths in lengths(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut tape = Writer::write(&steps);
        for (piece, at, byte) in damage {
            let piece = piece.index(tape.len());
            let at = at.index(tape[piece].1.len());
            tape[piece].1[at] = byte;
        }
        check(&tape, &lengths)?;
    }

    #[test]
    fn any_bytes_mean_the_same_in_any_pieces(
        greet in any::<bool>(),
        more in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..200)), 1..8),
        lengths in lengths(),
    ) {
        let mut tape = if greet { hello() } else { Tape::new() };
        tape.extend(more.into_iter().map(|(client, bytes)| (if client { Side::Client } else { Side::Server }, bytes)));
        check(&tape, &lengths)?;
    }

    #[test]
    fn any_frames_mean_the_same_in_any_pieces(
        frames in prop::collection::vec(
            (any::<bool>(), 0u8..11, any::<u8>(), 0u32..8, prop::collection::vec(any::<u8>(), 0..40)), 1..20),
        lengths in lengths(),
    ) {
        let mut tape = hello();
        for (client, kind, flags, stream, payload) in frames {
            let from = if client { Side::Client } else { Side::Server };
            tape.push((from, frame(kind, flags, stream, &payload)));
        }
        check(&tape, &lengths)?;
    }
}
