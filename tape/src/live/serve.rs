//! The writer's side: what is committed, for whoever asks.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::schema::live_reply::Kind;
use crate::schema::{LiveChunk, LiveDone, LiveReply, LiveRequest, LiveSegment};
use crate::store::View;

use super::frame::{listen, receive, remove, send};

/// Readers at a time.
const MAX_READERS: usize = 16;
/// How long a reader may let us wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read from the store at once, in stored bytes.
const BATCH_BYTES: usize = 1 << 20;
/// How long a reader that waits hears nothing; what is sent then also tells whether it is still there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
const MAX_REQUEST_BYTES: u32 = 1024;

/// The segment that is open.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) number: u32,
    pub(crate) header: Vec<u8>,
    pub(crate) descriptors: Vec<u8>,
    pub(crate) view: View,
}

#[derive(Debug, Default)]
struct State {
    segment: Option<Shown>,
    /// Events of it that are committed.
    committed: u64,
    progress: Vec<u8>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    readers: AtomicUsize,
}

/// Shows the open segment until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    tape: PathBuf,
    shared: Arc<Shared>,
    /// None where the file system has no sockets: then the open segment can't be read.
    listening: Option<(UnixListener, JoinHandle<()>)>,
}

impl Server {
    pub(crate) fn start(tape: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let listening = listen(tape).and_then(|listener| {
            let (accepting, shared) = (listener.try_clone()?, shared.clone());
            let thread = thread::Builder::new()
                .name("tape-live".to_owned())
                .spawn(move || accept(&accepting, &shared))?;
            Ok((listener, thread))
        });
        if let Err(error) = &listening {
            tracing::warn!(%error, "the tape can't be read while it is written");
        }
        Self { tape: tape.to_owned(), shared, listening: listening.ok() }
    }

    /// A segment has begun.
    pub(crate) fn show(&self, segment: Shown) {
        let mut state = self.shared.lock();
        state.segment = Some(segment);
        state.committed = 0;
        state.progress.clear();
    }

    /// So many of its events are committed; `progress` is a footer that says what they are.
    pub(crate) fn committed(&self, events: u64, progress: Vec<u8>) {
        let mut state = self.shared.lock();
        (state.committed, state.progress) = (events, progress);
        self.shared.changed.notify_all();
    }

    /// It is about to be closed.
    pub(crate) fn hide(&self) {
        self.shared.lock().segment = None;
        self.shared.changed.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            (state.segment, state.ended) = (None, true);
            self.shared.changed.notify_all();
        }
        if let Some((listener, thread)) = self.listening.take() {
            // Wakes the thread that accepts.
            let _ = rustix::net::shutdown(listener.as_fd(), rustix::net::Shutdown::Both);
            let _ = thread.join();
            remove(&self.tape);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    while let Ok((reader, _)) = listener.accept() {
        if shared.lock().ended {
            return;
        }
        if shared.readers.fetch_add(1, Ordering::Relaxed) >= MAX_READERS {
            shared.readers.fetch_sub(1, Ordering::Relaxed);
            let _ = reader.shutdown(Shutdown::Both);
            continue;
        }
        let served = shared.clone();
        let spawned = thread::Builder::new().name("tape-reader".to_owned()).spawn(move || {
            // A reader that has gone is no fault.
            let _ = serve(&reader, &served);
            served.readers.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            shared.readers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve(mut reader: &UnixStream, shared: &Shared) -> std::io::Result<()> {
    reader.set_read_timeout(Some(PATIENCE))?;
    reader.set_write_timeout(Some(PATIENCE))?;
    let request: LiveRequest = receive(&mut reader, MAX_REQUEST_BYTES)?;
    let mut reply = |kind: Kind| send(&mut reader, &LiveReply { kind: Some(kind) });
    let Some((number, segment)) = shared.shown(request.segment) else {
        return reply(Kind::Closed(LiveDone {}));
    };
    reply(Kind::Segment(segment))?;
    let mut next = request.first;
    let mut told = false;
    loop {
        match shared.batch(number, next, told) {
            Batch::Chunks(chunks, end) => {
                for (first, chunk) in chunks {
                    reply(Kind::Chunk(LiveChunk { first, chunk: chunk.into() }))?;
                }
                next = end;
                told = false;
            }
            Batch::CaughtUp if request.follow => {
                reply(Kind::CaughtUp(LiveDone {}))?;
                told = true;
            }
            Batch::CaughtUp => return reply(Kind::CaughtUp(LiveDone {})),
            Batch::Closed => return reply(Kind::Closed(LiveDone {})),
        }
    }
}

enum Batch {
    /// Stored chunks, and the position after them.
    Chunks(Vec<(u64, Vec<u8>)>, u64),
    CaughtUp,
    Closed,
}

impl Shared {
    /// The segment that is open, if it is this one; 0 for whichever it is.
    fn shown(&self, number: u32) -> Option<(u32, LiveSegment)> {
        let state = self.lock();
        let segment = state.segment.as_ref().filter(|segment| number == 0 || segment.number == number)?;
        let shown = LiveSegment {
            header: segment.header.clone().into(),
            descriptors: segment.descriptors.clone().into(),
            progress: state.progress.clone().into(),
        };
        Some((segment.number, shown))
    }

    /// What of segment `number` is committed from `next` on; waits for more where `wait` says so.
    ///
    /// Holds the lock while it reads, so that a segment is never closed while somebody looks at its store.
    fn batch(&self, number: u32, next: u64, wait: bool) -> Batch {
        let is_open = |state: &State| state.segment.as_ref().is_some_and(|segment| segment.number == number);
        let mut state = self.lock();
        if wait {
            let idle = |state: &mut State| is_open(state) && state.committed <= next;
            let waited = self.changed.wait_timeout_while(state, SIGN_OF_LIFE, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(segment) = state.segment.as_ref().filter(|segment| segment.number == number) else {
            return Batch::Closed;
        };
        if state.committed <= next {
            return Batch::CaughtUp;
        }
        let (mut chunks, mut bytes, mut end) = (Vec::new(), 0, state.committed);
        for chunk in segment.view.chunks(next) {
            let Ok((first, chunk)) = chunk else { return Batch::Closed };
            if first >= state.committed {
                break;
            }
            if bytes >= BATCH_BYTES {
                end = first;
                break;
            }
            bytes += chunk.len();
            chunks.push((first, chunk));
        }
        Batch::Chunks(chunks, end)
    }
}
