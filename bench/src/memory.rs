//! Whether the recorder's memory stays bounded under twenty messages of 20 MB at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::lanes;
use crate::load::{Caller, IMAGE_STATUS, Messages, Target, on_one_thread};
use crate::process::Memory;
use crate::soak::mebibytes;

const AT_ONCE: usize = 20;
const BYTES: usize = 20_000_000;
/// How often that many at once.
const WAVES: usize = 3;
const BUDGET: &str = "48MiB";
const BUDGET_BYTES: u64 = 48 << 20;
/// What the recorder may hold beyond the bodies that wait: its code, its store, sockets' buffers.
const BESIDES: u64 = 64 << 20;
const SAMPLE_EVERY: Duration = Duration::from_millis(10);

pub(crate) fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_echo, upstream) = lanes::echo(folder.path())?;
    let socket = folder.path().join("on.sock");
    let recorder = lanes::recorder(&upstream, &socket, folder.path(), &["--memory", BUDGET])?;
    let before = recorder.memory()?;
    println!(
        "{WAVES} times {AT_ONCE} calls at once, each with {} MB there and back, through --memory {BUDGET}",
        BYTES / 1_000_000
    );
    let target = Target::Unix(socket);
    let (most, took) = on_one_thread(async {
        let messages = Messages::of(BYTES, 2, 0);
        let begun = Instant::now();
        let mut calls = JoinSet::new();
        for index in 0..AT_ONCE {
            let caller = Caller::connect(&target).await?;
            let messages = messages.clone();
            calls.spawn_local(async move {
                for wave in 0..WAVES {
                    let length = caller.call(IMAGE_STATUS, messages.get(index + wave)).await?;
                    ensure!(length == messages.get(index + wave).len(), "a message came back shorter");
                }
                Ok(())
            });
        }
        let mut most = Memory::default();
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        while !calls.is_empty() {
            tokio::select! {
                Some(done) = calls.join_next() => done?.context("rejected: a call failed")?,
                _ = ticks.tick() => {}
            }
            let now = recorder.memory()?;
            most = Memory { resident: most.resident.max(now.resident), peak: now.peak };
        }
        Ok((most, begun.elapsed()))
    })?;
    println!(
        "resident: {:.1} MiB before, at most {:.1} MiB seen, peak {:.1} MiB",
        mebibytes(before.resident),
        mebibytes(most.resident),
        mebibytes(most.peak)
    );
    let made = (AT_ONCE * WAVES) as u64;
    let recorded = lanes::stop_recorder(recorder, folder.path(), made)?;
    println!(
        "all {made} calls succeeded in {:.1} s and are on the tape, with {} gaps; {:.0} MB on the wire, {:.1} MB stored",
        took.as_secs_f64(),
        recorded.gaps,
        recorded.wire as f64 / 1e6,
        recorded.stored as f64 / 1e6
    );
    ensure!(recorded.gaps > 0, "rejected: more was kept than --memory allows, or the load was too small");
    let limit = BUDGET_BYTES + BESIDES;
    ensure!(most.peak <= limit, "more than --memory and {:.0} MiB were resident", mebibytes(BESIDES));
    println!("met: at most --memory and {:.0} MiB", mebibytes(BESIDES));
    Ok(())
}
