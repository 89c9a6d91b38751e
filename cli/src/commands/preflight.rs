//! What is said before the first call of a replay, and `critape replay --preflight`.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use critape_differ::{Effect, render_limitations};
use critape_replayer::{Preflight, Replay, ReplayError};
use serde_json::json;

use super::one_thread;
use crate::exit::Exit;
use crate::output;
use crate::reporting::ReportFormat;
use crate::signals;

/// Lines that are said before a replay.
const SAID: usize = 8;

/// Looks, prints what it finds, and does no more.
pub(super) fn run(replay: &Replay, form: ReportFormat) -> Result<Exit> {
    if !matches!(form, ReportFormat::Table | ReportFormat::Json) {
        bail!("--preflight gives a table or JSON: leave -o out, or write -o json");
    }
    let found = one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        tokio::select! {
            found = replay.preflight() => Ok(found?),
            () = shutdown => Err(anyhow::Error::from(ReplayError::Interrupted { removed: 0 })),
        }
    })?;
    let stands_in_the_way = found.limitations.iter().any(|it| it.effect == Effect::Inconclusive);
    if form == ReportFormat::Json {
        output::print_json(&json!({
            "live": found.live,
            "preflight": found.limitations,
            "left_over": found.left_over,
        }))?;
    } else {
        io::stdout().lock().write_all(render_limitations(&found.limitations).as_bytes())?;
        let verdict = if stands_in_the_way {
            "some calls can't be as they were recorded"
        } else {
            "nothing stands in the way"
        };
        writeln!(io::stdout(), "{verdict}")?;
        left_over(&found);
    }
    Ok(if stands_in_the_way { Exit::Inconclusive } else { Exit::Done })
}

/// Says in a few lines what can't be as it was recorded.
pub(super) fn say(found: &Preflight) {
    left_over(found);
    // What is sent and judged as all others is for those who ask.
    let told: Vec<_> = found.limitations.iter().filter(|it| it.effect != Effect::Sent).collect();
    for line in render_limitations(told.iter().take(SAID).copied()).lines() {
        output::say(format_args!("preflight: {line}"));
    }
    if told.len() > SAID {
        output::say(format_args!("preflight: and {} more, which --preflight lists", told.len() - SAID));
    }
}

fn left_over(found: &Preflight) {
    if found.left_over > 0 {
        output::say(format_args!(
            "note: an earlier replay left {} sandboxes: `critape replay --clean` removes them",
            found.left_over
        ));
    }
}
