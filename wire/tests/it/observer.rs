//! What single frames mean, written by hand.

use bytes::Bytes;
use critape_wire::hpack::HpackError;
use critape_wire::{Event, FrameError, Limits, LostReason, Observer, Side};

use crate::support::*;

/// What is told after the greetings and these bytes.
fn told(more: Vec<(Side, Vec<u8>)>) -> Vec<Event> {
    told_within(Limits::default(), more)
}

fn told_within(limits: Limits, more: Vec<(Side, Vec<u8>)>) -> Vec<Event> {
    observe(&[hello(), more].concat(), limits, None)
}

fn client(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> (Side, Vec<u8>) {
    (Side::Client, frame(kind, flags, stream, payload))
}

fn server(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> (Side, Vec<u8>) {
    (Side::Server, frame(kind, flags, stream, payload))
}

fn ask(stream: u32) -> (Side, Vec<u8>) {
    client(HEADERS, END_HEADERS, stream, &literals(REQUEST))
}

fn answer(stream: u32) -> (Side, Vec<u8>) {
    server(HEADERS, END_HEADERS, stream, &literals(RESPONSE))
}

fn asked(stream: u32) -> Event {
    Event::RequestHeaders { stream, headers: headers(REQUEST) }
}

fn answered(stream: u32) -> Event {
    Event::ResponseHeaders { stream, headers: headers(RESPONSE) }
}

fn ended(stream: u32, trailers: &[(&str, &str)], trailers_only: bool) -> Event {
    Event::ResponseEnd { stream, trailers: headers(trailers), trailers_only }
}

fn said(stream: u32, from: Side, body: &'static [u8]) -> Event {
    Event::Message { stream, from, compressed: false, body: Bytes::from_static(body) }
}

fn lost(from: Side, reason: LostReason, offset: u64) -> Event {
    Event::Lost { from, reason, offset }
}

/// Bytes of a client's greeting in [`hello`].
const GREETING: u64 = 24 + 9 + 9;

#[test]
fn a_unary_call() {
    let events = told(vec![
        ask(1),
        client(DATA, END_STREAM, 1, &message(0, b"ask")),
        answer(1),
        server(DATA, 0, 1, &message(1, b"zip")),
        server(HEADERS, END_HEADERS | END_STREAM, 1, &literals(TRAILERS)),
    ]);
    let zip =
        Event::Message { stream: 1, from: Side::Server, compressed: true, body: Bytes::from_static(b"zip") };
    let asking = said(1, Side::Client, b"ask");
    let expected =
        [asked(1), asking, Event::RequestEnd { stream: 1 }, answered(1), zip, ended(1, TRAILERS, false)];
    assert_eq!(events, expected);
}

#[test]
fn ends_in_every_form() {
    let status = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")];
    let trailers_only = told(vec![ask(1), server(HEADERS, END_HEADERS | END_STREAM, 1, &literals(&status))]);
    assert_eq!(trailers_only, [asked(1), ended(1, &status, true)]);
    let by_data = told(vec![ask(1), answer(1), server(DATA, END_STREAM, 1, &[])]);
    assert_eq!(by_data, [asked(1), answered(1), ended(1, &[], false)]);
    let by_request_headers = told(vec![client(HEADERS, END_HEADERS | END_STREAM, 1, &literals(REQUEST))]);
    assert_eq!(by_request_headers, [asked(1), Event::RequestEnd { stream: 1 }]);
    let by_request_trailers =
        told(vec![ask(1), client(HEADERS, END_HEADERS | END_STREAM, 1, &literals(&[("x", "y")]))]);
    assert_eq!(by_request_trailers, [asked(1), Event::RequestEnd { stream: 1 }]);
}

#[test]
fn interim_responses_are_passed_over() {
    let interim = server(HEADERS, END_HEADERS, 1, &literals(&[(":status", "103"), ("link", "x")]));
    let events = told(vec![ask(1), interim.clone(), interim, answer(1)]);
    assert_eq!(events, [asked(1), answered(1)]);
}

#[test]
fn an_early_answer_leaves_the_request_open() {
    let trailers = server(HEADERS, END_HEADERS | END_STREAM, 1, &literals(TRAILERS));
    let events = told(vec![
        ask(1),
        answer(1),
        trailers,
        client(DATA, 0, 1, &message(0, b"late")),
        server(RST_STREAM, 0, 1, &[0; 4]),
        client(DATA, END_STREAM, 1, &message(0, b"too late")),
    ]);
    let reset = Event::Reset { stream: 1, from: Side::Server, code: 0 };
    let late = said(1, Side::Client, b"late");
    let crossed = said(1, Side::Client, b"too late");
    let end = Event::RequestEnd { stream: 1 };
    assert_eq!(events, [asked(1), answered(1), ended(1, TRAILERS, false), late, reset, crossed, end]);
}

#[test]
fn requests_that_cross_a_reset_are_bounded() {
    let mut pieces = Vec::new();
    for stream in (1..401).step_by(2) {
        pieces.push(ask(stream));
        pieces.push(server(RST_STREAM, 0, stream, &[0; 4]));
    }
    // The oldest were given up, the youngest are still read.
    pieces.push(client(DATA, END_STREAM, 1, &message(0, b"old")));
    pieces.push(client(DATA, END_STREAM, 399, &message(0, b"young")));
    let events = told(pieces);
    assert!(!events.contains(&said(1, Side::Client, b"old")));
    assert!(events.contains(&said(399, Side::Client, b"young")));
}

#[test]
fn resets_cut_messages_short() {
    let events = told(vec![
        ask(1),
        client(DATA, 0, 1, &message(0, b"half of it")[..9]),
        client(RST_STREAM, 0, 1, &8u32.to_be_bytes()),
        server(RST_STREAM, 0, 1, &5u32.to_be_bytes()),
        answer(1),
    ]);
    let cut = Event::MessageTruncated { stream: 1, from: Side::Client, length: Some(10), got: 4 };
    assert_eq!(events, [asked(1), cut, Event::Reset { stream: 1, from: Side::Client, code: 8 }]);
}

#[test]
fn ends_cut_messages_short() {
    let cut = |length, got| Event::MessageTruncated { stream: 1, from: Side::Client, length, got };
    let events = told(vec![ask(1), client(DATA, END_STREAM, 1, &message(0, b"half")[..7])]);
    assert_eq!(events, [asked(1), cut(Some(4), 2), Event::RequestEnd { stream: 1 }]);
    let events = told(vec![ask(1), client(DATA, 0, 1, b"\0\0")]);
    assert_eq!(events, [asked(1), cut(None, 0)], "the connection ended");
}

#[test]
fn other_content_is_not_read() {
    let html = [(":status", "502"), ("content-type", "text/html")];
    let events = told(vec![
        ask(1),
        client(DATA, END_STREAM, 1, &message(0, b"ask")),
        server(HEADERS, END_HEADERS, 1, &literals(&html)),
        server(DATA, END_STREAM, 1, b"<html></html>"),
    ]);
    let head = Event::ResponseHeaders { stream: 1, headers: headers(&html) };
    let asking = said(1, Side::Client, b"ask");
    assert_eq!(events, [asked(1), asking, Event::RequestEnd { stream: 1 }, head, ended(1, &[], false)]);
}

#[test]
fn padding_and_priority_are_no_content() {
    let block = [&[3, 0x80, 0, 0, 9, 200][..], &literals(REQUEST), b"pad"].concat();
    let data = [&[4][..], &message(0, b"body"), b"\0\0\0\x01"].concat();
    let events = told(vec![
        client(HEADERS, END_HEADERS | PADDED | PRIORITIZED, 1, &block),
        client(DATA, PADDED, 1, &[0]),
        client(DATA, PADDED, 1, &data),
        client(DATA, PADDED | END_STREAM, 1, &[2, 0, 0]),
    ]);
    assert_eq!(events, [asked(1), said(1, Side::Client, b"body"), Event::RequestEnd { stream: 1 }]);
}

#[test]
fn frames_that_say_nothing_are_skipped() {
    let events = told(vec![
        client(PING, 0, 0, &[1; 8]),
        client(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
        client(PRIORITY, 0, 3, &[0; 5]),
        client(0x77, 0xff, 9, &[7; 1000]),
        server(0xfe, 0, 0, &[]),
        server(RST_STREAM, 0, 7, &[0; 4]),
        server(RST_STREAM, 0, 1, &[0; 3]),
        client(PING, 1, 0, &[]),
        client(DATA, 0, 9, &message(0, b"nowhere")),
        answer(9),
        ask(2),
        ask(1),
    ]);
    assert_eq!(events, [asked(1)]);
}

#[test]
fn pushed_requests_only_keep_the_table() {
    // The promise adds "a: b" to the server's table, the response refers to it.
    let promise = [&[0, 0, 0, 2][..], b"\x40\x01a\x01b"].concat();
    let events = told(vec![
        ask(1),
        server(PUSH_PROMISE, END_HEADERS, 1, &promise),
        server(HEADERS, END_HEADERS | END_STREAM, 1, &[0xbe]),
    ]);
    assert_eq!(events, [asked(1), ended(1, &[("a", "b")], true)]);
}

#[test]
fn go_away_from_both() {
    let payload = |code: u8| [&[0x80, 0, 0, 7, 0, 0, 0, code][..], b"too_many_pings"].concat();
    let long = [&payload(0)[..], &vec![b'x'; 100_000]].concat();
    let events = told(vec![
        client(GOAWAY, 0, 0, &payload(11)),
        server(GOAWAY, 0, 0, &long),
        server(GOAWAY, 0, 0, &[0; 7]),
    ]);
    let [Event::GoAway { from, last_stream, code, debug }, Event::GoAway { debug: cut, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*from, *last_stream, *code, &debug[..]), (Side::Client, 7, 11, &b"too_many_pings"[..]));
    assert!(cut.len() < 65_536 && cut.starts_with(debug));
}

#[test]
fn header_tables_follow_the_settings_of_the_other_side() {
    let grow = [&[0x3f, 0xe2, 0x1f][..], &literals(REQUEST)].concat();
    let settings = [0, 1, 0, 0, 0x10, 1];
    let events = told(vec![server(SETTINGS, 0, 0, &settings), client(HEADERS, END_HEADERS, 1, &grow)]);
    assert_eq!(events, [asked(1)]);
    let too_large = LostReason::Hpack(HpackError::TableSize { size: 4097, allowed: 4096 });
    let events = told(vec![client(SETTINGS, 0, 0, &settings), client(HEADERS, END_HEADERS, 1, &grow)]);
    assert_eq!(events, [lost(Side::Client, too_large, GREETING + 15)], "one's own settings don't count");
}

#[test]
fn what_is_not_http2_is_lost_at_once() {
    let tape = vec![(Side::Client, b"GET /info HTTP/1.1\r\n".to_vec())];
    assert_eq!(observe(&tape, Limits::default(), None), [lost(Side::Client, LostReason::NotHttp2, 0)]);
    let tape = vec![(Side::Client, b"PRI * HTTP/2.0\r\n\r\nXX".to_vec())];
    assert_eq!(observe(&tape, Limits::default(), None), [lost(Side::Client, LostReason::NotHttp2, 18)]);
    let tape = vec![hello()[0].clone(), (Side::Server, b"HTTP/1.1 400 Bad Request\r\n".to_vec())];
    assert_eq!(observe(&tape, Limits::default(), None), [lost(Side::Server, LostReason::NotHttp2, 0)]);
    let tape = vec![(Side::Client, [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat())];
    let first = LostReason::Frame(FrameError::FirstNotSettings);
    assert_eq!(observe(&tape, Limits::default(), None), [lost(Side::Client, first, 24)]);
}

#[test]
fn broken_frames_end_the_observation_where_they_begin() {
    let open = || client(HEADERS, 0, 1, &literals(REQUEST));
    let length = open().1.len() as u64;
    let cases: Vec<(Tape, FrameError, u64)> = vec![
        (vec![client(CONTINUATION, END_HEADERS, 1, &[])], FrameError::NothingToContinue, 0),
        (vec![open(), client(PING, 0, 0, &[0; 8])], FrameError::BlockInterrupted, length),
        (vec![open(), client(CONTINUATION, 0, 3, &[])], FrameError::BlockInterrupted, length),
        (vec![client(DATA, PADDED, 1, &[])], FrameError::TooShort, 0),
        (vec![client(DATA, PADDED, 1, &[1])], FrameError::TooShort, 0),
        (vec![client(HEADERS, PADDED | END_HEADERS, 1, &[200, 1])], FrameError::TooShort, 0),
        (vec![client(HEADERS, PRIORITIZED | END_HEADERS, 1, &[0; 4])], FrameError::TooShort, 0),
    ];
    for (bytes, error, at) in cases {
        let mut more = bytes.clone();
        more.extend([ask(5), answer(5)]);
        let reason = LostReason::Frame(error);
        assert_eq!(told(more), [lost(Side::Client, reason, GREETING + at)], "{bytes:?}");
    }
}

#[test]
fn a_lost_connection_gives_everything_back() {
    let events = told(vec![
        ask(1),
        client(DATA, 0, 1, &message(0, b"half of it")[..9]),
        ask(3),
        client(HEADERS, END_HEADERS, 5, &[0x80]),
        answer(1),
    ]);
    let cut = Event::MessageTruncated { stream: 1, from: Side::Client, length: Some(10), got: 4 };
    let reason = LostReason::Hpack(HpackError::NoSuchEntry { index: 0 });
    let at = GREETING + (ask(1).1.len() * 2 + 18) as u64;
    assert_eq!(events, [asked(1), asked(3), cut, lost(Side::Client, reason, at)]);
}

#[test]
fn header_blocks_are_bounded_raw_and_decoded() {
    let limits = Limits { max_header_block: 300, max_header_list: 400, ..Limits::default() };
    let flood = std::iter::repeat_with(|| client(CONTINUATION, 0, 1, &[])).take(40);
    let events = told_within(limits, [client(HEADERS, 0, 1, &[])].into_iter().chain(flood).collect());
    let reason = LostReason::HeaderBlockTooLarge { limit: 300 };
    assert_eq!(events, [lost(Side::Client, reason, GREETING + 33 * 9)], "frame headers count");
    let events = told_within(limits, vec![client(HEADERS, END_HEADERS, 1, &[0x82; 292])]);
    assert_eq!(events, [lost(Side::Client, reason, GREETING)]);
    let events = told_within(limits, vec![client(HEADERS, END_HEADERS, 1, &[0x82; 20])]);
    let reason = LostReason::HeaderListTooLarge { limit: 400 };
    assert_eq!(events, [lost(Side::Client, reason, GREETING)]);
}

#[test]
fn a_header_table_is_bounded_whatever_was_agreed() {
    let limits = Limits { max_header_table: 5000, ..Limits::default() };
    let grow = [0x3f, 0xe0, 0xff, 0xff, 0xff, 0x0f];
    let mut block = grow.to_vec();
    for _ in 0..80 {
        block.extend_from_slice(b"\x40\x20name-of-thirty-two-bytes-in-all.\x00");
    }
    let settings = [0, 1, 0xff, 0xff, 0xff, 0xff];
    let tape = vec![server(SETTINGS, 0, 0, &settings), client(HEADERS, END_HEADERS, 1, &block)];
    let reason = LostReason::Hpack(HpackError::TableTooLarge { limit: 5000 });
    assert_eq!(told_within(limits, tape), [lost(Side::Client, reason, GREETING)]);
}

#[test]
fn streams_beyond_the_limit_are_named_and_not_followed() {
    let limits = Limits { max_streams: 2, ..Limits::default() };
    let events = told_within(
        limits,
        vec![
            ask(1),
            ask(3),
            ask(5),
            client(DATA, END_STREAM, 5, &message(0, b"unseen")),
            answer(5),
            client(RST_STREAM, 0, 3, &[0; 4]),
            ask(7),
        ],
    );
    let shed = Event::StreamShed { stream: 5, headers: headers(REQUEST) };
    let reset = Event::Reset { stream: 3, from: Side::Client, code: 0 };
    assert_eq!(events, [asked(1), asked(3), shed, reset, asked(7)]);
}

#[test]
fn a_long_message_over_thousands_of_frames() {
    let body: Vec<u8> = (0..20u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut tape = [hello(), vec![ask(1), answer(1)]].concat();
    tape.extend(message(0, &body).chunks(4096).map(|chunk| server(DATA, 0, 1, chunk)));
    let events = observe(&tape, Limits::default(), None);
    let Some(Event::Message { body: got, .. }) = events.last() else { panic!() };
    assert!(*got == body);
    let shed = observe(&tape, Limits::default(), Some(1000));
    let expected =
        Event::MessageShed { stream: 1, from: Side::Server, compressed: false, length: body.len() as u32 };
    assert_eq!(shed.last(), Some(&expected));
}

#[test]
fn frames_of_sixteen_megabytes_are_read() {
    let body = vec![7; (1 << 24) - 6];
    let tape = vec![ask(1), client(DATA, END_STREAM, 1, &message(0, &body))];
    let events = told(tape);
    assert!(matches!(&events[1], Event::Message { body: got, .. } if *got == body));
}

#[test]
fn an_observer_knows_what_it_watches_and_is_small() {
    let (mut observer, mut notes) = (Observer::new(Limits::default()), Notes::default());
    observer.feed(Side::Client, &PREFACE[..23], &mut notes);
    assert!(!observer.is_http2() && !observer.is_lost());
    observer.feed(Side::Client, &PREFACE[23..], &mut notes);
    assert!(observer.is_http2());
    observer.feed(Side::Client, b"not a SETTINGS frame", &mut notes);
    assert!(observer.is_http2() && observer.is_lost());
    assert!(size_of::<Observer>() <= 768, "{} bytes", size_of::<Observer>());
}
