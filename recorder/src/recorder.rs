//! The recorder as a whole: socket, connections, writer, end.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cri::Endpoint;
use cri::endpoint::EndpointError;
use cri::listen::ListenError;
use critape_calls::{Event, EventKind};
use critape_tape::TapeError;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::config::Config;
use crate::counters::Counters;
use crate::entrance::Open;
use crate::host;
use crate::opening;
use crate::queue::Queue;
use crate::relay::relay;
use crate::shortage::Shortage;
use crate::takeover::{self, GivenBack, Names, TakeOverError};
use crate::tap::{Shared, Tap};
use crate::watchdog::Heart;
use crate::writer;

/// How often the number of forwarded bytes is noted.
const TRAFFIC_EVERY: Duration = Duration::from_secs(1);
/// How often the heart beats.
const BEAT_EVERY: Duration = Duration::from_millis(100);
/// How long a recording waits at its end for the opening state, where a runtime is there.
const OPENING_GRACE: Duration = Duration::from_secs(1);
/// How long it waits for what is being looked up on the host.
const LOOKUP_GRACE: Duration = Duration::from_secs(1);
/// How long the writer may take at the end: a disk that no longer answers must not keep a node from shutting down.
const WRITER_GRACE: Duration = Duration::from_secs(60);

/// Why a recording can't begin, or was cut short.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It is the runtime's own socket.
    #[error("{0} is the runtime's own socket: give --listen another path")]
    Upstream(Endpoint),
    /// The runtime's path can't be taken over.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// The socket that was passed can't be used.
    #[error("the socket that the service manager passed: {0}")]
    Passed(EndpointError),
    /// The socket that was passed can't be used.
    #[error("the socket that the service manager passed: {0}")]
    PassedSocket(io::Error),
    /// The socket that was passed has no path.
    #[error(
        "the socket that the service manager passed has no path: let it listen on one, as /run/critape/containerd.sock"
    )]
    NoPath,
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
    entrance: Open,
    ask_opening: bool,
    taken: bool,
    heart: Heart,
    roll: Arc<AtomicBool>,
    shared: Rc<Shared>,
    writer: JoinHandle<writer::Ended>,
    /// Says when a segment has begun.
    begun: mpsc::UnboundedReceiver<()>,
}

impl Recorder {
    /// Opens the tape and listens. Clients may connect from here on.
    ///
    /// The runtime need not be there.
    ///
    /// # Errors
    /// Then everything is as it was; a path that was taken over is given back.
    pub async fn bind(config: Config) -> Result<Self, RecordError> {
        let mut entrance = Open::new(config.entrance, config.upstream).await?;
        let clock = Clock::start();
        let counters = Arc::new(Counters::new(config.memory, config.tape.clone()));
        let (begins, begun) = mpsc::unbounded_channel();
        let roll = Arc::new(AtomicBool::new(false));
        let policy = writer::Policy {
            tape: config.tape,
            seal: config.seal,
            packer: config.packer,
            segment: config.segment,
            retention: config.retention,
            begins,
            roll: roll.clone(),
            counters: counters.clone(),
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
            counters,
            lookups: RefCell::default(),
        };
        let writer = writer::spawn(tape, queue, clock, policy).map_err(RecordError::Thread)?;
        // Last, when nothing can fail any more.
        let taken = match &mut entrance.taken {
            Some(path) => path.take()?,
            None => false,
        };
        let (ask_opening, heart) = (config.ask_opening, Heart::default());
        Ok(Self { entrance, ask_opening, taken, heart, roll, shared: Rc::new(shared), writer, begun })
    }

    /// Whether a runtime's path is taken over by now. Where one is to be and no runtime is there yet, that comes with it.
    pub fn has_taken_over(&self) -> bool {
        self.taken
    }

    /// Where the runtime is: beside its path, where that is taken over.
    pub fn upstream(&self) -> &Endpoint {
        &self.entrance.upstream
    }

    /// What other threads can do with it while it runs.
    pub fn handle(&self) -> Handle {
        Handle {
            counters: self.shared.counters.clone(),
            heart: self.heart.clone(),
            roll: self.roll.clone(),
            names: self.entrance.taken.as_ref().map(|taken| taken.names().clone()),
        }
    }

    /// Relays and records until `shutdown` completes, then closes the tape.
    ///
    /// Belongs on a current-thread runtime: all connections share one thread.
    ///
    /// # Errors
    /// What kept the tape from being written, or the runtime's path from being given back. Calls were forwarded all the same.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RecordError> {
        let Self { mut entrance, ask_opening, heart, shared, writer, begun, .. } = self;
        let names = entrance.taken.as_ref().map(|taken| taken.names().clone());
        let opener =
            Opener { upstream: entrance.upstream.clone(), shared: shared.clone(), asking: Cell::new(false) };
        let mut given = Ok(None);
        LocalSet::new()
            .run_until(async {
                let mut connections = JoinSet::new();
                let mut ask = std::pin::pin!(opener.ask(begun, ask_opening));
                tokio::select! {
                    () = accept(&mut entrance, &shared, &heart, &mut connections) => {}
                    () = &mut ask => {}
                    () = keep_taken(names.as_ref()) => {}
                    () = shutdown => {}
                }
                // First of all: whoever comes from now on is to find the runtime.
                given = entrance.taken.take().map(|mut taken| taken.give_back()).transpose();
                // A recording that is over at once has an opening state too.
                let asked = std::future::poll_fn(|context| {
                    if opener.asking.get() && ask.as_mut().poll(context).is_pending() && opener.asking.get() {
                        std::task::Poll::Pending
                    } else {
                        std::task::Poll::Ready(())
                    }
                });
                let _ = tokio::time::timeout(OPENING_GRACE, asked).await;
                // Ends every connection; what each had not ended is truncated.
                connections.shutdown().await;
                // What the last calls named is still told, unless its file system does not answer.
                let mut lookups = shared.lookups.take();
                let looked_up = async { while lookups.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(LOOKUP_GRACE, looked_up).await;
            })
            .await;
        drop(entrance);
        shared.note_traffic();
        shared.queue.close();
        let ended = tokio::task::spawn_blocking(move || writer.join());
        match tokio::time::timeout(WRITER_GRACE, ended).await {
            Ok(Ok(Ok(written))) => written?,
            Ok(_) => return Err(RecordError::WriterLost),
            Err(_) => return Err(RecordError::WriterStuck(WRITER_GRACE)),
        }
        match given? {
            Some(GivenBack::Nothing) => tracing::info!("the runtime had its path already"),
            Some(GivenBack::NoRuntime) => tracing::info!("no runtime was there to get its path back"),
            Some(GivenBack::Runtime) | None => {}
        }
        Ok(())
    }
}

/// What other threads can do with a recorder while it runs.
#[derive(Clone, Debug)]
pub struct Handle {
    counters: Arc<Counters>,
    heart: Heart,
    roll: Arc<AtomicBool>,
    names: Option<Names>,
}

impl Handle {
    /// What it counts, for as long as it runs and afterwards.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Beats while the relay's loop goes round, several times a second.
    pub fn heart(&self) -> Heart {
        self.heart.clone()
    }

    /// Closes the segment that is being written, and begins another, within a quarter of a second or so.
    pub fn roll(&self) {
        self.roll.store(true, Ordering::Relaxed);
    }

    /// Gives a path that was taken over back to its runtime, whatever the relay is doing. For one that hangs.
    pub fn give_back(&self) -> Result<(), TakeOverError> {
        if let Some(names) = &self.names {
            names.give_back()?;
        }
        Ok(())
    }
}

/// Asks the runtime what it holds, whenever a segment has begun.
struct Opener {
    upstream: Endpoint,
    shared: Rc<Shared>,
    asking: Cell<bool>,
}

impl Opener {
    async fn ask(&self, mut begun: mpsc::UnboundedReceiver<()>, wanted: bool) {
        while begun.recv().await.is_some() {
            if wanted {
                let client = opening::connect(&self.upstream).await;
                self.asking.set(true);
                let opening = opening::ask(&client).await;
                let event = Event { at: self.shared.clock.now(), kind: EventKind::Opening(opening) };
                self.shared.queue.push(event);
                self.asking.set(false);
            }
        }
        // The writer has ended; forwarding goes on.
        std::future::pending::<()>().await;
    }
}

/// Takes a path over again when its runtime has made its socket anew.
async fn keep_taken(names: Option<&Names>) {
    match names {
        Some(names) => takeover::watch(names).await,
        None => std::future::pending().await,
    }
}

async fn accept(entrance: &mut Open, shared: &Rc<Shared>, heart: &Heart, connections: &mut JoinSet<()>) {
    let mut absent = false;
    let mut shortage = Shortage::default();
    let mut ticks = tokio::time::interval(TRAFFIC_EVERY);
    let mut beats = tokio::time::interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let client = tokio::select! {
            accepted = entrance.listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(error) => {
                    shortage.wait(&error).await;
                    continue;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            _ = beats.tick() => {
                heart.beat();
                shared.queue.courtesy.look(shared.clock.now());
                continue;
            }
            _ = ticks.tick() => {
                shared.note_traffic();
                if let Some(door) = &mut entrance.door {
                    door.look();
                }
                continue;
            }
        };
        // Connecting to a unix socket is immediate unless the runtime's backlog is full; then all have to wait.
        let upstream = &entrance.upstream;
        let runtime = match shortage.connect(upstream).await {
            Ok(runtime) => runtime,
            Err(error) => {
                shared.counters.refused();
                if !std::mem::replace(&mut absent, true) {
                    tracing::warn!(endpoint = %upstream, %error, "the runtime is not there; clients are turned away until it is");
                }
                continue;
            }
        };
        if std::mem::replace(&mut absent, false) {
            tracing::info!(endpoint = %upstream, "the runtime is there again");
        }
        let shared = shared.clone();
        connections.spawn_local(async move {
            let tap = Tap::new(shared.clone(), host::peer(&client));
            relay(client, runtime, shared, tap).await;
        });
    }
}
