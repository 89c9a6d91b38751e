//! The bytes of one side of a connection, from preface and frames to what they say about streams.

use bytes::Bytes;

use crate::event::{Header, Limits, LostReason, Side};
use crate::frame::{self, Fragment, FrameError, Head, Piece, Preface, Reader, flag, kind, take};
use crate::hpack::{Decoder, HpackError};

/// What is kept of SETTINGS, GOAWAY and `RST_STREAM` frames, in bytes.
const MAX_CONTROL: usize = 64 << 10;

/// A buffer larger than this is given back once it has served.
const KEEP_BUFFER: usize = 4 << 10;

/// `SETTINGS_HEADER_TABLE_SIZE`.
const HEADER_TABLE_SIZE: u16 = 1;

/// One thing that a side said.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    Headers { stream: u32, headers: Vec<Header>, end: bool },
    Data { stream: u32, data: &'a [u8] },
    End { stream: u32 },
    Reset { stream: u32, code: u32 },
    GoAway { last_stream: u32, code: u32, debug: Bytes },
    HeaderTableSize(u32),
}

/// Why a side can't be understood from `offset` on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: LostReason,
    pub(crate) offset: u64,
}

/// The reader of one side's bytes.
#[derive(Debug)]
pub(crate) struct Speaker {
    side: Side,
    limits: Limits,
    /// Bytes of the preface seen; a server sends none.
    preface: u8,
    started: bool,
    frames: Reader,
    /// Bytes used up to the frame being read.
    frame_at: u64,
    /// The payload so far of a frame that came in pieces.
    payload: Vec<u8>,
    data: DataFrame,
    block: Option<Block>,
    decoder: Decoder,
}

/// Where in the payload of a DATA frame the reader is.
#[derive(Debug, Default)]
struct DataFrame {
    padding_unread: bool,
    content_left: u32,
}

/// A header block that goes on in CONTINUATION.
#[derive(Debug)]
struct Block {
    head: Head,
    at: u64,
    /// Bytes of its frames so far.
    cost: usize,
    bytes: Vec<u8>,
}

impl Speaker {
    pub(crate) fn new(side: Side, limits: Limits) -> Self {
        let preface = if side == Side::Client { 0 } else { frame::PREFACE.len() as u8 };
        Self {
            side,
            limits,
            preface,
            started: false,
            frames: Reader::default(),
            frame_at: 0,
            payload: Vec::new(),
            data: DataFrame::default(),
            block: None,
            decoder: Decoder::new(limits.max_header_table),
        }
    }

    /// The preface has been seen in full.
    pub(crate) fn is_http2(&self) -> bool {
        usize::from(self.preface) == frame::PREFACE.len()
    }

    /// The other side advertised a header table size.
    pub(crate) fn allow_table(&mut self, size: u32) {
        self.decoder.allow_table(size);
    }

    /// Gives back all memory; nothing can be read any more.
    pub(crate) fn forget(&mut self) {
        self.payload = Vec::new();
        self.block = None;
        self.decoder = Decoder::new(0);
    }

    /// Reads on.
    pub(crate) fn feed(&mut self, mut input: &[u8], each: &mut impl FnMut(Said<'_>)) -> Result<(), Failure> {
        if !self.is_http2() {
            match frame::preface(&mut self.preface, &mut input) {
                Preface::Partial => return Ok(()),
                Preface::Complete => self.frame_at = u64::from(self.preface),
                Preface::Differs { at } => {
                    return Err(Failure { reason: LostReason::NotHttp2, offset: u64::from(at) });
                }
            }
        }
        while let Some(piece) = self.frames.next(&mut input) {
            let outcome = match piece {
                Piece::Head(head) => self.begin(head),
                Piece::Payload { head, data, last } => self.payload(head, data, last, each),
            };
            outcome.map_err(|reason| Failure { reason, offset: self.frame_at })?;
            if let Piece::Payload { head, last: true, .. } = piece {
                self.frame_at += frame::HEAD as u64 + u64::from(head.length);
            }
        }
        Ok(())
    }

    /// A frame begins.
    fn begin(&mut self, head: Head) -> Result<(), LostReason> {
        if !self.started {
            if head.kind != kind::SETTINGS || head.stream != 0 || head.has(flag::ACK) {
                return Err(match self.side {
                    Side::Client => FrameError::FirstNotSettings.into(),
                    Side::Server => LostReason::NotHttp2,
                });
            }
            self.started = true;
        }
        let open = self.block.as_mut();
        match (head.kind, open) {
            (kind::CONTINUATION, None) => return Err(FrameError::NothingToContinue.into()),
            (kind::CONTINUATION, Some(block)) if block.head.stream == head.stream => {
                block.cost += frame::HEAD + head.length as usize;
                check_block(block.cost, &self.limits)?;
            }
            (_, Some(_)) => return Err(FrameError::BlockInterrupted.into()),
            (kind::HEADERS | kind::PUSH_PROMISE, None) => {
                check_block(frame::HEAD + head.length as usize, &self.limits)?;
            }
            (kind::DATA, None) => {
                let padded = head.has(flag::PADDED);
                if padded && head.length == 0 {
                    return Err(FrameError::TooShort.into());
                }
                self.data = DataFrame { padding_unread: padded, content_left: head.length };
            }
            _ => {}
        }
        Ok(())
    }

    /// Some payload of a frame.
    fn payload(
        &mut self,
        head: Head,
        data: &[u8],
        last: bool,
        each: &mut impl FnMut(Said<'_>),
    ) -> Result<(), LostReason> {
        match head.kind {
            kind::DATA => self.data(head, data, last, each),
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => self.whole(head, data, last, each),
            kind::SETTINGS | kind::RST_STREAM | kind::GOAWAY => {
                let room = MAX_CONTROL.saturating_sub(self.payload.len());
                self.whole(head, &data[..room.min(data.len())], last, each)
            }
            // PRIORITY, PING, WINDOW_UPDATE and what is not known say nothing about calls.
            _ => Ok(()),
        }
    }

    /// Puts the payload of a frame together and takes it when it is whole.
    fn whole(
        &mut self,
        head: Head,
        data: &[u8],
        last: bool,
        each: &mut impl FnMut(Said<'_>),
    ) -> Result<(), LostReason> {
        if last && self.payload.is_empty() {
            return self.frame(head, data, each);
        }
        self.payload.extend_from_slice(data);
        if !last {
            return Ok(());
        }
        let mut payload = std::mem::take(&mut self.payload);
        let outcome = self.frame(head, &payload, each);
        if payload.capacity() <= KEEP_BUFFER {
            payload.clear();
            self.payload = payload;
        }
        outcome
    }

    /// A frame other than DATA, whole. Frames of a wrong size are left to the other side to complain about.
    fn frame(
        &mut self,
        head: Head,
        payload: &[u8],
        each: &mut impl FnMut(Said<'_>),
    ) -> Result<(), LostReason> {
        match head.kind {
            kind::SETTINGS if !head.has(flag::ACK) => settings(payload, each),
            kind::RST_STREAM => {
                if let Ok(code) = payload.try_into().map(u32::from_be_bytes) {
                    each(Said::Reset { stream: head.stream, code });
                }
            }
            kind::GOAWAY => go_away(payload, each),
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
                return self.header_frame(head, payload, each);
            }
            _ => {}
        }
        Ok(())
    }

    fn header_frame(
        &mut self,
        head: Head,
        payload: &[u8],
        each: &mut impl FnMut(Said<'_>),
    ) -> Result<(), LostReason> {
        let fragment = Fragment::parse(head, payload)?.block;
        let end = head.has(flag::END_HEADERS);
        let Some(mut block) = self.block.take() else {
            if end {
                return self.block(head, fragment, each);
            }
            let cost = frame::HEAD + payload.len();
            self.block = Some(Block { head, at: self.frame_at, cost, bytes: fragment.to_vec() });
            return Ok(());
        };
        block.bytes.extend_from_slice(fragment);
        if !end {
            self.block = Some(block);
            return Ok(());
        }
        let here = std::mem::replace(&mut self.frame_at, block.at);
        self.block(block.head, &block.bytes, each)?;
        self.frame_at = here;
        Ok(())
    }

    /// A header block, whole; `head` is that of the frame it began with.
    fn block(&mut self, head: Head, bytes: &[u8], each: &mut impl FnMut(Said<'_>)) -> Result<(), LostReason> {
        let headers =
            self.decoder.decode(bytes, self.limits.max_header_list).map_err(|error| match error {
                HpackError::ListTooLarge { limit } => LostReason::HeaderListTooLarge { limit },
                error => LostReason::Hpack(error),
            })?;
        // A promised request is decoded for the sake of the table; no gRPC server pushes.
        if head.kind == kind::HEADERS {
            each(Said::Headers { stream: head.stream, headers, end: head.has(flag::END_STREAM) });
        }
        Ok(())
    }

    fn data(
        &mut self,
        head: Head,
        mut data: &[u8],
        last: bool,
        each: &mut impl FnMut(Said<'_>),
    ) -> Result<(), LostReason> {
        let stream = head.stream;
        if self.data.padding_unread
            && let [padding, rest @ ..] = data
        {
            let content = (head.length - 1).checked_sub(u32::from(*padding)).ok_or(FrameError::TooShort)?;
            self.data = DataFrame { padding_unread: false, content_left: content };
            data = rest;
        }
        let content = take(&mut data, self.data.content_left as usize);
        self.data.content_left -= content.len() as u32;
        if !content.is_empty() {
            each(Said::Data { stream, data: content });
        }
        if last && head.has(flag::END_STREAM) {
            each(Said::End { stream });
        }
        Ok(())
    }
}

fn check_block(cost: usize, limits: &Limits) -> Result<(), LostReason> {
    let limit = limits.max_header_block;
    if cost > limit { Err(LostReason::HeaderBlockTooLarge { limit }) } else { Ok(()) }
}

fn settings(payload: &[u8], each: &mut impl FnMut(Said<'_>)) {
    for setting in payload.as_chunks::<6>().0 {
        let [i1, i0, value @ ..] = *setting;
        if u16::from_be_bytes([i1, i0]) == HEADER_TABLE_SIZE {
            each(Said::HeaderTableSize(u32::from_be_bytes(value)));
        }
    }
}

fn go_away(payload: &[u8], each: &mut impl FnMut(Said<'_>)) {
    let Some((last_stream, rest)) = payload.split_first_chunk() else { return };
    let Some((code, debug)) = rest.split_first_chunk() else { return };
    each(Said::GoAway {
        last_stream: u32::from_be_bytes(*last_stream) & 0x7fff_ffff,
        code: u32::from_be_bytes(*code),
        debug: Bytes::copy_from_slice(debug),
    });
}
