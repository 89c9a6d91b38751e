//! Whether the recorder's memory stays flat: 64 connections, messages up to 64 KiB, for as long as is asked.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::args::SoakArgs;
use crate::lanes;
use crate::load::{Caller, IMAGE_STATUS, Messages, Random, Target, Timer, on_one_thread};
use crate::process::{Memory, Process};
use crate::stats::quantile;

const CONNECTIONS: usize = 64;
/// Small ones are as frequent as large ones are rare: each doubling is as likely as any other.
const SIZES: [usize; 11] = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
/// How many samples are taken, roughly.
const SAMPLES: f64 = 720.0;
const LEAST_SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// What may be resident, in bytes.
const MOST_RESIDENT: u64 = 64 << 20;
/// What the last quarter may have more than the second.
const GROWTH: f64 = 1.1;
/// What a process takes when it begins is no growth.
const LEAST_TO_JUDGE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    memory: Memory,
    calls: u64,
}

pub(crate) fn measure(args: &SoakArgs) -> Result<()> {
    let time = Duration::from_secs_f64(args.minutes * 60.0);
    let folder = tempfile::tempdir()?;
    let (_echo, upstream) = lanes::echo(folder.path())?;
    let socket = folder.path().join("on.sock");
    let recorder = lanes::recorder(&upstream, &socket, folder.path(), &[])?;
    println!(
        "{CONNECTIONS} connections, {} calls/s, messages of {} B to {} KiB both ways, {:.0} minutes; recorder is process {}",
        args.rate,
        SIZES[0],
        SIZES[SIZES.len() - 1] / 1024,
        args.minutes,
        recorder.id()
    );
    let made = Rc::new(Cell::new(0));
    let samples = on_one_thread(async {
        let begun = Instant::now();
        let mut callers = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let caller = Caller::connect(&Target::Unix(socket.clone())).await?;
            let pace = Duration::from_secs_f64(CONNECTIONS as f64 / f64::from(args.rate));
            callers.spawn_local(call_on(caller, connection, pace, begun + time, made.clone()));
        }
        let watched = watch(&recorder, begun, time, &made, args.csv.as_deref());
        let (samples, ()) = tokio::try_join!(watched, async {
            while let Some(done) = callers.join_next().await {
                done?.context("rejected: a call failed")?;
            }
            Ok(())
        })?;
        Ok(samples)
    })?;
    let recorded = lanes::stop_recorder(recorder, folder.path(), made.get())?;
    println!(
        "{} calls recorded, 0 lost, {} gaps; {:.0} MB on the wire, {:.0} MB stored",
        recorded.calls,
        recorded.gaps,
        recorded.wire as f64 / 1e6,
        recorded.stored as f64 / 1e6
    );
    draw(&samples);
    ensure!(recorded.gaps == 0, "rejected: the tape has gaps");
    judge(&samples)
}

/// Calls at `pace` until `end`, with messages of all sizes.
async fn call_on(
    caller: Caller,
    connection: usize,
    pace: Duration,
    end: Instant,
    made: Rc<Cell<u64>>,
) -> Result<()> {
    let mut random = Random(connection as u64);
    let messages: Vec<Messages> =
        SIZES.iter().map(|&size| Messages::of(size, 4, connection as u64)).collect();
    let timer = Timer::new()?;
    // Not all at once.
    let mut due = Instant::now() + pace.mul_f64(random.share());
    while due < end {
        timer.until(due).await?;
        let message = messages[random.below(SIZES.len())].get(random.below(SIZES.len()));
        caller.call(IMAGE_STATUS, message).await?;
        made.set(made.get() + 1);
        due += pace;
    }
    Ok(())
}

async fn watch(
    recorder: &Process,
    begun: Instant,
    time: Duration,
    made: &Cell<u64>,
    csv: Option<&Path>,
) -> Result<Vec<Sample>> {
    let mut csv = csv.map(File::create).transpose()?;
    if let Some(csv) = &mut csv {
        writeln!(csv, "seconds,resident_bytes,peak_bytes,calls")?;
    }
    let every = LEAST_SAMPLE_EVERY.max(time.div_f64(SAMPLES));
    let mut samples = Vec::new();
    while begun.elapsed() < time {
        tokio::time::sleep(every).await;
        let sample = Sample { at: begun.elapsed(), memory: recorder.memory()?, calls: made.get() };
        if let Some(csv) = &mut csv {
            let Memory { resident, peak } = sample.memory;
            writeln!(csv, "{:.1},{resident},{peak},{}", sample.at.as_secs_f64(), sample.calls)?;
        }
        samples.push(sample);
    }
    Ok(samples)
}

/// One line for each of so many stretches of equal length, with the most that was resident in it.
fn draw(samples: &[Sample]) {
    const LINES: usize = 20;
    const WIDTH: u64 = 64;
    for stretch in samples.chunks(samples.len().div_ceil(LINES).max(1)) {
        let most = stretch.iter().map(|sample| sample.memory.resident).max().unwrap_or_default();
        let at = stretch.first().map_or(Duration::ZERO, |sample| sample.at);
        let bar = "#".repeat((most * WIDTH / MOST_RESIDENT) as usize);
        println!("{:>7.1} min  {:>5.1} MiB  {bar}", at.as_secs_f64() / 60.0, mebibytes(most));
    }
    println!("{:>12} one # is 1 MiB; {} MiB are allowed", "", MOST_RESIDENT >> 20);
}

fn judge(samples: &[Sample]) -> Result<()> {
    let quarter = |number: usize| {
        let quarter = samples.len() / 4;
        let mut resident: Vec<u64> = samples
            .iter()
            .skip(number * quarter)
            .take(quarter)
            .map(|sample| sample.memory.resident)
            .collect();
        resident.sort_unstable();
        quantile(&resident, 0.5)
    };
    let peak = samples.last().map(|sample| sample.memory.peak).unwrap_or_default();
    let (second, last) = (quarter(1), quarter(3));
    println!(
        "most resident {:.1} MiB; median of the second quarter {:.1} MiB, of the last {:.1} MiB (× {:.2})",
        mebibytes(peak),
        mebibytes(second),
        mebibytes(last),
        last as f64 / second as f64
    );
    ensure!(peak <= MOST_RESIDENT, "more than {} MiB were resident", MOST_RESIDENT >> 20);
    if samples.last().is_none_or(|sample| sample.at < LEAST_TO_JUDGE) {
        println!("met: at most {} MiB; too short to tell whether memory is flat", MOST_RESIDENT >> 20);
        return Ok(());
    }
    ensure!(last as f64 <= second as f64 * GROWTH, "memory grows");
    println!("met: at most {} MiB, and flat", MOST_RESIDENT >> 20);
    Ok(())
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
