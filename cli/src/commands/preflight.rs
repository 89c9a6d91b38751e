//! What is said before the first call of a replay, and `critape replay --preflight`.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use critape_differ::{Effect, render_limitations};
use critape_replayer::{Preflight, Replay, ReplayError};
use serde_json::json;

use super::one_thread;
use crate::exit::Exit;
use crate::output;
use crate::reporting::{ReportArgs, ReportFormat};
use crate::signals;

/// Lines that are said before a replay.
const SAID: usize = 8;

/// The forms of what a preflight finds.
#[derive(Clone, Copy, Debug)]
enum Form {
    Text,
    Json,
}

/// Refuses, before anything is run, forms in which it can't be given: nothing was compared, so there is no report.
pub(super) fn check(args: &ReportArgs) -> Result<()> {
    if !matches!(args.output, ReportFormat::Table | ReportFormat::Json) {
        bail!("--preflight gives a table or JSON: leave -o out, or write -o json");
    }
    args.files.iter().try_for_each(|path| form(path).map(drop))
}

/// Looks, prints what it finds, and does no more.
pub(super) fn run(replay: &Replay, args: &ReportArgs) -> Result<Exit> {
    let found = one_thread()?.block_on(async {
        let shutdown = signals::shutdown()?;
        tokio::select! {
            found = replay.preflight() => Ok(found?),
            () = shutdown => Err(anyhow::Error::from(ReplayError::Interrupted { removed: 0 })),
        }
    })?;
    let shown = if args.output == ReportFormat::Json { Form::Json } else { Form::Text };
    // First, so that it is not lost where a file can't be written; and a reader that went away does not keep the files from it.
    let printed = io::stdout().lock().write_all(render(&found, shown)?.as_bytes()).map_err(Into::into);
    if matches!(shown, Form::Text) {
        left_over(&found);
    }
    for path in &args.files {
        fs::write(path, render(&found, form(path)?)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    match printed {
        Err(error) if !output::is_broken_pipe(&error) => return Err(error),
        _ => {}
    }
    Ok(if stands_in_the_way(&found) { Exit::Inconclusive } else { Exit::Done })
}

fn form(path: &Path) -> Result<Form> {
    match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("json") => Ok(Form::Json),
        Some("txt") => Ok(Form::Text),
        _ => bail!("{}: --preflight compares nothing, and is written to .json or .txt only", path.display()),
    }
}

fn render(found: &Preflight, form: Form) -> Result<String> {
    Ok(match form {
        Form::Json => {
            let document = json!({
                "live": found.live,
                "preflight": found.limitations,
                "left_over": found.left_over,
            });
            serde_json::to_string_pretty(&document)? + "\n"
        }
        Form::Text => format!("{}{}\n", render_limitations(&found.limitations), verdict(found)),
    })
}

fn verdict(found: &Preflight) -> &'static str {
    if found.limitations.iter().any(|it| it.effect == Effect::Refused) {
        "the replay would not begin"
    } else if stands_in_the_way(found) {
        "some calls can't be as they were recorded"
    } else {
        "nothing stands in the way"
    }
}

fn stands_in_the_way(found: &Preflight) -> bool {
    found.limitations.iter().any(|it| matches!(it.effect, Effect::Refused | Effect::Inconclusive))
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
