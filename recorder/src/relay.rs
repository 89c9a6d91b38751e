//! Bytes from one socket to the other, untouched.
//!
//! What was read is written at once, if the other side takes it, and only then looked at. Where it doesn't, nothing more is
//! read from this side until it does, so a slow peer slows its partner as it would without us, and memory stays bounded.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use critape_calls::Side;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::tap::{Shared, Tap};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

thread_local! {
    /// One buffer for all connections of the thread: between a read and its write nothing else runs.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK_BYTES]);
}

/// Who looks at what passes, and by which clock.
struct Watch {
    shared: Rc<Shared>,
    tap: RefCell<Tap>,
}

/// Relays until both directions have ended.
pub(crate) async fn relay(client: UnixStream, runtime: UnixStream, shared: Rc<Shared>, tap: Tap) {
    both_ways(client, runtime, Some(Watch { shared, tap: RefCell::new(tap) })).await;
}

/// Relays until both directions have ended, and looks at nothing.
pub(crate) async fn relay_unwatched(client: UnixStream, runtime: UnixStream) {
    both_ways(client, runtime, None).await;
}

async fn both_ways(client: UnixStream, runtime: UnixStream, watch: Option<Watch>) {
    let (client_read, client_write) = client.into_split();
    let (runtime_read, runtime_write) = runtime.into_split();
    tokio::join!(
        one_way(Side::Client, client_read, runtime_write, watch.as_ref()),
        one_way(Side::Runtime, runtime_read, client_write, watch.as_ref()),
    );
}

/// Forwards one direction until its end, and hands the end on: a half-closed connection stays half-closed.
async fn one_way(from: Side, mut source: OwnedReadHalf, mut target: OwnedWriteHalf, watch: Option<&Watch>) {
    loop {
        if let Some(watch) = watch {
            watch.shared.queue.room().await;
        }
        match poll_fn(|context| step(context, from, &mut source, &target, watch)).await {
            Ok(Step::Ended) | Err(_) => break,
            Ok(Step::Forwarded) => {}
            Ok(Step::Rest(rest)) => {
                if target.write_all(&rest).await.is_err() {
                    break;
                }
            }
        }
        // One busy connection must not keep the others waiting.
        tokio::task::consume_budget().await;
    }
    // Fails where the other side is gone already, which is what it should be told anyway.
    let _ = target.shutdown().await;
}

/// What one try at forwarding gave.
enum Step {
    /// All that was read was written.
    Forwarded,
    /// This much of it was not taken yet.
    Rest(Vec<u8>),
    /// The source has nothing more.
    Ended,
}

/// Reads once, when there is something, and writes what it can, without waiting; then looks at what was read.
fn step(
    context: &mut Context<'_>,
    from: Side,
    source: &mut OwnedReadHalf,
    target: &OwnedWriteHalf,
    watch: Option<&Watch>,
) -> Poll<io::Result<Step>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut read = ReadBuf::new(scratch);
        // This knows that a short read has emptied the socket, and spares a system call.
        ready!(Pin::new(source).poll_read(context, &mut read))?;
        let bytes = read.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(Step::Ended));
        }
        let watch = watch.map(|watch| (watch, watch.shared.clock.now()));
        let written = match target.try_write(bytes) {
            Ok(written) => Ok(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        };
        if let Some((watch, at)) = watch {
            watch.tap.borrow_mut().feed(from, at, bytes);
        }
        let written = written?;
        Poll::Ready(Ok(if written == bytes.len() {
            Step::Forwarded
        } else {
            Step::Rest(bytes[written..].to_vec())
        }))
    })
}
