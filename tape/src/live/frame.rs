//! Messages on the socket, and the socket itself.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use prost::Message;

use super::SOCKET;

/// A chunk holds one oversized message at worst.
const MAX_FRAME_BYTES: u32 = 512 * 1024 * 1024;

/// Connects to the writer of this tape.
pub(super) fn connect(tape: &Path) -> io::Result<UnixStream> {
    in_folder(tape, |path| UnixStream::connect(path))
}

/// Listens for readers of this tape. Only its one writer may.
pub(super) fn listen(tape: &Path) -> io::Result<UnixListener> {
    remove(tape);
    in_folder(tape, |path| UnixListener::bind(path))
}

/// Takes the socket away.
pub(super) fn remove(tape: &Path) {
    // Where it can't be, the next writer replaces it.
    let _ = std::fs::remove_file(tape.join(SOCKET));
}

/// Paths of sockets are short; the folder's own descriptor makes any path short.
fn in_folder<T>(tape: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = File::open(tape)?;
    act(Path::new(&format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())))
}

pub(super) fn send(to: &mut impl Write, message: &impl Message) -> io::Result<()> {
    let length = u32::try_from(message.encoded_len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    message.encode(&mut bytes).map_err(io::Error::other)?;
    to.write_all(&bytes)
}

pub(super) fn receive<M: Message + Default>(from: &mut impl Read, limit: u32) -> io::Result<M> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > limit.min(MAX_FRAME_BYTES) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    M::decode(bytes.as_slice()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
