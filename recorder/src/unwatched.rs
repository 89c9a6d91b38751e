//! The relay alone, for those who measure what looking and writing cost.

use std::convert::Infallible;
use std::io;

use cri::Endpoint;
use cri::listen::{self, Door, ListenError};
use tokio::net::UnixStream;
use tokio::task::LocalSet;

use crate::relay::relay_unwatched;

/// Relays every connection made to `listen` to `upstream`, records nothing, and ends with an error only.
///
/// Belongs on a current-thread runtime, as [`crate::Recorder::run`] does.
///
/// # Errors
/// Nothing can listen there, or no connection could be accepted.
pub async fn relay_without_recording(
    upstream: &Endpoint,
    listen: &Endpoint,
) -> Result<Infallible, ListenError> {
    let (listener, _socket) = listen::bind(listen, Door::AsWideAs(upstream.path())).await?;
    let failed = |source: io::Error| ListenError::Io { path: listen.path().to_owned(), source };
    LocalSet::new()
        .run_until(async {
            loop {
                let (client, _) = listener.accept().await.map_err(failed)?;
                let Ok(runtime) = UnixStream::connect(upstream.path()).await else { continue };
                tokio::task::spawn_local(relay_unwatched(client, runtime));
            }
        })
        .await
}
