//! The two ways to load a lane: on a schedule, and as fast as it goes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::{JoinSet, LocalSet};

use super::Timer;
use super::caller::{Caller, IMAGE_STATUS, Target};
use super::message::Messages;

/// Calls that are made before the clock runs.
const WARM_UP: usize = 32;

/// What one run showed.
#[derive(Debug)]
pub(crate) struct Run {
    /// How long each call took, sorted.
    pub(crate) took: Vec<Duration>,
    /// Calls a second.
    pub(crate) rate: f64,
    /// How many calls were made, with those before the clock ran.
    pub(crate) made: u64,
}

impl Run {
    /// The latency that this share of the calls kept below.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        crate::stats::quantile(&self.took, share)
    }
}

/// Calls are due at `rate` a second for `time`, and each one's latency counts from when it was due, so that a stall counts in
/// full. No more than `in_flight` are under way at once; what is due meanwhile waits.
pub(crate) fn open_loop(
    target: &Target,
    messages: &Messages,
    in_flight: usize,
    rate: f64,
    time: Duration,
) -> Result<Run> {
    let calls = ((rate * time.as_secs_f64()) as usize).max(1);
    on_one_thread(async {
        let caller = warm(target, messages).await?;
        let begun = Instant::now();
        // The schedule is everybody's: whoever is free takes the next call.
        let next = Rc::new(Cell::new(0));
        let took = Rc::new(RefCell::new(Vec::with_capacity(calls)));
        let mut workers = JoinSet::new();
        for _ in 0..in_flight {
            let (caller, messages, next, took) =
                (caller.clone(), messages.clone(), next.clone(), took.clone());
            let timer = Timer::new()?;
            workers.spawn_local(async move {
                loop {
                    let index = next.replace(next.get() + 1);
                    if index >= calls {
                        return anyhow::Ok(());
                    }
                    let due = begun + Duration::from_secs_f64(index as f64 / rate);
                    timer.until(due).await?;
                    caller.call(IMAGE_STATUS, messages.get(index)).await?;
                    took.borrow_mut().push(due.elapsed());
                }
            });
        }
        join(workers).await?;
        Ok(summed(took.take(), begun.elapsed()))
    })
}

/// `in_flight` calls at a time, each followed by the next at once, for `time`.
pub(crate) fn closed_loop(
    target: &Target,
    messages: &Messages,
    in_flight: usize,
    time: Duration,
) -> Result<Run> {
    on_one_thread(async {
        let caller = warm(target, messages).await?;
        let begun = Instant::now();
        let took = Rc::new(RefCell::new(Vec::new()));
        let mut workers = JoinSet::new();
        for worker in 0..in_flight {
            let (caller, messages, took) = (caller.clone(), messages.clone(), took.clone());
            workers.spawn_local(async move {
                let mut index = worker;
                while begun.elapsed() < time {
                    let since = Instant::now();
                    caller.call(IMAGE_STATUS, messages.get(index)).await?;
                    took.borrow_mut().push(since.elapsed());
                    index += in_flight;
                }
                anyhow::Ok(())
            });
        }
        join(workers).await?;
        Ok(summed(took.take(), begun.elapsed()))
    })
}

async fn warm(target: &Target, messages: &Messages) -> Result<Rc<Caller>> {
    let caller = Caller::connect(target).await?;
    for index in 0..WARM_UP {
        caller.call(IMAGE_STATUS, messages.get(index)).await?;
    }
    Ok(Rc::new(caller))
}

async fn join(mut workers: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = workers.join_next().await {
        done?.context("rejected: a call failed")?;
    }
    Ok(())
}

fn summed(mut took: Vec<Duration>, over: Duration) -> Run {
    took.sort_unstable();
    Run { rate: took.len() as f64 / over.as_secs_f64(), made: (took.len() + WARM_UP) as u64, took }
}

/// Runs on this thread, where tasks need not be `Send`.
pub(crate) fn on_one_thread<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run)
}
