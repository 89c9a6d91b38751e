//! A replay as a whole: preflight, calls, cleanup, report.

use std::io;
use std::time::Duration;

use cri::client::{Clients, ConnectError};
use cri::endpoint::Endpoints;
use critape_calls::IdentityMap;
use critape_differ::{Limitation, Report, Rules, SideInfo};
use critape_tape::{SealPolicy, Tape};
use thiserror::Error;
use tokio::task::LocalSet;

use crate::engine::Engine;
use crate::footprint::{Footprint, Owner};
use crate::preflight::{self, Company, Tally, Target};
use crate::recording::RecordingError;
use crate::recording::script::{Reads, Role, Script};
use crate::recording::slice::Selection;
use crate::sending::credentials::Credentials;
use crate::sending::images::{self, ImageMapping};

/// How long an interrupted replay waits for what its last calls may still make.
pub(crate) const LATE_COMERS: Duration = Duration::from_millis(500);

/// How fast calls follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As they did when recorded, this many times as fast.
    Recorded(f64),
    /// As soon as what they waited for has ended.
    Max,
    /// One after the other.
    Serial,
}

/// How a tape is replayed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The live runtime.
    pub endpoints: Endpoints,
    /// How fast.
    pub pace: Pace,
    /// The longest time without a call that is waited out.
    pub max_idle: Duration,
    /// Whether reads are sent at the recorded pace that only repeat what those around them say. At other paces all are.
    pub every_poll: bool,
    /// How long a read may take to reach the recorded state, beyond the time that the recording took.
    pub settle: Duration,
    /// How much longer than recorded a call may take that had no deadline.
    pub give_up: Duration,
    /// How fields are compared.
    pub rules: Rules,
    /// Images to take in place of recorded ones.
    pub map_images: Vec<ImageMapping>,
    /// Credentials for registries, in place of recorded ones.
    pub credentials: Option<Credentials>,
    /// Whether sandboxes of others may be on the runtime.
    pub share: bool,
    /// Whether calls may change the node beyond the replay's own pods.
    pub allow_node_changes: bool,
    /// The share of calls that may stay inconclusive before the verdict says so.
    pub max_inconclusive: f64,
}

impl Config {
    /// The usual way, against this runtime.
    pub fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            pace: Pace::Recorded(1.0),
            max_idle: Duration::from_secs(60),
            every_poll: false,
            settle: Duration::from_secs(5),
            give_up: Duration::from_secs(300),
            rules: Rules::standard(),
            map_images: Vec::new(),
            credentials: None,
            share: false,
            allow_node_changes: false,
            max_inconclusive: 0.01,
        }
    }
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Calls that have ended.
    pub done: usize,
    /// Calls on the tape.
    pub total: usize,
}

/// Why a tape was not replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The tape.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Nobody answers.
    #[error("{0}; is it running?")]
    Connect(#[from] ConnectError),
    /// The runtime does not say what a replay must know.
    #[error("the runtime refused {rpc}: {code} {message}")]
    Runtime {
        /// The RPC.
        rpc: &'static str,
        /// The status code.
        code: String,
        /// What it said.
        message: String,
    },
    /// Others use the runtime.
    #[error(
        "the runtime has {count} ready sandboxes that others use, such as {example}: \
         replay on a runtime of its own, or add --share"
    )]
    InUse {
        /// How many.
        count: usize,
        /// One of them.
        example: String,
    },
    /// No room for the files of a replay.
    #[error("making a folder for the replay's files: {0}")]
    Scratch(io::Error),
    /// Nothing to wait with.
    #[error("making a timer: {0}")]
    Timer(io::Error),
    /// A defect of ours; what the replay made was removed.
    #[error("a call of the replay ended in a way that it never should: {0}")]
    Task(tokio::task::JoinError),
    /// No random numbers.
    #[error("asking the system for random numbers: {0}")]
    Random(getrandom::Error),
    /// It was told to stop.
    #[error("interrupted: {removed} sandboxes of the replay were removed")]
    Interrupted {
        /// Sandboxes removed.
        removed: usize,
    },
}

/// What is known before the first call.
#[derive(Clone, Debug)]
pub struct Preflight {
    /// The live runtime.
    pub live: SideInfo,
    /// What can't be as it was recorded.
    pub limitations: Vec<Limitation>,
    /// Sandboxes on the runtime that replays left which have crashed.
    pub left_over: usize,
}

impl Preflight {
    fn of(target: &Target) -> Self {
        Self {
            live: target.side.clone(),
            limitations: target.limits.list.clone(),
            left_over: target.left_over,
        }
    }
}

/// A tape on its way to a runtime.
#[derive(Debug)]
pub struct Replay {
    script: Script,
    config: Config,
}

impl Replay {
    /// Reads what is on the tape, to replay all of it.
    pub fn of(tape: &Tape, config: Config) -> Result<Self, RecordingError> {
        Self::of_part(tape, None, config)
    }

    /// The same, to replay a part of it, and what that needs besides.
    pub fn of_selected(
        tape: &Tape,
        selection: &Selection<'_>,
        config: Config,
    ) -> Result<Self, RecordingError> {
        Self::of_part(tape, Some(selection), config)
    }

    fn of_part(
        tape: &Tape,
        selection: Option<&Selection<'_>>,
        config: Config,
    ) -> Result<Self, RecordingError> {
        let reads = match config.pace {
            Pace::Recorded(_) if !config.every_poll => Reads::Telling(&config.rules),
            _ => Reads::All,
        };
        Ok(Self { script: Script::read(tape, selection, reads)?, config })
    }

    /// What is sealed on the tape and goes out sealed, because its key is not there.
    pub fn sealed(&self) -> SealPolicy {
        self.script.sealed
    }

    /// Calls that are replayed.
    pub fn calls(&self) -> usize {
        self.script.calls.len()
    }

    /// How many of them are none of those that were chosen: these follow from them.
    pub fn going_along(&self) -> usize {
        self.script.calls.iter().filter(|call| call.role == Role::GoesAlong).count()
    }

    /// The mappings of images that are about none on the tape.
    pub fn unused_mappings(&self) -> Vec<&ImageMapping> {
        images::bind(&self.config.map_images, self.script.survey.references(), &mut IdentityMap::default())
    }

    /// Looks at the runtime and says what can't be faithful on it, and does no more. Where others use the runtime, so that a replay
    /// would not begin, that comes first.
    pub async fn preflight(&self) -> Result<Preflight, ReplayError> {
        let (_, target) = self.look().await?;
        let mut found = Preflight::of(&target);
        if let Some(company) = target.company.filter(|_| !self.config.share) {
            let mut all = Tally::default();
            self.script.calls.iter().for_each(|call| all.add(call.id));
            found.limitations.insert(0, company.limitation(all));
        }
        Ok(found)
    }

    async fn look(&self) -> Result<(Clients, Target), ReplayError> {
        let Self { script, config } = self;
        let client = Clients::connect(&config.endpoints).await?;
        let mut target = preflight::look(&client, script.survey.generation()).await?;
        target.limits = preflight::limits(script, config, &client, &target).await;
        target.older_names = preflight::older_names(script, config, &target);
        Ok((client, target))
    }

    /// Replays until the last call has ended or `shutdown` completes, and removes what it made either way. Before the first call
    /// `on_preflight` is told what is known.
    ///
    /// Belongs on a current-thread runtime.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()>,
        on_preflight: impl FnOnce(&Preflight),
        on_progress: impl Fn(Progress) + 'static,
    ) -> Result<Report, ReplayError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let (client, target) = tokio::select! {
            looked = self.look() => looked?,
            () = &mut shutdown => return Err(ReplayError::Interrupted { removed: 0 }),
        };
        if let Some(Company { count, example }) = target.company.clone().filter(|_| !self.config.share) {
            return Err(ReplayError::InUse { count, example });
        }
        on_preflight(&Preflight::of(&target));
        let Self { script, config } = self;
        let owner = Owner::this_run().map_err(ReplayError::Random)?;
        let footprint =
            Footprint::begin(&owner, &config.endpoints, target.before()).map_err(ReplayError::Scratch)?;
        let engine = Engine::new(script, config, client.clone(), target, footprint)?;
        let finished = LocalSet::new()
            .run_until(async {
                tokio::select! {
                    ran = engine.run(on_progress) => ran.map(|()| true),
                    () = &mut shutdown => Ok(false),
                }
            })
            .await;
        if !matches!(finished, Ok(true)) {
            // What was being made when we were told to stop may still appear.
            tokio::time::sleep(LATE_COMERS).await;
        }
        if engine.is_left_alone().await {
            tracing::warn!(
                "the runtime is gone, and nothing was removed: `critape replay --clean` does that once it is back"
            );
            engine.keep_footprint();
            return if finished? {
                Ok(engine.into_report())
            } else {
                Err(ReplayError::Interrupted { removed: 0 })
            };
        }
        let cleaned = engine.clean().await;
        for alone in &cleaned.alone {
            tracing::warn!(what = %alone, "was pulled, and is left alone");
        }
        for left in &cleaned.left {
            tracing::warn!(what = %left, "could not be removed: `critape replay --clean` tries again");
        }
        if !cleaned.left.is_empty() {
            engine.keep_footprint();
        }
        if !finished? {
            return Err(ReplayError::Interrupted { removed: cleaned.sandboxes });
        }
        Ok(engine.into_report())
    }
}
