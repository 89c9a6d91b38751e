//! Connections as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::Sleep;
use tonic::codegen::tokio_stream::Stream;

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
}

impl Stream for Incoming {
    type Item = Result<Connection, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match ready!(self.listener.poll_accept(context)) {
                Ok((stream, _)) => {
                    self.deaths.mark_unchanged();
                    let mut deaths = self.deaths.clone();
                    let death = async move {
                        if deaths.changed().await.is_err() {
                            // The simulator itself is gone; its server ends in its own way.
                            std::future::pending::<()>().await;
                        }
                    };
                    return Poll::Ready(Some(Ok(Connection::new(stream, death))));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection; raise the limit of open files");
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                }
            }
        }
    }
}
