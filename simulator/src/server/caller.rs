//! What an answer may need to know of its call beyond the request.

use cri::Generation;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Extensions, Status};

/// Of one call: which generation it speaks, and when it is over.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub generation: Generation,
    /// The client waits no longer.
    pub deadline: Option<Instant>,
    /// Turns true when the server closes.
    pub closing: watch::Receiver<bool>,
}

impl Caller {
    /// The caller that the router noted.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(|| Self {
            generation: Generation::V1,
            deadline: None,
            // Its sender is gone, so this counts as closed.
            closing: watch::channel(true).1,
        })
    }

    /// Waits until the call must end, whatever its answer, and says how.
    pub(crate) async fn over(mut self) -> Status {
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = deadline => Status::deadline_exceeded("context deadline exceeded"),
            _ = self.closing.wait_for(|closing| *closing) => Status::unavailable("transport is closing"),
        }
    }
}
