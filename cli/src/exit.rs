//! How the program ends: exit codes are a contract.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use critape_differ::Verdict;
use critape_replayer::ReplayError;

use crate::output;

/// The ends that scripts tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or the same.
    Done,
    /// Divergences, or damage.
    Different,
    /// No divergence, but too much could not be compared.
    Inconclusive,
    /// It could not run.
    Failed,
    /// It was interrupted before the result, and cleaned up.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Different => 1,
            Exit::Inconclusive => 2,
            Exit::Failed => 3,
            Exit::Interrupted => 130,
        })
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Same => Self::Done,
            Verdict::Different => Self::Different,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}

/// Says what was wrong with the arguments, in three lines at most; or prints the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Nothing to be done where stdout is closed.
        let _ = error.print();
        return Exit::Done;
    }
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("error: bad usage").to_owned();
    // What is missing stands on lines of its own, before the usage.
    let missing: Vec<&str> =
        lines.by_ref().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("tip:")).collect();
    let offered = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!(": give one of {}", values.join(", "))
        }
        _ => String::new(),
    };
    let detail = if first.ends_with(':') { format!(" {}", missing.join(", ")) } else { offered };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::say(format_args!("error: no command was given"));
    } else {
        output::say(format_args!("{first}{detail}"));
    }
    if let Some(suggestion) =
        error.get(ContextKind::SuggestedArg).or_else(|| error.get(ContextKind::SuggestedSubcommand))
    {
        output::say(format_args!("did you mean {suggestion}?"));
    }
    output::say(format_args!("`critape --help` and `critape COMMAND --help` tell what there is"));
    Exit::Failed
}

/// Says why the command could not run, in three lines at most.
pub(crate) fn failed(error: &anyhow::Error) -> Exit {
    if let Some(ReplayError::Interrupted { .. }) = error.downcast_ref() {
        output::say(format_args!("{error}"));
        return Exit::Interrupted;
    }
    // Some messages carry their cause already: it is not said twice.
    let text = error
        .chain()
        .map(ToString::to_string)
        .reduce(|text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") });
    let text = text.unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    output::say(format_args!("error: {}", lines.join("\n")));
    Exit::Failed
}
