//! How the program ends: exit codes are a contract.

use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use critape_differ::Verdict;
use critape_replayer::ReplayError;

/// Writes a line to stderr, where that can be done: nobody is left to be told otherwise.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

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
    let detail = if first.ends_with(':') { format!(" {}", missing.join(", ")) } else { String::new() };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        say!("error: no command was given");
    } else {
        say!("{first}{detail}");
    }
    if let Some(suggestion) =
        error.get(ContextKind::SuggestedArg).or_else(|| error.get(ContextKind::SuggestedSubcommand))
    {
        say!("did you mean {suggestion}?");
    }
    say!("`critape --help` and `critape COMMAND --help` tell what there is");
    Exit::Failed
}

/// Says why the command could not run, in three lines at most.
pub(crate) fn failed(error: &anyhow::Error) -> Exit {
    if let Some(ReplayError::Interrupted { .. }) = error.downcast_ref() {
        say!("{error}");
        return Exit::Interrupted;
    }
    let text = whole(error);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    say!("error: {}", lines.join("\n"));
    Exit::Failed
}

/// An error with its causes. Many errors name their cause themselves; it is not said twice.
fn whole(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told {
        told if told.is_empty() => cause,
        told if told.contains(&cause) => told,
        told => format!("{told}: {cause}"),
    })
}
