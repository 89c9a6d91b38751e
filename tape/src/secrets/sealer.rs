//! Seals events on their way to the store.

use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use critape_calls::{Body, Event, EventKind, Header, Metadata, Opening, OpeningAnswer};
use memchr::memchr;

use super::calls::{Calls, Messages, shape_of};
use super::image::userinfo;
use super::known::Known;
use super::leaves::{Leaf, Seals, Shapes, shapes};
use super::memory::Memory;
use super::text;
use super::token::{Cipher, find, is_token, prefixes};
use super::walk::{Place, Unreadable, walk};
use super::{Key, SealPolicy};

/// Seals the events of one tape, in their order.
#[derive(Debug)]
pub(crate) struct Sealer {
    hand: Hand,
    memory: Memory,
    calls: Calls,
}

impl Sealer {
    pub(crate) fn new(tape: &Path, key: &Key, policy: SealPolicy) -> Self {
        let mut hand = Hand::new(key, policy, Tokens::Sealed);
        let memory = Memory::open(tape, &mut hand.cipher, &mut hand.known);
        Self { hand, memory, calls: Calls::default() }
    }

    /// What a segment's header says about its tokens: the policy, and the check of the key.
    pub(crate) fn note(&mut self) -> (SealPolicy, Vec<u8>) {
        (self.hand.policy, self.hand.cipher.check())
    }

    /// The event as it may be stored.
    pub(crate) fn seal(&mut self, event: &Event) -> Event {
        self.calls.observe(&event.kind);
        let shape = shape_of(&self.calls, event);
        let mut sealed = event.clone();
        self.hand.event(&mut sealed.kind, shape);
        for token in self.hand.learnt.drain(..) {
            self.memory.add(&token);
        }
        sealed
    }

    /// Another segment begins: what follows must be readable without what came before.
    pub(crate) fn begin_segment(&mut self) {
        self.calls.begin_segment();
    }

    /// Keeps what was learnt for the next recorder.
    pub(crate) fn flush(&mut self) {
        self.memory.flush();
    }
}

/// What may be in the fields of a message: looked for once in all of it, because most messages have neither.
#[derive(Clone, Copy, Debug)]
struct Signs {
    /// Something that looks like a token.
    token: bool,
    /// The `@` that ends the credentials of an image.
    userinfo: bool,
}

impl Signs {
    fn of(message: &[u8]) -> Self {
        Self { token: find(message).is_some(), userinfo: memchr(b'@', message).is_some() }
    }
}

/// What becomes of text that is a token, or looks like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// It is sealed, so that opening gives it back.
    Sealed,
    /// It stays, because it will not be opened.
    Kept,
}

/// What seals one thing after the other.
#[derive(Debug)]
pub(crate) struct Hand {
    pub(crate) shapes: &'static Shapes,
    pub(crate) policy: SealPolicy,
    pub(crate) cipher: Cipher,
    pub(crate) known: Known,
    tokens: Tokens,
    /// Tokens of secrets that are new.
    learnt: Vec<Vec<u8>>,
}

impl Hand {
    pub(crate) fn new(key: &Key, policy: SealPolicy, tokens: Tokens) -> Self {
        Self {
            shapes: shapes(),
            policy,
            cipher: Cipher::new(key),
            known: Known::default(),
            tokens,
            learnt: Vec::new(),
        }
    }

    fn event(&mut self, event: &mut EventKind, shape: Option<usize>) {
        match event {
            EventKind::CallStarted { metadata, .. }
            | EventKind::ResponseStarted { metadata, .. }
            | EventKind::Trailers { metadata, .. } => self.metadata(metadata),
            EventKind::CallContinues { metadata, request, .. } => {
                self.metadata(metadata);
                *request = request.take().map(|request| self.body(shape, &request));
            }
            EventKind::Message { body: Body::Kept(body), .. } => *body = self.body(shape, body),
            EventKind::Opening(Opening { answers }) => {
                answers.iter_mut().for_each(|answer| self.answer(answer));
            }
            EventKind::ConnectionLost { reason, .. } => self.string(reason),
            EventKind::Message { body: Body::Shed(_), .. }
            | EventKind::Surroundings(_)
            | EventKind::ConnectionOpened { .. }
            | EventKind::ConnectionContinues { .. }
            | EventKind::ConnectionClosed { .. }
            | EventKind::HostPaths { .. }
            | EventKind::HalfClosed { .. }
            | EventKind::Reset { .. }
            | EventKind::Truncated { .. }
            | EventKind::Gap(_)
            | EventKind::Traffic { .. }
            | EventKind::ClockAnchor { .. } => {}
        }
    }

    /// A message. What can't be read as one is sealed as a whole.
    pub(crate) fn body(&mut self, shape: Option<usize>, body: &Bytes) -> Bytes {
        if body.is_empty() || self.is_kept(body) {
            return body.clone();
        }
        let shapes = self.shapes;
        let signs = Signs::of(body);
        let walked = shape.map(|shape| {
            walk(shapes, shape, body, Unreadable::Ends, &mut |place, content| {
                Ok(self.field(place, content, signs))
            })
        });
        match walked {
            Some(Ok(None)) => body.clone(),
            Some(Ok(Some(sealed))) => sealed.into(),
            Some(Err(_)) | None => self.cipher.seal(body).into(),
        }
    }

    /// A field of a message with these signs.
    fn field(&mut self, place: Place, content: &[u8], signs: Signs) -> Option<Vec<u8>> {
        match place {
            Place::Leaf(Leaf { seals: Seals::Userinfo, .. }) if !signs.userinfo && !signs.token => None,
            Place::Leaf(leaf) if leaf.is_sealed_by(self.policy) => self.leaf(leaf, content),
            Place::Leaf(_) | Place::Plain if !signs.token => None,
            Place::Leaf(_) | Place::Plain => self.escaped(content),
            Place::Unknown => self.text(content),
        }
    }

    pub(crate) fn leaf(&mut self, leaf: Leaf, content: &[u8]) -> Option<Vec<u8>> {
        if self.is_kept(content) {
            return None;
        }
        let part = match leaf.seals {
            Seals::All => 0..content.len(),
            Seals::Token => text::url_token(content),
            Seals::Userinfo => userinfo(content).unwrap_or(0..0),
            Seals::Text => return self.text(content),
        };
        if leaf.learn {
            self.learn(&content[part.clone()]);
            if leaf.seals == Seals::Userinfo
                && let Some(colon) = content[part.clone()].iter().position(|byte| *byte == b':')
            {
                self.learn(&content[part.start + colon + 1..part.end]);
            }
        }
        let mut parts = Vec::new();
        if !part.is_empty() {
            parts.push(part);
        }
        if self.tokens == Tokens::Sealed {
            prefixes(content, &mut parts);
        }
        let parts = text::tidy(content, parts);
        self.parts(content, &parts)
    }

    fn learn(&mut self, secret: &[u8]) {
        if self.known.learn(secret) {
            let token = self.cipher.seal(secret);
            self.learnt.push(token);
        }
    }

    /// A text that may hold secrets.
    fn text(&mut self, content: &[u8]) -> Option<Vec<u8>> {
        let found = match self.tokens {
            Tokens::Sealed => text::secrets(&mut self.known, content),
            Tokens::Kept => text::known_secrets(&mut self.known, content),
        };
        self.parts(content, &found)
    }

    /// A text that holds none, but must not be taken for a token.
    fn escaped(&mut self, content: &[u8]) -> Option<Vec<u8>> {
        if self.tokens == Tokens::Kept {
            return None;
        }
        let mut found = Vec::new();
        prefixes(content, &mut found);
        self.parts(content, &found)
    }

    fn parts(&mut self, content: &[u8], parts: &[Range<usize>]) -> Option<Vec<u8>> {
        (!parts.is_empty()).then(|| self.cipher.seal_parts(content, parts))
    }

    fn is_kept(&self, content: &[u8]) -> bool {
        self.tokens == Tokens::Kept && is_token(content)
    }

    pub(crate) fn string(&mut self, string: &mut String) {
        if let Some(sealed) = self.text(string.as_bytes()) {
            // Parts are cut between characters, and tokens are ASCII.
            *string = String::from_utf8_lossy(&sealed).into_owned();
        }
    }

    fn answer(&mut self, answer: &mut OpeningAnswer) {
        let messages = Messages::of(&answer.path);
        answer.request = self.body(messages.request, &answer.request);
        answer.response = self.body(messages.response, &answer.response);
        self.string(&mut answer.message);
    }

    pub(crate) fn metadata(&mut self, metadata: &mut Metadata) {
        for header in &mut metadata.0 {
            if let Some(sealed) = self.header(header) {
                header.value = sealed.into();
            }
        }
    }

    pub(crate) fn header(&mut self, header: &Header) -> Option<Vec<u8>> {
        let (name, value) = (header.name.as_ref(), header.value.as_ref());
        if self.is_kept(value) {
            return None;
        }
        if self.shapes.is_secret_header(name) {
            self.learn(value);
            // Behind the scheme, as in `Bearer …`.
            if let Some(space) = value.iter().position(|byte| *byte == b' ') {
                self.learn(&value[space..]);
            }
            return (!value.is_empty()).then(|| self.cipher.seal(value));
        }
        if self.shapes.is_protocol_header(name) {
            return self.escaped(value);
        }
        if name.ends_with(b"-bin") && self.hides_secrets(value) {
            return Some(self.cipher.seal(value));
        }
        let found = match name {
            b"grpc-message" => text::secrets_in_encoded(&mut self.known, value),
            _ => text::secrets(&mut self.known, value),
        };
        self.parts(value, &found)
    }

    /// Whether there are secrets behind the base64 of a binary header.
    fn hides_secrets(&mut self, value: &[u8]) -> bool {
        let unpadded = value.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        STANDARD_NO_PAD
            .decode(&value[..unpadded])
            .is_ok_and(|decoded| !text::secrets(&mut self.known, &decoded).is_empty())
    }
}
