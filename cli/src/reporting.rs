//! What can be asked of reports: how they are made, in which form they are given, and what is accepted.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use critape_differ::Form;

use crate::output::Format;
use crate::values;

/// How a report is made and given.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// Rules that come before the standard ones. May be given again: the first that fits a field counts
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
    /// List differences that rules let pass, with examples, below the report; -o json always has them
    #[arg(long)]
    pub(crate) show_suppressed: bool,
    /// The share of calls that may stay inconclusive
    #[arg(long, value_parser = values::share, default_value = "1%", value_name = "N%")]
    pub(crate) max_inconclusive: f64,
    /// Findings that are accepted: they are shown and do not count
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Write a baseline that accepts what was found, for you to go through; it expires after 90 days
    #[arg(long, value_name = "FILE")]
    pub(crate) write_baseline: Option<PathBuf>,
    /// Form of the report
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: ReportFormat,
    /// Also write the report to a file; .json, .txt, .xml for test results, .md or .html tells the form. May be given again
    #[arg(long = "report", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    #[default]
    Table,
    /// For scripts; see docs/report.md.
    Json,
    /// For what shows tests.
    Junit,
    /// For a pull request.
    Markdown,
    /// One file for a browser.
    Html,
}

impl From<ReportFormat> for Form {
    fn from(format: ReportFormat) -> Self {
        match format {
            ReportFormat::Table => Self::Table,
            ReportFormat::Json => Self::Json,
            ReportFormat::Junit => Self::Junit,
            ReportFormat::Markdown => Self::Markdown,
            ReportFormat::Html => Self::Html,
        }
    }
}

impl From<Format> for Form {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A report in JSON, as --report FILE.json writes it
    pub(crate) report: PathBuf,
    /// The id of a finding, or how it begins
    pub(crate) finding: String,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}
