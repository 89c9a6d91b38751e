//! Made-up conversations: legal frames in any order, headers compressed, messages cut anywhere.

use critape_wire::Side;
use loona_hpack::Encoder;
use proptest::prelude::*;

use crate::support::*;

/// One frame or block, most of them on some stream that was opened.
#[derive(Debug, Clone)]
pub enum Step {
    Ask { authority: String, grpc: bool, end: bool, form: Form },
    Answer { pick: usize, status: u16, grpc: bool, end: bool, form: Form },
    Trailers { from: Side, pick: usize, form: Form },
    Data { from: Side, pick: usize, bytes: Vec<u8>, padding: Option<u8>, end: bool },
    Reset { from: Side, pick: usize, code: u32 },
    GoAway { from: Side, code: u32 },
    Promise { pick: usize },
    Noise { from: Side, kind: u8, pick: usize, payload: Vec<u8> },
}

/// How a header block is put into frames.
#[derive(Debug, Clone)]
pub struct Form {
    padding: Option<u8>,
    priority: bool,
    /// Lengths of the fragments before the last.
    cuts: Vec<usize>,
}

fn side() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Client, Side::Server])
}

fn form() -> impl Strategy<Value = Form> {
    (prop::option::of(0u8..20), any::<bool>(), prop::collection::vec(0usize..40, 0..4))
        .prop_map(|(padding, priority, cuts)| Form { padding, priority, cuts })
}

/// Whole messages, sometimes with the beginning of another, sometimes anything.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let one =
        (0u8..2, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(flag, body)| message(flag, &body));
    let whole = prop::collection::vec(one, 0..4).prop_map(|messages| messages.concat());
    prop_oneof![
        6 => whole.clone(),
        3 => (whole, any::<prop::sample::Index>()).prop_map(|(bytes, cut)| bytes[..cut.index(bytes.len() + 1)].to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn step(authority: BoxedStrategy<String>) -> impl Strategy<Value = Step> {
    let pick = 0usize..6;
    let status = prop::sample::select(vec![100u16, 103, 200, 200, 200, 404]);
    let kind = prop::sample::select(vec![PING, WINDOW_UPDATE, PRIORITY, SETTINGS, 0x0a, 0xff]);
    let end = || prop::bool::weighted(0.3);
    prop_oneof![
        4 => (authority, prop::bool::weighted(0.9), end(), form())
            .prop_map(|(authority, grpc, end, form)| Step::Ask { authority, grpc, end, form }),
        3 => (pick.clone(), status, prop::bool::weighted(0.9), end(), form())
            .prop_map(|(pick, status, grpc, end, form)| Step::Answer { pick, status, grpc, end, form }),
        2 => (side(), pick.clone(), form()).prop_map(|(from, pick, form)| Step::Trailers { from, pick, form }),
        8 => (side(), pick.clone(), content(), prop::option::of(any::<u8>()), end())
            .prop_map(|(from, pick, bytes, padding, end)| Step::Data { from, pick, bytes, padding, end }),
        1 => (side(), pick.clone(), any::<u32>()).prop_map(|(from, pick, code)| Step::Reset { from, pick, code }),
        1 => (side(), any::<u32>()).prop_map(|(from, code)| Step::GoAway { from, code }),
        1 => pick.clone().prop_map(|pick| Step::Promise { pick }),
        2 => (side(), kind, pick, prop::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(from, kind, pick, payload)| Step::Noise { from, kind, pick, payload }),
    ]
}

/// Steps whose requests name authorities from `authority`.
pub fn steps(authority: BoxedStrategy<String>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(authority), 1..30)
}

/// Authorities that a filter leaves alone.
pub fn good() -> BoxedStrategy<String> {
    prop::sample::select(vec!["localhost", "node:10250", "127.0.0.1", "[::1]:80"])
        .prop_map(String::from)
        .boxed()
}

/// Writes the bytes of a conversation.
pub struct Writer {
    tape: Tape,
    client: Encoder<'static>,
    server: Encoder<'static>,
    next: u32,
}

impl Writer {
    pub fn write(steps: &[Step]) -> Tape {
        let mut writer = Self { tape: hello(), client: Encoder::new(), server: Encoder::new(), next: 1 };
        for step in steps {
            writer.step(step);
        }
        writer.tape
    }

    fn put(&mut self, from: Side, bytes: Vec<u8>) {
        self.tape.push((from, bytes));
    }

    /// One of the newest streams.
    fn stream(&self, pick: usize) -> u32 {
        let opened = (self.next - 1) / 2;
        (opened.saturating_sub((pick as u32).min(opened.saturating_sub(1)))).max(1) * 2 - 1
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Ask { authority, grpc, end, form } => {
                let mut fields = REQUEST.to_vec();
                fields[3].1 = authority;
                fields[4].1 = if *grpc { "application/grpc+proto" } else { "text/plain" };
                let stream = self.next;
                self.next += 2;
                self.block(Side::Client, stream, &fields, *end, form);
            }
            Step::Answer { pick, status, grpc, end, form } => {
                let status = status.to_string();
                let kind = if *grpc { "application/grpc" } else { "text/html" };
                let fields = [(":status", &status[..]), ("content-type", kind)];
                self.block(Side::Server, self.stream(*pick), &fields, *end, form);
            }
            Step::Trailers { from, pick, form } => {
                self.block(*from, self.stream(*pick), TRAILERS, true, form);
            }
            Step::Data { from, pick, bytes, padding, end } => {
                let (bytes, flags) = padded(bytes, *padding);
                let end = if *end { END_STREAM } else { 0 };
                self.put(*from, frame(DATA, flags | end, self.stream(*pick), &bytes));
            }
            Step::Reset { from, pick, code } => {
                self.put(*from, frame(RST_STREAM, 0, self.stream(*pick), &code.to_be_bytes()));
            }
            Step::GoAway { from, code } => {
                let payload = [[0, 0, 0, 1], code.to_be_bytes()].concat();
                self.put(*from, frame(GOAWAY, 0, 0, &payload));
            }
            Step::Promise { pick } => {
                let block = self.server.encode([(&b":path"[..], &b"/pushed"[..])]);
                let payload = [&[0, 0, 0, 2], &block[..]].concat();
                self.put(Side::Server, frame(PUSH_PROMISE, END_HEADERS, self.stream(*pick), &payload));
            }
            Step::Noise { from, kind, pick, payload } => {
                self.put(*from, frame(*kind, 0, self.stream(*pick), payload));
            }
        }
    }

    fn block(&mut self, from: Side, stream: u32, fields: &[(&str, &str)], end: bool, form: &Form) {
        let encoder = if from == Side::Client { &mut self.client } else { &mut self.server };
        let block = encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let mut rest = &block[..];
        let mut fragments = Vec::new();
        for cut in &form.cuts {
            let (front, back) = rest.split_at((*cut).min(rest.len()));
            fragments.push(front);
            rest = back;
        }
        fragments.push(rest);
        let last = fragments.len() - 1;
        for (at, fragment) in fragments.into_iter().enumerate() {
            let done = if at == last { END_HEADERS } else { 0 };
            let bytes = if at == 0 {
                let priority: &[u8] = if form.priority { &[0, 0, 0, 0, 15] } else { &[] };
                let (payload, mut flags) = padded(&[priority, fragment].concat(), form.padding);
                flags |= if form.priority { PRIORITIZED } else { 0 } | if end { END_STREAM } else { 0 };
                frame(HEADERS, flags | done, stream, &payload)
            } else {
                frame(CONTINUATION, done, stream, fragment)
            };
            self.put(from, bytes);
        }
    }
}

/// A payload with padding around it, and the flag that says so.
fn padded(bytes: &[u8], padding: Option<u8>) -> (Vec<u8>, u8) {
    match padding {
        Some(padding) => ([&[padding], bytes, &vec![0; usize::from(padding)]].concat(), PADDED),
        None => (bytes.to_vec(), 0),
    }
}
