//! Connections as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Sleep;

use super::connection::Connection;

/// After an error of `accept` (out of file descriptors, most likely): trying again at once would take a whole core.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of a listener.
#[derive(Debug)]
pub(super) struct Incoming {
    listener: UnixListener,
    deaths: watch::Receiver<u64>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// Of a runtime that dies whenever `deaths` changes.
    pub(super) fn new(listener: UnixListener, deaths: watch::Receiver<u64>) -> Self {
        Self { listener, deaths, pause: None }
    }

    /// The next one, or why there will be none.
    pub(super) fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let accepted = ready!(self.listener.poll_accept(context));
            match accepted.and_then(|(stream, _)| self.connection(stream)) {
                Ok(connection) => return Poll::Ready(Ok(connection)),
                // The socket doesn't listen.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Poll::Ready(Err(error)),
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection; raise the limit of open files");
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                }
            }
        }
    }

    fn connection(&mut self, stream: UnixStream) -> io::Result<Connection> {
        self.deaths.mark_unchanged();
        let mut deaths = self.deaths.clone();
        let death = async move {
            if deaths.changed().await.is_err() {
                // The simulator itself is gone; its server ends in its own way.
                std::future::pending::<()>().await;
            }
        };
        Connection::new(stream, death)
    }
}
