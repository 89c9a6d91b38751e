//! Bytes on their way to a client.

use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::net::unix::pipe;

/// No more is taken while as much as this waits.
const FULL: usize = 256 * 1024;

/// What an HTTP/2 library writes, kept until it has written all that there is to be written: it would send each frame by
/// itself, and each would wake the client.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    shared: Arc<Mutex<Sending>>,
}

#[derive(Debug)]
pub(super) struct Sending {
    stream: UnixStream,
    bytes: BytesMut,
    /// The same stream, watched for when it takes more: only while it doesn't. At all other times there would be news of
    /// each answer that the client has read, and a thread woken for nothing.
    blocked: Option<pipe::Sender>,
}

impl Outbox {
    /// Of a stream that doesn't block.
    pub(super) fn new(stream: UnixStream) -> Self {
        let sending = Sending { stream, bytes: BytesMut::new(), blocked: None };
        Self { shared: Arc::new(Mutex::new(sending)) }
    }

    /// No change is left half done, so a panic elsewhere doesn't spoil it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Sending> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Takes all of it, or nothing while it is full. Who sends has to let the writer try again then.
    pub(super) fn push(&mut self, buffers: &[IoSlice<'_>]) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        let before = self.bytes.len();
        buffers.iter().for_each(|buffer| self.bytes.extend_from_slice(buffer));
        Some(self.bytes.len() - before)
    }

    /// Sends what there is, as far as the client takes it.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            let written = match &self.blocked {
                Some(blocked) => blocked.try_write(&self.bytes),
                None => (&self.stream).write(&self.bytes),
            };
            match written {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => self.bytes.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_writable(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.blocked = None;
        Poll::Ready(Ok(()))
    }

    /// Waits until the stream, which has just refused to take more, may take some.
    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let blocked = match &self.blocked {
            Some(blocked) => blocked,
            None => {
                let stream = self.stream.try_clone()?.into();
                self.blocked.insert(pipe::Sender::from_owned_fd_unchecked(stream)?)
            }
        };
        blocked.poll_write_ready(context)
    }

    /// Sends what there is, and ends this side.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;
    use std::pin::pin;

    use super::*;

    fn pair() -> (UnixStream, Outbox) {
        let (client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, Outbox::new(server))
    }

    #[tokio::test]
    async fn a_client_that_reads_late_gets_all_of_it_and_what_is_taken_is_bounded() {
        let (mut client, outbox) = pair();
        let mut pushed = Vec::new();
        let mut frame = 0_u32;
        // As much as its socket holds, and as much as the outbox does.
        let mut send = pin!(poll_fn(|context| {
            loop {
                let mut sending = outbox.lock();
                while sending.push(&[IoSlice::new(&frame.to_be_bytes()), IoSlice::new(&[7; 1020])]).is_some()
                {
                    pushed.extend_from_slice(&frame.to_be_bytes());
                    pushed.extend_from_slice(&[7; 1020]);
                    frame += 1;
                }
                if sending.poll_send(context).is_pending() {
                    return Poll::Ready(sending.bytes.len());
                }
            }
        }));
        let waiting = send.as_mut().await;
        assert!((1..=FULL).contains(&waiting), "{waiting}");
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            client.read_to_end(&mut read).unwrap();
            read
        });
        poll_fn(|context| outbox.lock().poll_shutdown(context)).await.unwrap();
        assert!(reader.join().unwrap() == pushed);
    }

    #[tokio::test]
    async fn what_is_pushed_comes_in_one_piece() {
        let (mut client, outbox) = pair();
        for part in [&b"head"[..], b"body", b"trailers"] {
            assert_eq!(outbox.lock().push(&[IoSlice::new(part)]), Some(part.len()));
        }
        poll_fn(|context| outbox.lock().poll_send(context)).await.unwrap();
        let mut read = [0; 100];
        assert_eq!(client.read(&mut read).unwrap(), "headbodytrailers".len());
    }

    #[tokio::test]
    async fn a_client_that_has_gone_is_an_error() {
        let (client, outbox) = pair();
        drop(client);
        outbox.lock().push(&[IoSlice::new(b"answer")]);
        assert!(poll_fn(|context| outbox.lock().poll_send(context)).await.is_err());
    }
}
