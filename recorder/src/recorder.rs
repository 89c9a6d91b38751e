//! The recorder as a whole: socket, connections, writer, end.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cri::Endpoint;
use cri::listen::{self, Door, ListenError, SocketFile};
use critape_calls::{Event, EventKind};
use critape_tape::{Retention, Seal, TapeError};
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

use crate::clock::Clock;
use crate::host;
use crate::opening;
use crate::queue::{OnOverload, Queue};
use crate::relay::relay;
use crate::shortage::Shortage;
use crate::tap::{Shared, Tap};
use crate::writer;

/// How often the number of forwarded bytes is noted.
const TRAFFIC_EVERY: Duration = Duration::from_secs(1);
/// How long a recording waits at its end for the opening state, where a runtime is there.
const OPENING_GRACE: Duration = Duration::from_secs(1);
/// How long the writer may take at the end: a disk that no longer answers must not keep a node from shutting down.
const WRITER_GRACE: Duration = Duration::from_secs(60);

/// What to record, from where, onto what.
#[derive(Clone, Debug)]
pub struct Config {
    /// The runtime.
    pub upstream: Endpoint,
    /// Where clients connect.
    pub listen: Endpoint,
    /// The tape: made where it is not there, appended to where it is.
    pub tape: PathBuf,
    /// Bytes of messages that may wait for the writer. Beyond it bodies are left out of the tape.
    pub memory: u64,
    /// What happens when the writer does not keep up.
    pub on_overload: OnOverload,
    /// Whether the runtime is asked what it holds when a segment begins.
    pub ask_opening: bool,
    /// When a segment is closed and another begun.
    pub segment: SegmentLimits,
    /// How much of the tape is kept.
    pub retention: Retention,
    /// What is sealed before it is stored.
    pub seal: Seal,
}

/// When a segment is closed and another begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Bytes of its chunks.
    pub max_bytes: u64,
    /// Time since it began.
    pub max_age: Duration,
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_age: Duration::from_secs(3600) }
    }
}

impl Config {
    /// The usual way.
    pub fn new(upstream: Endpoint, listen: Endpoint, tape: PathBuf) -> Self {
        Self {
            upstream,
            listen,
            tape,
            memory: 48 << 20,
            on_overload: OnOverload::default(),
            ask_opening: true,
            segment: SegmentLimits::default(),
            retention: Retention::default(),
            seal: Seal::default(),
        }
    }
}

/// Why a recording can't begin, or was cut short.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It is the runtime's own socket.
    #[error("{0} is the runtime's own socket: give --listen another path")]
    Upstream(Endpoint),
    /// The tape.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// The writer thread.
    #[error("starting the writer: {0}")]
    Thread(io::Error),
    /// The tape could not be written at the end. What was committed before is on it.
    #[error("{calls} calls at the end are not on the tape, what came before is: {source}")]
    Unended {
        /// Calls that are missing, in whole or in part.
        calls: u64,
        /// What kept it from being written.
        source: TapeError,
    },
    /// The writer thread did not end.
    #[error("the tape's disk did not answer for {0:?}; what was committed is on the tape")]
    WriterStuck(Duration),
    /// The writer thread ended by a bug.
    #[error("the writer ended unexpectedly; what it had committed is on the tape")]
    WriterLost,
}

/// A recorder that listens.
#[derive(Debug)]
pub struct Recorder {
    config: Config,
    listener: UnixListener,
    socket: SocketFile,
    shared: Rc<Shared>,
    writer: JoinHandle<writer::Ended>,
    /// Says when a segment has begun.
    begun: mpsc::UnboundedReceiver<()>,
}

impl Recorder {
    /// Opens the tape and listens. Clients may connect from here on.
    ///
    /// The runtime need not be there.
    pub async fn bind(config: Config) -> Result<Self, RecordError> {
        if is_same(config.listen.path(), config.upstream.path()) {
            return Err(RecordError::Upstream(config.listen));
        }
        let (listener, socket) = listen::bind(&config.listen, Door::AsWideAs(config.upstream.path())).await?;
        let clock = Clock::start();
        let (begins, begun) = mpsc::unbounded_channel();
        let policy = writer::Policy {
            tape: config.tape.clone(),
            seal: config.seal.clone(),
            segment: config.segment,
            retention: config.retention,
            begins,
            roll_asked: Arc::default(),
        };
        let tape = match policy.open(clock.started()) {
            Ok(tape) => Some(tape),
            // That is no reason to cut a node off.
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "calls are forwarded, and recorded as soon as there is room");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let queue = Arc::new(Queue::new(config.memory, config.on_overload));
        let shared = Shared {
            clock,
            queue: queue.clone(),
            next_call: Cell::new(tape.as_ref().map_or(1, |tape| tape.first_call().0)),
            next_connection: Cell::new(tape.as_ref().map_or(1, |tape| tape.first_connection().0)),
            traffic: Cell::new(0),
            other_calls: Cell::new(0),
        };
        let writer = writer::spawn(tape, queue, clock, policy).map_err(RecordError::Thread)?;
        Ok(Self { config, listener, socket, shared: Rc::new(shared), writer, begun })
    }

    /// Relays and records until `shutdown` completes, then closes the tape.
    ///
    /// Belongs on a current-thread runtime: all connections share one thread.
    ///
    /// # Errors
    /// What kept the tape from being written. Calls were forwarded all the same.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RecordError> {
        let Self { config, listener, socket, shared, writer, mut begun } = self;
        LocalSet::new()
            .run_until(async {
                let mut connections = JoinSet::new();
                let asking = Cell::new(false);
                let mut ask = std::pin::pin!(async {
                    while begun.recv().await.is_some() {
                        if config.ask_opening {
                            let client = opening::connect(&config.upstream).await;
                            asking.set(true);
                            let opening = opening::ask(&client).await;
                            let event = Event { at: shared.clock.now(), kind: EventKind::Opening(opening) };
                            shared.queue.push(event);
                            asking.set(false);
                        }
                    }
                    // The writer has ended; forwarding goes on.
                    std::future::pending::<()>().await;
                });
                tokio::select! {
                    () = accept(&listener, &config.upstream, &shared, &mut connections) => {}
                    () = &mut ask => {}
                    () = shutdown => {}
                }
                // A recording that is over at once has an opening state too.
                let asked = std::future::poll_fn(|context| {
                    if asking.get() && ask.as_mut().poll(context).is_pending() && asking.get() {
                        std::task::Poll::Pending
                    } else {
                        std::task::Poll::Ready(())
                    }
                });
                let _ = tokio::time::timeout(OPENING_GRACE, asked).await;
                // Ends every connection; what each had not ended is truncated.
                connections.shutdown().await;
            })
            .await;
        drop(socket);
        shared.note_traffic();
        shared.queue.close();
        if shared.other_calls.get() > 0 {
            tracing::info!(calls = shared.other_calls.get(), "calls of other services were forwarded");
        }
        let ended = tokio::task::spawn_blocking(move || writer.join());
        match tokio::time::timeout(WRITER_GRACE, ended).await {
            Ok(Ok(Ok(written))) => written,
            Ok(_) => Err(RecordError::WriterLost),
            Err(_) => Err(RecordError::WriterStuck(WRITER_GRACE)),
        }
    }
}

/// Whether both lead to one socket, by whatever path.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    let place = |path: &Path| {
        path.canonicalize().ok().or_else(|| place(path).map(|(folder, name)| folder.join(name)))
    };
    one == other || place(one).is_some_and(|one| place(other) == Some(one))
}

async fn accept(
    listener: &UnixListener,
    upstream: &Endpoint,
    shared: &Rc<Shared>,
    connections: &mut JoinSet<()>,
) {
    let mut absent = false;
    let mut shortage = Shortage::default();
    let mut ticks = tokio::time::interval(TRAFFIC_EVERY);
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(error) => {
                    shortage.wait(&error).await;
                    continue;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            _ = ticks.tick() => {
                shared.note_traffic();
                continue;
            }
        };
        // Connecting to a unix socket is immediate unless the runtime's backlog is full; then all have to wait.
        let (upstream, shared) = (upstream.clone(), shared.clone());
        let runtime = match shortage.connect(&upstream).await {
            Ok(runtime) => runtime,
            Err(error) => {
                if !std::mem::replace(&mut absent, true) {
                    tracing::warn!(endpoint = %upstream, %error, "the runtime is not there; clients are turned away until it is");
                }
                continue;
            }
        };
        if std::mem::replace(&mut absent, false) {
            tracing::info!(endpoint = %upstream, "the runtime is there again");
        }
        connections.spawn_local(async move {
            let tap = Tap::new(shared.clone(), host::peer(&client));
            relay(client, runtime, shared, tap).await;
        });
    }
}
