//! One connection, with the client's bytes made fit for an HTTP/2 library that is strict about `:authority`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use critape_wire::{AuthorityFilter, Limits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::outbox::Outbox;

/// How much is read from the socket at a time.
const CHUNK: usize = 16 * 1024;

/// A client's connection.
pub(super) struct Connection {
    /// A socket that is watched for what the client sends alone, as tokio does with pipes: see [`Outbox`].
    stream: pipe::Receiver,
    outbox: Outbox,
    filter: AuthorityFilter,
    chunk: Box<[u8]>,
    /// Filtered and not yet taken; no more than one chunk and what the filter held back.
    ready: Vec<u8>,
    taken: usize,
    ended: bool,
    /// Resolves when the runtime dies, which takes its connections with it; none once that has happened.
    death: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Connection {
    pub(super) fn new(
        stream: UnixStream,
        death: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let stream = stream.into_std()?;
        Ok(Self {
            outbox: Outbox::new(stream.try_clone()?),
            stream: pipe::Receiver::from_owned_fd_unchecked(stream.into())?,
            filter: AuthorityFilter::new(Limits::default()),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            ready: Vec::new(),
            taken: 0,
            ended: false,
            death: Some(Box::pin(death)),
        })
    }

    /// Where its bytes to the client wait until they are sent.
    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.death.as_mut().is_none_or(|death| death.as_mut().poll(context).is_ready()) {
            self.death = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut chunk = ReadBuf::new(&mut self.chunk);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
        self.ready.clear();
        self.taken = 0;
        if chunk.filled().is_empty() {
            self.ended = true;
            self.filter.finish(&mut self.ready);
        } else {
            self.filter.feed(chunk.filled(), &mut self.ready);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.taken == self.ready.len() && !self.ended {
            ready!(self.poll_fill(context))?;
        }
        let end = self.ready.len().min(self.taken + buffer.remaining());
        buffer.put_slice(&self.ready[self.taken..end]);
        self.taken = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.lock().push(buffers).map_or(Poll::Pending, |taken| Poll::Ready(Ok(taken)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is in the outbox is as good as sent.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.lock().poll_shutdown(context)
    }
}
