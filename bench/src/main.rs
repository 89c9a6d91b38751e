//! What critape costs: `cargo run --release -p critape-bench -- [cost|space]`.
//!
//! `cost`: what the recorder costs a caller, against no relay and a relay that only copies. `space`: what the tape of an idle node
//! takes on disk, against what went over the socket.
//!
//! All lanes call one simulator over unix sockets in one run, in turn and in changing order, so that the ratios hold whatever
//! else the machine does. A run in which a call failed, or the tape holds another number of calls than were made, is rejected.

mod lanes;
mod load;
mod space;

use std::path::Path;

use anyhow::{Result, ensure};
use lanes::{Lane, Lanes};
use load::Measured;

/// Rounds, each with every lane once.
const ROUNDS: usize = 7;
/// Calls of a lane in a round.
const CALLS: usize = 4_000;
/// Bytes of the request, roughly: a call as kubelet makes most, and one of a busy list.
const SIZES: [usize; 2] = [200, 16 * 1024];
const IN_FLIGHT: [usize; 2] = [1, 32];

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None | Some("cost") => cost(),
        Some("space") => space::measure(),
        Some(other) => anyhow::bail!("there is no benchmark {other:?}: give cost or space"),
    }
}

fn cost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let lanes = Lanes::start(folder.path())?;
    println!(
        "{:>8}  {:>9}  {:<9}  {:>9}  {:>9}  {:>10}  {:>9}  {:>12}",
        "BYTES", "IN FLIGHT", "LANE", "P50", "P99", "CALLS/S", "× DIRECT", "ADDED ÷ BARE"
    );
    let mut made = 0;
    for size in SIZES {
        for in_flight in IN_FLIGHT {
            made += compare(&lanes, size, in_flight)?;
        }
    }
    let recorded = lanes.stop(&folder.path().join("tape"))?;
    ensure!(
        recorded == made,
        "rejected: {made} calls were made through the recorder and {recorded} are on the tape"
    );
    println!("\n{recorded} calls recorded, 0 lost");
    Ok(())
}

/// Measures all lanes and prints them; says how many calls went through the recorder.
fn compare(lanes: &Lanes, size: usize, in_flight: usize) -> Result<u64> {
    let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); Lane::ALL.len()];
    for round in 0..ROUNDS {
        for turn in 0..Lane::ALL.len() {
            let index = (round + turn) % Lane::ALL.len();
            rounds[index].push(load::measure(lanes.endpoint(Lane::ALL[index]), size, in_flight, CALLS)?);
        }
    }
    let medians: Vec<Measured> = rounds.iter().map(|rounds| load::median(rounds)).collect();
    let [direct, bare, _] = [&medians[0], &medians[1], &medians[2]];
    for (lane, measured) in Lane::ALL.iter().zip(&medians) {
        let added = measured.p50.saturating_sub(direct.p50).as_secs_f64();
        let bare_added = bare.p50.saturating_sub(direct.p50).as_secs_f64();
        let against = if *lane == Lane::Recorder && bare_added > 0.0 {
            format!("{:.2}", added / bare_added)
        } else {
            String::new()
        };
        println!(
            "{size:>8}  {in_flight:>9}  {:<9}  {:>7}µs  {:>7}µs  {:>10.0}  {:>9.2}  {against:>12}",
            lane.name(),
            measured.p50.as_micros(),
            measured.p99.as_micros(),
            measured.rate,
            measured.rate / direct.rate,
        );
    }
    Ok((ROUNDS * CALLS) as u64)
}

/// Calls on a tape.
fn calls_on(tape: &Path) -> Result<u64> {
    Ok(critape_tape::Tape::open(tape)?.info()?.summary.calls)
}
