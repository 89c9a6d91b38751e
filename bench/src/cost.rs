//! What each lane costs a caller.

mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::args::CostArgs;
use crate::lanes::{self, Lane, Open, Recorded};
use crate::load::{Messages, closed_loop, open_loop};
use crate::machine::{self, Times};
use crate::stats::{Spread, micros};

/// How long one lane is loaded in one way in one round.
const PHASE: Duration = Duration::from_millis(600);
const QUICK_PHASE: Duration = Duration::from_millis(60);
/// The load on schedule, as a share of what the slowest transparent lane can take.
const LOAD: f64 = 0.5;
/// The same with one call at a time. Who sleeps between calls takes longer over each than who makes one after the other, and what a
/// stall has delayed must soon be made up for.
const LOAD_ONE_BY_ONE: f64 = 0.25;
/// How often what a lane can take is tried; the best counts.
const TRIES: usize = 3;
/// A lane that can't take this share more than the load is measured under one of its own.
const HEADROOM: f64 = 1.25;
/// Between two looks at whether a lane has come to rest.
const REST_POLL: Duration = Duration::from_millis(20);
const REST_LIMIT: Duration = Duration::from_secs(20);

/// What one lane did in one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Under the load on schedule, in µs.
    p50: f64,
    p99: f64,
    /// As fast as it went, in calls a second.
    rate: f64,
    /// Processor time of the lane's process for a call, in µs.
    processor: f64,
}

/// A lane and all that it did with messages of one size, so many at a time.
#[derive(Debug)]
struct Measured {
    lane: Lane,
    /// Calls a second that were due.
    load: f64,
    /// It can't take the load that the transparent ones were under.
    is_saturated: bool,
    rounds: Vec<Round>,
}

/// All lanes, with messages of one size, so many at a time.
#[derive(Debug)]
struct Cell {
    size: usize,
    in_flight: usize,
    lanes: Vec<Measured>,
    recorded: Option<Recorded>,
    /// Processors that other programs had meanwhile.
    others: f64,
}

pub(crate) fn measure(args: &CostArgs) -> Result<()> {
    let phase = if args.quick { QUICK_PHASE } else { PHASE };
    let wanted: Vec<Lane> = if args.lanes.is_empty() { Lane::ALL.to_vec() } else { args.lanes.clone() };
    let lanes: Vec<Lane> = Lane::ALL
        .into_iter()
        .filter(|lane| matches!(lane, Lane::Direct | Lane::Bare) || wanted.contains(lane))
        .collect();
    println!(
        "{} rounds, lanes in turn and in changing order, {} ms on schedule and as long as fast as it goes each; \
         median [quartiles] of the rounds.\nADDED is the lane's p50 less direct's of the same round, in µs; CPU is what the \
         lane's process took for a call, in µs.\n",
        args.rounds,
        phase.as_millis()
    );
    let mut patience = Duration::from_secs(args.patience);
    let mut cells = Vec::new();
    for &size in &args.sizes {
        for &in_flight in &args.in_flight {
            let shape = Shape { size, in_flight, phase, rounds: args.rounds };
            let cell = measure_cell(&lanes, shape, &mut patience)?;
            table::print(&cell);
            cells.push(cell);
        }
    }
    if let Some(cell) = cells.first() {
        cell.lanes.iter().filter_map(|measured| measured.lane.note()).for_each(|note| println!("{note}."));
    }
    table::print_verdicts(&cells);
    Ok(())
}

/// What is measured of each lane.
#[derive(Clone, Copy, Debug)]
struct Shape {
    size: usize,
    in_flight: usize,
    phase: Duration,
    rounds: usize,
}

fn measure_cell(lanes: &[Lane], shape: Shape, patience: &mut Duration) -> Result<Cell> {
    let Shape { size, in_flight, .. } = shape;
    let folder = tempfile::tempdir()?;
    let mut opened = open_all(lanes, folder.path())?;
    let messages = Messages::new(size);
    let mut made = vec![0; opened.len()];
    machine::wait_until_quiet(&opened, patience)?;
    let mut measured = schedule(&opened, &messages, shape, &mut made)?;
    let mut others = Vec::new();
    for round in 0..shape.rounds {
        for index in order(round, opened.len()) {
            machine::wait_until_quiet(&opened, patience)?;
            let before = Times::now(&opened)?;
            let (shown, calls) = one_round(&opened[index], measured[index].load, &messages, shape)
                .with_context(|| format!("{} with {in_flight} × {size} B", opened[index].lane.name()))?;
            others.push(Times::now(&opened)?.others_since(before));
            measured[index].rounds.push(shown);
            made[index] += calls;
        }
    }
    let on = opened.iter().position(|open| open.lane == Lane::On);
    let recorded = match on {
        Some(on) => Some(lanes::stop_recorder(opened.remove(on).process, folder.path(), made[on])?),
        None => None,
    };
    Ok(Cell { size, in_flight, lanes: measured, recorded, others: Spread::of(others).median })
}

/// Opens the lanes; one that is not installed is left out, and said to be.
fn open_all(lanes: &[Lane], folder: &Path) -> Result<Vec<Open>> {
    let (process, upstream) = lanes::echo(folder)?;
    let target = crate::load::Target::Unix(upstream.socket.clone());
    let mut opened = vec![Open { lane: Lane::Direct, target, process }];
    for &lane in lanes.iter().filter(|&&lane| lane != Lane::Direct) {
        match lanes::open(lane, &upstream, folder) {
            Ok(open) => opened.push(open),
            Err(error) if lane.is_foreign() => println!("{}: left out: {error:#}", lane.name()),
            Err(error) => return Err(error),
        }
    }
    Ok(opened)
}

/// Finds out what the lanes can take, and from that the load under which latency is measured.
fn schedule(opened: &[Open], messages: &Messages, shape: Shape, made: &mut [u64]) -> Result<Vec<Measured>> {
    let mut can = vec![0.0_f64; opened.len()];
    for turn in 0..TRIES * opened.len() {
        let index = turn % opened.len();
        let open = &opened[index];
        let run = closed_loop(&open.target, messages, shape.in_flight, shape.phase)
            .with_context(|| format!("trying {}", open.lane.name()))?;
        rest(open)?;
        made[index] += run.made;
        can[index] = can[index].max(run.rate);
    }
    let share = if shape.in_flight == 1 { LOAD_ONE_BY_ONE } else { LOAD };
    let transparent = opened.iter().zip(&can).filter(|(open, _)| open.lane.is_transparent());
    let load = share * transparent.map(|(_, &rate)| rate).fold(f64::INFINITY, f64::min);
    Ok(opened
        .iter()
        .zip(can)
        .map(|(open, can)| {
            let is_saturated = !open.lane.is_transparent() && can < load * HEADROOM;
            let load = if is_saturated { share * can } else { load };
            Measured { lane: open.lane, load, is_saturated, rounds: Vec::new() }
        })
        .collect())
}

fn one_round(open: &Open, load: f64, messages: &Messages, shape: Shape) -> Result<(Round, u64)> {
    let paced = open_loop(&open.target, messages, shape.in_flight, load, shape.phase)?;
    rest(open)?;
    let before = open.process.processor_time()?;
    let fast = closed_loop(&open.target, messages, shape.in_flight, shape.phase)?;
    rest(open)?;
    let took = open.process.processor_time()?.saturating_sub(before);
    let round = Round {
        p50: micros(paced.quantile(0.5)),
        p99: micros(paced.quantile(0.99)),
        rate: fast.rate,
        processor: micros(took) / fast.made as f64,
    };
    Ok((round, paced.made + fast.made))
}

/// Waits until a lane has nothing left to do: what the recorder has yet to write must not slow the next lane.
fn rest(open: &Open) -> Result<()> {
    let begun = Instant::now();
    let mut before = open.process.processor_time()?;
    loop {
        std::thread::sleep(REST_POLL);
        let now = open.process.processor_time()?;
        if now.saturating_sub(before) < REST_POLL / 10 {
            return Ok(());
        }
        ensure!(begun.elapsed() < REST_LIMIT, "{} does not come to rest", open.lane.name());
        before = now;
    }
}

/// Everybody once, beginning elsewhere each time, forwards and backwards in turn.
fn order(round: usize, lanes: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lanes).map(|turn| (round + turn) % lanes).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
