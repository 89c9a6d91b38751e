//! HTTP/2 framing (RFC 9113 §4): a byte stream cut into frames, whatever pieces it comes in.

/// What a client sends before its first frame.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's header.
pub(crate) const HEAD: usize = 9;

/// Frame types.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PUSH_PROMISE: u8 = 0x5;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const CONTINUATION: u8 = 0x9;
}

/// Frame flags.
pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Frames that don't fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The client's first frame is not SETTINGS.
    #[error("first frame is not SETTINGS")]
    FirstNotSettings,
    /// A frame too short for its flags, or more padding than payload.
    #[error("frame shorter than its flags and padding ask for")]
    TooShort,
    /// Another frame came where a header block had to go on.
    #[error("header block interrupted by another frame")]
    BlockInterrupted,
    /// CONTINUATION without a header block before it.
    #[error("CONTINUATION without a header block to continue")]
    NothingToContinue,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    pub(crate) fn parse(bytes: [u8; HEAD]) -> Self {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = bytes;
        Self {
            length: u32::from_be_bytes([0, l2, l1, l0]),
            kind,
            flags,
            stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
        }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.length.to_be_bytes()[1..]);
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The payload of HEADERS, `PUSH_PROMISE` or CONTINUATION, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    /// The five bytes of a priority; empty without the flag.
    pub(crate) priority: &'a [u8],
    /// The part of the header block.
    pub(crate) block: &'a [u8],
}

impl<'a> Fragment<'a> {
    pub(crate) fn parse(head: Head, payload: &'a [u8]) -> Result<Self, FrameError> {
        if head.kind == kind::CONTINUATION {
            return Ok(Self { priority: &[], block: payload });
        }
        let mut rest = payload;
        if head.has(flag::PADDED) {
            let (&padding, padded) = rest.split_first().ok_or(FrameError::TooShort)?;
            let length = padded.len().checked_sub(usize::from(padding)).ok_or(FrameError::TooShort)?;
            rest = &padded[..length];
        }
        if head.kind == kind::PUSH_PROMISE {
            let (_promised, block) = rest.split_at_checked(4).ok_or(FrameError::TooShort)?;
            return Ok(Self { priority: &[], block });
        }
        let priority = if head.has(flag::PRIORITY) { 5 } else { 0 };
        let (priority, block) = rest.split_at_checked(priority).ok_or(FrameError::TooShort)?;
        Ok(Self { priority, block })
    }
}

/// A piece of the byte stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A frame begins. At least one piece of payload follows, be it empty.
    Head(Head),
    /// Some of the frame's payload; `last` if it is the rest of it.
    Payload { head: Head, data: &'a [u8], last: bool },
}

/// Cuts a byte stream into frames without holding more than a frame header.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    raw: [u8; HEAD],
    /// Bytes of `raw` that are of the frame header being read.
    have: u8,
    /// The frame whose payload is being read.
    head: Option<Head>,
    /// Bytes of payload to come.
    left: u32,
}

impl Reader {
    /// Takes the next piece from the front of `input`; `None` when it is used up.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        if let Some(head) = self.head {
            if self.left > 0 && input.is_empty() {
                return None;
            }
            let data = take(input, self.left as usize);
            self.left -= data.len() as u32;
            let last = self.left == 0;
            if last {
                self.head = None;
            }
            return Some(Piece::Payload { head, data, last });
        }
        let have = usize::from(self.have);
        let data = take(input, HEAD - have);
        self.raw[have..have + data.len()].copy_from_slice(data);
        self.have += data.len() as u8;
        if usize::from(self.have) < HEAD {
            return None;
        }
        let head = Head::parse(self.raw);
        self.have = 0;
        self.left = head.length;
        self.head = Some(head);
        Some(Piece::Head(head))
    }

    /// The frame header last read, byte for byte.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What has been read of a frame header that is not complete.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.raw[..usize::from(self.have)]
    }
}

/// Takes up to `most` bytes from the front of `input`.
pub(crate) fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    front
}

/// How far a client's first bytes agree with the preface.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    /// As far as they go.
    Partial,
    /// In full.
    Complete,
    /// They differ at this byte of the stream.
    Differs { at: u8 },
}

/// Compares the front of `input` with the preface from byte `seen` on, and takes what agrees.
pub(crate) fn preface(seen: &mut u8, input: &mut &[u8]) -> Preface {
    for &expected in &PREFACE[usize::from(*seen)..] {
        match input.split_first() {
            None => return Preface::Partial,
            Some((&byte, rest)) if byte == expected => *input = rest,
            Some(_) => return Preface::Differs { at: *seen },
        }
        *seen += 1;
    }
    Preface::Complete
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: u32, kind: u8, flags: u8, stream: u32) -> Head {
        Head { length, kind, flags, stream }
    }

    #[test]
    fn heads_come_back_without_the_reserved_bit() {
        let given = head(0x01_0203, 0x42, 0x81, 0x7fff_fffe);
        let mut bytes = Vec::new();
        given.write(&mut bytes);
        bytes[5] |= 0x80;
        assert_eq!(Head::parse(bytes.try_into().unwrap()), given);
    }

    #[test]
    fn frames_are_cut_whatever_the_pieces() {
        let mut bytes = Vec::new();
        head(0, 4, 0, 0).write(&mut bytes);
        head(3, 0, 1, 5).write(&mut bytes);
        bytes.extend_from_slice(b"abc");
        for size in 1..=bytes.len() {
            let (mut reader, mut heads, mut ends, mut payload) = (Reader::default(), vec![], 0, vec![]);
            for mut chunk in bytes.chunks(size) {
                while let Some(piece) = reader.next(&mut chunk) {
                    match piece {
                        Piece::Head(head) => heads.push(head),
                        Piece::Payload { data, last, .. } => {
                            payload.extend_from_slice(data);
                            ends += u32::from(last);
                        }
                    }
                }
            }
            assert_eq!(heads, [head(0, 4, 0, 0), head(3, 0, 1, 5)]);
            assert_eq!((ends, payload.as_slice()), (2, &b"abc"[..]));
        }
    }

    #[test]
    fn fragments_lose_padding_and_keep_priority() {
        let all = head(0, kind::HEADERS, flag::PADDED | flag::PRIORITY, 1);
        let parsed = Fragment::parse(all, b"\x0212345block..").unwrap();
        assert_eq!(parsed, Fragment { priority: b"12345", block: b"block" });
        let promise = head(0, kind::PUSH_PROMISE, flag::PADDED, 1);
        assert_eq!(Fragment::parse(promise, b"\x011234block.").unwrap().block, b"block");
        let more = head(0, kind::CONTINUATION, flag::PADDED, 1);
        assert_eq!(Fragment::parse(more, b"\x01block").unwrap().block, b"\x01block");
    }

    #[test]
    fn fragments_too_short_are_refused() {
        for (kind, flags, payload) in [
            (kind::HEADERS, flag::PADDED, &b""[..]),
            (kind::HEADERS, flag::PADDED, b"\x01"),
            (kind::HEADERS, flag::PRIORITY, b"1234"),
            (kind::HEADERS, flag::PRIORITY | flag::PADDED, b"\x0112345"),
            (kind::PUSH_PROMISE, 0, b"123"),
        ] {
            assert_eq!(Fragment::parse(head(0, kind, flags, 1), payload), Err(FrameError::TooShort));
        }
    }

    #[test]
    fn the_preface_is_compared_byte_by_byte() {
        let mut seen = 0;
        assert_eq!(preface(&mut seen, &mut &PREFACE[..10]), Preface::Partial);
        let mut rest = &[&PREFACE[10..], b"x"].concat()[..];
        assert_eq!(preface(&mut seen, &mut rest), Preface::Complete);
        assert_eq!(rest, b"x");
        assert_eq!(preface(&mut 0, &mut &b"PRI / HTTP/1.1"[..]), Preface::Differs { at: 4 });
    }
}
