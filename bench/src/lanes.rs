//! The ways to one simulator: direct, through a relay that only copies, through the recorder.

use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use cri::Endpoint;
use cri::listen::{Door, bind};
use critape_recorder::{Config, Recorder};
use critape_simulator::{Simulator, serve};
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// A way to the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Direct,
    Bare,
    Recorder,
}

impl Lane {
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::Bare, Self::Recorder];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare",
            Self::Recorder => "recorder",
        }
    }
}

/// All of them, each on a thread of its own.
pub(crate) struct Lanes {
    endpoints: [Endpoint; 3],
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Lanes {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let at = |name: &str| Endpoint::at(folder.join(name));
        let endpoints = [at("direct.sock")?, at("bare.sock")?, at("recorder.sock")?];
        let mut lanes = Self { endpoints: endpoints.clone(), stops: Vec::new(), threads: Vec::new() };
        let [direct, bare, recorder] = endpoints;
        let listen = direct.clone();
        lanes.spawn(move |ready, stopped| async move {
            let (listener, _file) = bind(&listen, Door::Owner).await?;
            ready.send(())?;
            let simulator = Simulator::new(critape_simulator::Config::default());
            Ok(serve(simulator, listener, async { drop(stopped.await) }).await?)
        })?;
        let upstream = direct.clone();
        lanes.spawn(move |ready, stopped| async move {
            let (listener, _file) = bind(&bare, Door::Owner).await?;
            ready.send(())?;
            let copy = async {
                while let Ok((mut client, _)) = listener.accept().await {
                    let Ok(mut runtime) = UnixStream::connect(upstream.path()).await else { continue };
                    tokio::task::spawn_local(async move {
                        let _ = copy_bidirectional(&mut client, &mut runtime).await;
                    });
                }
            };
            tokio::select! {
                () = copy => {}
                _ = stopped => {}
            }
            Ok(())
        })?;
        let config = Config { ask_opening: false, ..Config::new(direct, recorder, folder.join("tape")) };
        lanes.spawn(move |ready, stopped| async move {
            let recorder = Recorder::bind(config).await?;
            ready.send(())?;
            Ok(recorder.run(async { drop(stopped.await) }).await?)
        })?;
        Ok(lanes)
    }

    pub(crate) fn endpoint(&self, lane: Lane) -> &Endpoint {
        &self.endpoints[lane as usize]
    }

    /// Ends all lanes and says how many calls are on the recorder's tape.
    pub(crate) fn stop(self, tape: &Path) -> Result<u64> {
        // The recorder first: its runtime must not vanish before it.
        for (stop, thread) in self.stops.into_iter().zip(self.threads).rev() {
            drop(stop);
            thread.join().map_err(|_| anyhow!("a lane ended unexpectedly"))??;
        }
        crate::calls_on(tape)
    }

    fn spawn<F, T>(&mut self, run: F) -> Result<()>
    where
        F: FnOnce(mpsc::Sender<()>, oneshot::Receiver<()>) -> T + Send + 'static,
        T: Future<Output = Result<()>>,
    {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, run(ready, stopped))
        });
        if is_ready.recv().is_err() {
            thread.join().map_err(|_| anyhow!("a lane ended unexpectedly"))??;
            return Err(anyhow!("a lane did not start"));
        }
        self.stops.push(stop);
        self.threads.push(thread);
        Ok(())
    }
}
