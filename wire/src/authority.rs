//! The transform in front of servers built on `h2`, for clients whose `:authority` it refuses.
//!
//! Kubelet and crictl up to 1.30 send the path of the socket as `:authority`, Python's grpcio its `%2F` form;
//! `h2` answers both with `PROTOCOL_ERROR`. [`AuthorityFilter`] reads the header blocks that a client sends and
//! lets its bytes through untouched until a block carries such a value. From that block on it writes every
//! block anew, as literals, with `localhost` in its place. Literals need no table, so it does not matter what
//! the server's decoder has or has not seen of the blocks before.

use bytes::Bytes;

use crate::event::{Header, Limits};
use crate::frame::{self, Fragment, Head, Piece, Preface, Reader, flag, kind};
use crate::hpack::{self, Decoder, Field, HpackError};

/// What stands in for a value that `h2` refuses.
const REPLACEMENT: &[u8] = b"localhost";

/// The largest frame that a server accepts unless it says otherwise (`SETTINGS_MAX_FRAME_SIZE`).
const MAX_FRAME: usize = 16_384;

/// A block that no decoder accepts: entry 0 of the tables.
const UNDECODABLE: &[u8] = &[0x80];

/// Filters the bytes from one client to one server.
///
/// The server must be left at the default header table (4096 bytes) and frame size (16384 bytes).
///
/// What can't be understood is left to the server to answer: the bytes held are let through, and all that
/// follows. Once blocks have been written anew the server's table is not the client's, so from then on a
/// broken connection ends with a frame that the server refuses in the same way.
#[derive(Debug)]
pub struct AuthorityFilter {
    limits: Limits,
    mode: Mode,
    preface: u8,
    frames: Reader,
    decoder: Decoder,
    /// Bytes of the header block being read, frame headers included, as they came.
    held: Vec<u8>,
    /// Where in `held` the payload of the frame being read begins.
    payload_at: usize,
    block: Option<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Every block so far was let through as it came.
    Passing,
    /// Blocks are written anew.
    Rewriting,
    /// Nothing is read any more, all is let through.
    Transparent,
    /// The server has been told that the connection is broken; nothing is let through.
    Broken,
}

/// A header block of which frames are still to come.
#[derive(Debug)]
struct Block {
    head: Head,
    priority: Vec<u8>,
    bytes: Vec<u8>,
}

/// What is wrong with a connection, by how a server answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Framing,
    Compression,
}

impl From<HpackError> for Fault {
    fn from(_: HpackError) -> Self {
        Self::Compression
    }
}

impl From<frame::FrameError> for Fault {
    fn from(_: frame::FrameError) -> Self {
        Self::Framing
    }
}

impl AuthorityFilter {
    /// A filter for one connection, of which [`Limits::max_header_block`] and [`Limits::max_header_list`]
    /// bound what it holds.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            mode: Mode::Passing,
            preface: 0,
            frames: Reader::default(),
            decoder: Decoder::new(limits.max_header_table),
            held: Vec::new(),
            payload_at: 0,
            block: None,
        }
    }

    /// Takes the next bytes of the client and appends to `out` what the server shall read. The frame header or
    /// header block that `bytes` ends in is held until it is complete.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        if usize::from(self.preface) < frame::PREFACE.len() && self.mode == Mode::Passing {
            let all = bytes;
            let outcome = frame::preface(&mut self.preface, &mut bytes);
            out.extend_from_slice(&all[..all.len() - bytes.len()]);
            match outcome {
                Preface::Partial => return,
                Preface::Complete => {}
                Preface::Differs { .. } => self.mode = Mode::Transparent,
            }
        }
        while matches!(self.mode, Mode::Passing | Mode::Rewriting) {
            let Some(piece) = self.frames.next(&mut bytes) else { return };
            if let Err(fault) = self.piece(&piece, out) {
                self.give_up(fault, out);
            }
        }
        if self.mode == Mode::Transparent {
            out.extend_from_slice(bytes);
        }
    }

    /// The client has ended its side: appends what is held of an incomplete frame or block.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.mode {
            Mode::Passing | Mode::Rewriting => {
                out.append(&mut self.held);
                out.extend_from_slice(self.frames.partial());
                self.mode = Mode::Transparent;
            }
            Mode::Transparent | Mode::Broken => {}
        }
    }

    fn piece(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match *piece {
            Piece::Head(head) => self.begin(head, out),
            Piece::Payload { head, data, last } => {
                if !carries_headers(head) {
                    out.extend_from_slice(data);
                    return Ok(());
                }
                self.held.extend_from_slice(data);
                if last { self.header_frame(head, out) } else { Ok(()) }
            }
        }
    }

    /// A frame begins.
    fn begin(&mut self, head: Head, out: &mut Vec<u8>) -> Result<(), Fault> {
        let fits = match &self.block {
            Some(block) => head.kind == kind::CONTINUATION && head.stream == block.head.stream,
            // Clients promise nothing.
            None => !matches!(head.kind, kind::CONTINUATION | kind::PUSH_PROMISE),
        };
        if fits && !carries_headers(head) {
            out.extend_from_slice(self.frames.raw());
            return Ok(());
        }
        self.held.extend_from_slice(self.frames.raw());
        self.payload_at = self.held.len();
        let length = head.length as usize;
        let total = self.held.len() + length;
        if !fits || head.stream == 0 || length > MAX_FRAME || total > self.limits.max_header_block {
            return Err(Fault::Framing);
        }
        Ok(())
    }

    /// A frame of a header block is whole.
    fn header_frame(&mut self, head: Head, out: &mut Vec<u8>) -> Result<(), Fault> {
        let fragment = Fragment::parse(head, &self.held[self.payload_at..])?;
        let block = match self.block.take() {
            Some(mut block) => {
                block.bytes.extend_from_slice(fragment.block);
                block
            }
            None => Block { head, priority: fragment.priority.to_vec(), bytes: fragment.block.to_vec() },
        };
        if head.has(flag::END_HEADERS) {
            return self.block(&block, out);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A header block is whole: lets it through or writes it anew.
    fn block(&mut self, block: &Block, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut fields = Vec::with_capacity(12);
        self.decoder.decode_fields(&block.bytes, self.limits.max_header_list, |field| fields.push(field))?;
        if fields.iter().any(is_refused) {
            self.mode = Mode::Rewriting;
        }
        if self.mode == Mode::Rewriting {
            rewrite(block, fields, out);
        } else {
            out.extend_from_slice(&self.held);
        }
        self.drop_held();
        Ok(())
    }

    fn give_up(&mut self, fault: Fault, out: &mut Vec<u8>) {
        if self.mode == Mode::Passing {
            out.append(&mut self.held);
            self.mode = Mode::Transparent;
            return;
        }
        // The client's blocks would be decoded with a table that is not the client's: never let them through.
        let stream = match fault {
            Fault::Compression => self.held_stream(),
            // HEADERS on stream 0 are a connection error of type PROTOCOL_ERROR.
            Fault::Framing => 0,
        };
        write_frame(kind::HEADERS, flag::END_HEADERS, stream, UNDECODABLE, out);
        self.drop_held();
        self.block = None;
        self.mode = Mode::Broken;
    }

    /// The stream of the header block that is held.
    fn held_stream(&self) -> u32 {
        self.held.first_chunk().map_or(0, |head| Head::parse(*head).stream)
    }

    fn drop_held(&mut self) {
        self.held.clear();
        self.held.shrink_to(4096);
    }
}

fn carries_headers(head: Head) -> bool {
    matches!(head.kind, kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION)
}

fn is_authority(field: &Field) -> bool {
    &*field.header.name == b":authority"
}

fn is_refused(field: &Field) -> bool {
    is_authority(field) && !acceptable(&field.header.value)
}

/// Writes a block as literals, in frames that every server accepts, without padding.
fn rewrite(block: &Block, fields: Vec<Field>, out: &mut Vec<u8>) {
    let mut payload = block.priority.clone();
    for mut field in fields {
        if is_refused(&field) {
            field.header = Header { name: field.header.name, value: Bytes::from_static(REPLACEMENT) };
        }
        hpack::literal(&field, &mut payload);
    }
    let mut kind = kind::HEADERS;
    let mut flags = block.head.flags & (flag::END_STREAM | flag::PRIORITY);
    let mut rest = &payload[..];
    loop {
        let part = frame::take(&mut rest, MAX_FRAME);
        if rest.is_empty() {
            flags |= flag::END_HEADERS;
        }
        write_frame(kind, flags, block.head.stream, part, out);
        if rest.is_empty() {
            return;
        }
        (kind, flags) = (kind::CONTINUATION, 0);
    }
}

fn write_frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    Head { length: payload.len() as u32, kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

/// Whether `h2` surely takes an authority: `host` or `host:port`, the host a name, an IPv4 address or an IPv6
/// address in brackets. Much else is legal; what is not surely so is replaced, which costs nothing, since gRPC
/// over a unix socket has no use for the value.
fn acceptable(authority: &[u8]) -> bool {
    let bracketed = authority.first() == Some(&b'[');
    let last = |&byte: &u8| byte == if bracketed { b']' } else { b':' };
    let end = authority.iter().position(last).map_or(authority.len(), |at| at + usize::from(bracketed));
    let (host, port) = authority.split_at(end);
    is_host(host) && is_port(port)
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &[u8]) -> bool {
    let in_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    match host {
        [b'[', address @ .., b']'] => !address.is_empty() && address.iter().all(in_address),
        name => !name.is_empty() && name.iter().all(in_name),
    }
}

/// Nothing, or a colon and up to five digits.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn authorities_that_servers_take() {
        for yes in
            ["localhost", "a", "LOCALHOST:50051", "127.0.0.1:80", "[::1]", "[fe80::1.2.3.4]:443", "a_b-c.d:1"]
        {
            assert!(acceptable(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            ":",
            ":80",
            "a:",
            "a:b",
            "a:1:2",
            "a:123456",
            "/run/x.sock",
            "%2Frun%2Fx.sock",
            "run/x.sock",
            "unix:/run/x.sock",
            "user@host",
            "[]",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[x]",
            "a b",
            "ä",
            "a\n",
            "::1",
        ] {
            assert!(!acceptable(no.as_bytes()), "{no}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_acceptable_is_an_authority_to_http(text in r"\[?[a-zA-Z0-9._:\[\]-]{0,12}\]?(:[0-9]{0,6})?") {
            if acceptable(text.as_bytes()) {
                prop_assert!(text.parse::<http::uri::Authority>().is_ok(), "{}", text);
            }
        }

        #[test]
        fn no_bytes_make_acceptable_panic(bytes in any::<Vec<u8>>()) {
            acceptable(&bytes);
        }
    }
}
