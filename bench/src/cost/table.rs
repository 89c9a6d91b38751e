//! What was measured, for people.

use super::{Cell, Measured};
use crate::lanes::Lane;
use crate::stats::Spread;

/// What the recorder may add to the p50 of a call, in units of what the bare relay adds.
const AGAINST_BARE: f64 = 1.15;
/// The same in units of what Envoy adds.
const AGAINST_ENVOY: f64 = 1.0 / 3.0;
/// What must be left of direct's calls a second with the most in flight.
const AGAINST_DIRECT: f64 = 0.90;
/// Calls a second that must be recorded without loss.
const RECORDED_RATE: f64 = 20_000.0;

impl Cell {
    fn lane(&self, lane: Lane) -> Option<&Measured> {
        self.lanes.iter().find(|measured| measured.lane == lane)
    }

    /// A figure of a lane and of another, round by round.
    fn paired(&self, lane: Lane, other: Lane, of: impl Fn(&Self, Lane, usize) -> f64) -> Option<Spread> {
        let rounds = self.lane(lane)?.rounds.len().min(self.lane(other)?.rounds.len());
        let ratios = (0..rounds).map(|round| of(self, lane, round) / of(self, other, round));
        // Where the other one added nothing, noise was all there was.
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).collect();
        (!ratios.is_empty()).then(|| Spread::of(ratios))
    }

    /// What a lane added to direct's p50, in µs.
    fn added(&self, lane: Lane, round: usize) -> f64 {
        let p50 = |lane| self.lane(lane).map_or(f64::NAN, |measured| measured.rounds[round].p50);
        p50(lane) - p50(Lane::Direct)
    }

    fn rate(&self, lane: Lane, round: usize) -> f64 {
        self.lane(lane).map_or(f64::NAN, |measured| measured.rounds[round].rate)
    }

    fn added_against(&self, lane: Lane, other: Lane) -> Option<Spread> {
        self.paired(lane, other, Self::added)
    }

    fn rate_against_direct(&self, lane: Lane) -> Option<Spread> {
        self.paired(lane, Lane::Direct, Self::rate)
    }
}

pub(super) fn print(cell: &Cell) {
    let load = cell.lane(Lane::Direct).map_or(0.0, |direct| direct.load);
    println!(
        "{} B, {} in flight; {load:.0} calls/s due where nothing else is said; other programs had {:.2} processors meanwhile",
        cell.size, cell.in_flight, cell.others
    );
    println!(
        "  {:<9} {:>18} {:>18} {:>18} {:>20} {:>24} {:>18} {:>14}",
        "LANE", "P50 µs", "ADDED", "ADDED ÷ BARE", "P99 µs", "CALLS/S", "CALLS/S ÷ DIRECT", "CPU"
    );
    for measured in &cell.lanes {
        let of = |figure: fn(&super::Round) -> f64| Spread::of(measured.rounds.iter().map(figure));
        let text = |spread: Option<Spread>| spread.map(|spread| spread.with(2)).unwrap_or_default();
        let is_direct = measured.lane == Lane::Direct;
        let added = Spread::of((0..measured.rounds.len()).map(|round| cell.added(measured.lane, round)));
        let note =
            if measured.is_saturated { format!("  at {:.0} calls/s", measured.load) } else { String::new() };
        println!(
            "  {:<9} {:>18} {:>18} {:>18} {:>20} {:>24} {:>18} {:>14}{note}",
            measured.lane.name(),
            of(|round| round.p50).to_string(),
            if is_direct { String::new() } else { added.to_string() },
            if is_direct { String::new() } else { text(cell.added_against(measured.lane, Lane::Bare)) },
            of(|round| round.p99).to_string(),
            of(|round| round.rate).to_string(),
            if is_direct { String::new() } else { text(cell.rate_against_direct(measured.lane)) },
            of(|round| round.processor).with(1),
        );
    }
    if let Some(recorded) = cell.recorded {
        println!(
            "  {} calls recorded, 0 lost; {:.0} MB on the wire, {:.0} MB stored{}",
            recorded.calls,
            recorded.wire as f64 / 1e6,
            recorded.stored as f64 / 1e6,
            if recorded.gaps > 0 {
                format!("; {} GAPS: bodies were left out", recorded.gaps)
            } else {
                String::new()
            }
        );
    }
    println!();
}

/// The budgets, and by how much they are met or missed.
pub(super) fn print_verdicts(cells: &[Cell]) {
    println!("\nours on, against its budgets");
    for cell in cells {
        let name = format!("{} B × {}", cell.size, cell.in_flight);
        let most = |what: &str, value: Option<Spread>, limit: f64| {
            let Some(value) = value else { return };
            let verdict = if value.median <= limit { "met" } else { "MISSED" };
            println!("  {name:<12} {what:<28} {:>18}  at most {limit:.2}  {verdict}", value.with(2));
        };
        most("added p50 ÷ bare's", cell.added_against(Lane::On, Lane::Bare), AGAINST_BARE);
        most("added p50 ÷ envoy's", cell.added_against(Lane::On, Lane::Envoy), AGAINST_ENVOY);
        most("added p50 ÷ hyper's", cell.added_against(Lane::On, Lane::Hyper), AGAINST_ENVOY);
        let least = |what: &str, value: Option<Spread>, limit: f64, digits: usize| {
            let Some(value) = value else { return };
            let verdict = if value.median >= limit { "met" } else { "MISSED" };
            let value = value.with(digits);
            println!("  {name:<12} {what:<28} {value:>18}  at least {limit:.digits$}  {verdict}");
        };
        if cell.in_flight > 1 {
            least("calls/s ÷ direct", cell.rate_against_direct(Lane::On), AGAINST_DIRECT, 2);
            if cell.size <= 1024 {
                let recorded =
                    cell.lane(Lane::On).map(|on| Spread::of(on.rounds.iter().map(|round| round.rate)));
                least("recorded calls/s", recorded, RECORDED_RATE, 0);
            }
        }
    }
}
