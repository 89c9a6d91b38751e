//! The reader's side.

use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::schema::live_reply::Kind;
use crate::schema::{LiveReply, LiveRequest};
use crate::{Result, TapeError};

use super::frame::{connect, receive, send};

/// What the writer said first.
#[derive(Clone, Debug)]
pub(crate) struct LiveSegment {
    pub(crate) header: Vec<u8>,
    pub(crate) descriptors: Vec<u8>,
    pub(crate) progress: Vec<u8>,
}

/// What the writer says next.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Position of its first event, and the chunk as it is stored.
    Chunk(u64, Vec<u8>),
    /// That was all for now.
    CaughtUp,
    /// The segment is closed; it can be read from the disk.
    Closed,
}

/// A connection to the one who writes the tape.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    tape: std::path::PathBuf,
}

impl Connection {
    /// Asks for a segment, 0 for whichever is open; `None` where none, or not this one, is open.
    pub(crate) fn open(
        tape: &Path,
        segment: u32,
        first: u64,
        follow: bool,
    ) -> Result<Option<(LiveSegment, Self)>> {
        let io = |error| TapeError::io("reading from the recorder of", tape)(error);
        let mut stream = connect(tape).map_err(io)?;
        send(&mut stream, &LiveRequest { segment, first, follow }).map_err(io)?;
        let reply: LiveReply = receive(&mut stream, u32::MAX).map_err(io)?;
        let Some(Kind::Segment(segment)) = reply.kind else { return Ok(None) };
        let shown = LiveSegment {
            header: segment.header.to_vec(),
            descriptors: segment.descriptors.to_vec(),
            progress: segment.progress.to_vec(),
        };
        Ok(Some((shown, Self { stream, tape: tape.to_owned() })))
    }

    /// Waits for what the writer says next.
    pub(crate) fn next(&mut self) -> Result<Reply> {
        let reply: std::io::Result<LiveReply> = receive(&mut self.stream, u32::MAX);
        match reply {
            Ok(LiveReply { kind: Some(Kind::Chunk(chunk)) }) => {
                Ok(Reply::Chunk(chunk.first, chunk.chunk.to_vec()))
            }
            Ok(LiveReply { kind: Some(Kind::CaughtUp(_)) }) => Ok(Reply::CaughtUp),
            Ok(LiveReply { kind: Some(Kind::Closed(_)) }) => Ok(Reply::Closed),
            // A recorder that is gone has closed it too, in order or not.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Reply::Closed),
            Ok(_) => Err(TapeError::io("reading from the recorder of", &self.tape)(
                std::io::ErrorKind::InvalidData.into(),
            )),
            Err(error) => Err(TapeError::io("reading from the recorder of", &self.tape)(error)),
        }
    }
}
