//! Relays that know nothing of HTTP.

use std::path::Path;

use anyhow::Result;
use cri::Endpoint;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{UnixListener, UnixStream};

/// Bytes read at once: as the recorder does.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) async fn bare(upstream: &Path, listen: &Path) -> Result<()> {
    let listener = UnixListener::bind(listen)?;
    loop {
        let (mut client, _) = listener.accept().await?;
        let mut server = UnixStream::connect(upstream).await?;
        tokio::task::spawn_local(async move {
            // Whoever called sees how it ended.
            let _ = copy_bidirectional_with_sizes(&mut client, &mut server, CHUNK_BYTES, CHUNK_BYTES).await;
        });
    }
}

pub(super) async fn off(upstream: &Path, listen: &Path) -> Result<()> {
    match critape_recorder::relay_without_recording(&Endpoint::at(upstream)?, &Endpoint::at(listen)?).await? {}
}
