//! The filter: what it changes, what it must not, and what a server of `h2` makes of it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use critape_wire::{AuthorityFilter, Event, Limits, Observer, Side};
use h2::server::SendResponse;
use http::Response;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::script::{Writer, good, steps};
use crate::support::*;

/// Values that the filter replaces.
const BAD: &[&str] = &["", "/run/x.sock", "%2Frun%2Fx.sock", "a b", "[::1", "a:1:2", "unix:x", "x:y"];

/// How many of them `h2` refuses; the filter is the stricter of the two.
const REFUSED: usize = 6;

fn any_authority() -> BoxedStrategy<String> {
    let bad = prop::sample::select(BAD.to_vec()).prop_map(String::from);
    prop_oneof![good(), bad].boxed()
}

fn client(tape: &Tape) -> Vec<u8> {
    let bytes = tape.iter().filter(|(from, _)| *from == Side::Client).map(|(_, bytes)| &bytes[..]);
    bytes.collect::<Vec<_>>().concat()
}

/// What the filter makes of bytes in pieces of `length`.
fn filtered(bytes: &[u8], length: usize, limits: Limits) -> Vec<u8> {
    let (mut filter, mut out) = (AuthorityFilter::new(limits), Vec::new());
    bytes.chunks(length).for_each(|piece| filter.feed(piece, &mut out));
    filter.finish(&mut out);
    out
}

/// What an observer behind the filter is told.
fn observe_filtered(tape: &Tape) -> Vec<Event> {
    let mut filter = AuthorityFilter::new(Limits::default());
    let (mut observer, mut notes) = (Observer::new(Limits::default()), Notes::default());
    for (from, bytes) in tape {
        let mut out = Vec::new();
        match from {
            Side::Client => filter.feed(bytes, &mut out),
            Side::Server => out.extend_from_slice(bytes),
        }
        observer.feed(*from, &out, &mut notes);
    }
    observer.end(&mut notes);
    notes.events
}

/// The events with every bad authority replaced.
fn replaced(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        if let Event::RequestHeaders { headers, .. } = event {
            for header in headers.iter_mut().filter(|header| &*header.name == b":authority") {
                if BAD.iter().any(|bad| bad.as_bytes() == &*header.value) {
                    header.value = Bytes::from_static(b"localhost");
                }
            }
        }
    }
    events
}

proptest! {
    #[test]
    fn good_authorities_leave_every_byte_as_it_was(steps in steps(good()), length in 1usize..100) {
        let bytes = client(&Writer::write(&steps));
        prop_assert_eq!(filtered(&bytes, length, Limits::default()), bytes);
    }

    #[test]
    fn nothing_but_bad_authorities_is_changed(steps in steps(any_authority())) {
        let tape = Writer::write(&steps);
        let plain = observe(&tape, Limits::default(), None);
        prop_assert_eq!(observe_filtered(&tape), replaced(plain));
    }

    #[test]
    fn pieces_make_no_difference(
        steps in steps(any_authority()),
        length in 1usize..100,
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        tight in any::<bool>(),
    ) {
        let mut bytes = client(&Writer::write(&steps));
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let default = Limits::default();
        let limits = if tight { Limits { max_header_block: 200, max_header_list: 300, ..default } } else { default };
        let whole = filtered(&bytes, usize::MAX, limits);
        prop_assert_eq!(filtered(&bytes, length, limits), whole);
    }

    #[test]
    fn any_bytes_pass(bytes in any::<Vec<u8>>(), greet in any::<bool>(), length in 1usize..40) {
        let bytes = if greet { [PREFACE, &bytes].concat() } else { bytes };
        prop_assert_eq!(filtered(&bytes, length, Limits::default()), bytes);
    }

    #[test]
    fn any_frames_do_no_harm(
        frames in prop::collection::vec((0u8..11, any::<u8>(), 0u32..4, prop::collection::vec(any::<u8>(), 0..40)), 1..20),
        length in 1usize..40,
    ) {
        let bad = [REQUEST, &[(":authority", "/x")]].concat();
        let mut bytes = [PREFACE, &frame(HEADERS, END_HEADERS, 1, &literals(&bad))].concat();
        for (kind, flags, stream, payload) in frames {
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        prop_assert_eq!(filtered(&bytes, length, Limits::default()), filtered(&bytes, usize::MAX, Limits::default()));
    }
}

fn ask(authority: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = REQUEST.to_vec();
    fields[3].1 = authority;
    literals(&[&fields, more].concat())
}

#[test]
fn a_block_is_written_anew_without_padding_with_everything_else() {
    let block = [&[2, 0, 0, 0, 9, 7][..], &ask("/x", &[("a", "1"), ("a", "1")]), &[0; 2]].concat();
    let bytes = frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITIZED, 1, &block);
    let out = filtered(&[PREFACE, &bytes].concat(), 7, Limits::default());
    let expected = [&[0, 0, 0, 9, 7][..], &ask("localhost", &[("a", "1"), ("a", "1")])].concat();
    let expected = frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &expected);
    assert_eq!(out, [PREFACE, &expected].concat());
}

#[test]
fn trailers_and_marks_stay_and_no_authority_is_put_in() {
    let trailers = b"\x10\x01a\x01b\x40\x01c\x01d".to_vec();
    let bytes = [
        PREFACE,
        &frame(HEADERS, END_HEADERS, 1, &ask("/x", &[])),
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
        &frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0xbe]),
    ];
    let out = filtered(&bytes.concat(), 1, Limits::default());
    let expected = [
        PREFACE,
        &frame(HEADERS, END_HEADERS, 1, &ask("localhost", &[])),
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x10\x01a\x01b\x00\x01c\x01d"),
        &frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x00\x01c\x01d"),
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn long_blocks_are_cut_at_the_frame_size() {
    // One long value in the table, then named thirty times.
    let value = [&[0x40, 1, b'v', 0x7f, 0xe9, 6][..], &[b'x'; 1000]].concat();
    let block = [&ask("/x", &[])[..], &value, &[0xbe; 30]].concat();
    let out = filtered(&[PREFACE, &frame(HEADERS, END_HEADERS, 1, &block)].concat(), 50, Limits::default());
    let first = &out[24..];
    assert_eq!((&first[..3], first[3], first[4]), (&[0, 0x40, 0][..], HEADERS, 0));
    let second = &first[9 + 16_384..];
    assert_eq!((second[3], second[4]), (CONTINUATION, END_HEADERS));
    let tape = vec![hello()[0].clone(), (Side::Client, out[24..].to_vec())];
    let events = observe(&tape, Limits::default(), None);
    let Some(Event::RequestHeaders { headers, .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(headers.len(), 6 + 31);
}

#[test]
fn what_is_held_is_bounded() {
    let limits = Limits { max_header_block: 1000, ..Limits::default() };
    let mut filter = AuthorityFilter::new(limits);
    let mut out = Vec::new();
    filter.feed(PREFACE, &mut out);
    filter.feed(&frame(HEADERS, 0, 1, &[]), &mut out);
    let flood = frame(CONTINUATION, 0, 1, &[]);
    for _ in 0..110 {
        filter.feed(&flood, &mut out);
    }
    assert_eq!(out.len(), PREFACE.len(), "held");
    filter.feed(&flood, &mut out);
    assert_eq!(out.len(), PREFACE.len() + 112 * 9, "let go");
}

/// What a server says about bytes of a client: the paths and authorities it was asked for, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    asked: Vec<String>,
    resets: Vec<(u32, u32)>,
    go_away: Vec<u32>,
}

/// Feeds a server of `h2` what a client wrote, and reads what it answers until it is done with that.
fn judge(bytes: &[u8]) -> Verdict {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let answer = runtime.block_on(async {
        let (mut near, far) = duplex(1 << 20);
        let server = tokio::spawn(serve(far, asked.clone()));
        near.write_all(bytes).await.unwrap();
        near.write_all(&frame(PING, 0, 0, b"are done")).await.unwrap();
        let (done, mut answer) = (frame(PING, 1, 0, b"are done"), Vec::new());
        while near.read_buf(&mut answer).await.unwrap() > 0
            && !answer.windows(done.len()).any(|at| at == done)
        {}
        near.shutdown().await.unwrap();
        near.read_to_end(&mut answer).await.unwrap();
        server.await.unwrap();
        answer
    });
    let tape = vec![(Side::Client, client_of_every_stream()), (Side::Server, answer)];
    let (mut resets, mut go_away) = (Vec::new(), Vec::new());
    for event in observe(&tape, Limits::default(), None) {
        match event {
            Event::Reset { stream, code, .. } => resets.push((stream, code)),
            Event::GoAway { code, .. } => go_away.push(code),
            _ => {}
        }
    }
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    Verdict { asked, resets, go_away }
}

/// A client that opens all the streams that a case may use, so that the answers belong to something.
fn client_of_every_stream() -> Vec<u8> {
    let mut bytes = hello()[0].1.clone();
    for stream in [1, 3, 5, 7, 9] {
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &literals(REQUEST)));
    }
    bytes
}

async fn serve(io: tokio::io::DuplexStream, asked: Arc<Mutex<Vec<String>>>) {
    let Ok(mut connection) = h2::server::Builder::new().max_header_list_size(16 << 10).handshake(io).await
    else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let respond: &mut SendResponse<Bytes> = &mut respond;
        asked.lock().unwrap().push(request.uri().to_string());
        let _ = respond.send_response(Response::new(()), true);
    }
}

/// Bytes after the greeting of a client, for plain `h2` and behind the filter.
fn verdicts(more: &[Vec<u8>]) -> (Verdict, Verdict) {
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &more.concat()].concat();
    let plain = judge(&bytes);
    let filtered = [1, 13, usize::MAX].map(|length| judge(&filtered(&bytes, length, Limits::default())));
    assert_eq!(filtered[0], filtered[2]);
    assert_eq!(filtered[1], filtered[2]);
    let [_, _, last] = filtered;
    (plain, last)
}

fn get(stream: u32, authority: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &ask(authority, &[]))
}

#[test]
fn h2_refuses_what_the_filter_replaces() {
    for (at, bad) in BAD.iter().enumerate() {
        let (plain, behind) = verdicts(&[get(1, bad)]);
        assert_eq!(plain.asked.is_empty(), at < REFUSED, "{bad:?}: {plain:?}");
        let path = "http://localhost/runtime.v1.RuntimeService/Version";
        assert_eq!(behind.asked, [path], "{bad:?}");
        assert!(behind.resets.is_empty() && behind.go_away.iter().all(|code| *code == 0), "{behind:?}");
    }
}

#[test]
fn authorities_of_every_kind_on_one_connection() {
    let table = [&[0x40][..], &literals(&[("x-long", "value")])[1..]].concat();
    let grown = [ask("node:1", &[]), table].concat();
    let (_, behind) = verdicts(&[
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &grown),
        get(3, "/run/x.sock"),
        frame(HEADERS, END_HEADERS | END_STREAM, 5, &[ask("node:2", &[]), vec![0xbe]].concat()),
        get(7, "%2Fx"),
    ]);
    let at = |authority: &str| format!("http://{authority}/runtime.v1.RuntimeService/Version");
    assert_eq!(behind.asked, [at("node:1"), at("localhost"), at("node:2"), at("localhost")]);
}

/// Cases that end in the same way with the filter and without, whether or not it has begun to write anew.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let twice = [REQUEST, &[(":authority", "localhost")]].concat();
    let late = [&REQUEST[..3], &REQUEST[4..], &REQUEST[3..4]].concat();
    let upper = ask("localhost", &[("Upper", "x")]);
    let big = literals(&[("x", "y")]).repeat(600);
    vec![
        ("a good request", get(5, "localhost")),
        ("padded", frame(HEADERS, 0xd, 5, &[&[3][..], &ask("localhost", &[]), &[0; 3]].concat())),
        ("prioritized", frame(HEADERS, 0x25, 5, &[&[0, 0, 0, 0, 1][..], &ask("localhost", &[])].concat())),
        (
            "depends on itself",
            frame(HEADERS, 0x25, 5, &[&[0, 0, 0, 5, 1][..], &ask("localhost", &[])].concat()),
        ),
        ("continued", {
            let block = ask("localhost", &[]);
            let head = frame(HEADERS, END_STREAM, 5, &block[..10]);
            [head, frame(CONTINUATION, 0, 5, &[]), frame(CONTINUATION, END_HEADERS, 5, &block[10..])].concat()
        }),
        ("authority twice", frame(HEADERS, 5, 5, &literals(&twice))),
        ("authority after other fields", frame(HEADERS, 5, 5, &literals(&late))),
        ("uppercase name", frame(HEADERS, 5, 5, &upper)),
        ("no method", frame(HEADERS, 5, 5, &literals(&REQUEST[1..]))),
        ("many headers", frame(HEADERS, 5, 5, &[ask("localhost", &[]), big].concat())),
        ("table size", frame(HEADERS, 5, 5, &[&[0x20][..], &ask("localhost", &[])].concat())),
        (
            "table size too large",
            frame(HEADERS, 5, 5, &[&[0x3f, 0xe2, 0x1f][..], &ask("localhost", &[])].concat()),
        ),
        ("entry 0", frame(HEADERS, 5, 5, &[0x80])),
        ("entry beyond the table", frame(HEADERS, 5, 5, &[0xff, 0x20])),
        ("broken Huffman code", frame(HEADERS, 5, 5, &[0, 0x81, 0xff, 1, b'x'])),
        ("cut within a field", frame(HEADERS, 5, 5, &ask("localhost", &[])[..30])),
        ("stream 0", frame(HEADERS, 5, 0, &ask("localhost", &[]))),
        ("even stream", frame(HEADERS, 5, 6, &ask("localhost", &[]))),
        ("padding too long", frame(HEADERS, 0xd, 5, &[200, 1, 2])),
        (
            "interrupted block",
            [frame(HEADERS, 1, 5, &ask("localhost", &[])), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        ("continuation of nothing", frame(CONTINUATION, 4, 5, &[])),
        ("continuation of another", [frame(HEADERS, 1, 5, &[]), frame(CONTINUATION, 4, 7, &[])].concat()),
        ("a client's promise", frame(PUSH_PROMISE, 4, 5, &[0, 0, 0, 8, 0x82])),
        ("bad PING", frame(PING, 0, 0, &[0; 7])),
        ("data on an idle stream", frame(DATA, 1, 9, b"x")),
        ("unknown frame", [frame(0xee, 0xff, 5, b"x"), get(5, "localhost")].concat()),
    ]
}

#[test]
fn everything_else_ends_as_without_the_filter() {
    for (name, bytes) in cases() {
        let (plain, behind) = verdicts(&[get(1, "localhost"), bytes.clone()]);
        assert_eq!(behind, plain, "{name}");
        let (_, rewriting) = verdicts(&[get(1, "/x"), bytes]);
        assert_eq!(rewriting, plain, "{name}, after a block written anew");
    }
}

#[test]
fn frames_too_large_are_refused_with_and_without() {
    let long = frame(HEADERS, 5, 5, &[ask("localhost", &[]), vec![0x82; 17_000]].concat());
    let (plain, behind) = verdicts(&[get(1, "localhost"), long.clone()]);
    assert_eq!(behind, plain);
    assert_eq!(plain.go_away.last(), Some(&6), "FRAME_SIZE_ERROR");
    let (_, rewriting) = verdicts(&[get(1, "/x"), long]);
    assert_eq!(rewriting.go_away.last(), Some(&1), "PROTOCOL_ERROR");
}
