//! How a report tells of time on a terminal: how a replay kept it, and whether calls took as long as when they were recorded.

use std::fmt::{self, Write as _};

use super::text::rpc;
use crate::Report;

/// Methods named in the line about those that are not judged.
const SHOWN_METHODS: usize = 6;

pub(super) fn write(out: &mut String, report: &Report) -> fmt::Result {
    if let Some(lateness) = report.timing.and_then(|timing| timing.lateness) {
        let [half, most] = [lateness.p50, lateness.p99].map(milliseconds);
        write!(out, "pace      calls were late by {half} ms, 1 in 100 by more than {most} ms")?;
        if let Some(held) = report.timing.and_then(|timing| timing.held_up) {
            let max = milliseconds(held.max);
            write!(out, "; what {} calls follow from came up to {max} ms after they were due", held.calls)?;
        }
        writeln!(out)?;
    }
    if let Some(unsettled) = report.timing.and_then(|timing| timing.unsettled) {
        let max = milliseconds(unsettled.max);
        let reads = if unsettled.calls == 1 { "read was" } else { "reads were" };
        writeln!(out, "settling  {} {reads} asked again in vain, for up to {max} ms", unsettled.calls)?;
    }
    durations(out, report)
}

/// Of which methods it can't be told whether they take longer, and calls that stand out.
fn durations(out: &mut String, report: &Report) -> fmt::Result {
    let timed = || report.methods.iter().filter_map(|it| Some((rpc(&it.method), it.timed?)));
    let few: Vec<_> =
        timed().filter(|(_, it)| !it.judged).map(|(rpc, it)| format!("{rpc} ({})", it.calls)).collect();
    if !few.is_empty() {
        let more = few.len().saturating_sub(SHOWN_METHODS);
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        let named = few.iter().take(SHOWN_METHODS).map(String::as_str).collect::<Vec<_>>().join(", ");
        writeln!(out, "latency   too few calls to be judged: {named}{more}")?;
    }
    for (rpc, slow) in timed().filter_map(|(rpc, it)| Some((rpc, it.slow?))) {
        let [took, recorded] = [slow.took, slow.recorded].map(milliseconds);
        writeln!(
            out,
            "slow      {rpc} took {took} ms at call {}, and at most {recorded} ms when recorded",
            slow.call
        )?;
    }
    Ok(())
}

/// Nanoseconds in milliseconds.
fn milliseconds(nanos: u64) -> String {
    format!("{:.1}", nanos as f64 / 1e6)
}
