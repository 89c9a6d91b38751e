//! Reports, to stdout and to files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use critape_differ::{Report, Rules, render_suppressed, render_table};

use crate::args::ReportArgs;
use crate::exit::Exit;
use crate::output::{self, Format, color, print_json};

/// The rules in force: the standard ones, and before them those of these files, the first of them first.
pub(crate) fn rules(files: &[PathBuf]) -> Result<Rules> {
    files.iter().rev().try_fold(Rules::standard(), |rules, path| {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(rules.overridden_by(Rules::parse(&path.display().to_string(), &text)?))
    })
}

/// Refuses files whose form their names don't tell, before anything is run.
pub(crate) fn check_files(args: &ReportArgs) -> Result<()> {
    args.files.iter().try_for_each(|path| {
        form(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            bail!("{}: its folder is not there: make it first", path.display());
        }
        Ok(())
    })
}

/// Prints a report and writes it to the files that were asked for.
pub(crate) fn give(report: &Report, args: &ReportArgs) -> Result<Exit> {
    // First, so that it is not lost where a file can't be written; and a reader that went away does not keep the files from it.
    let printed = print(report, args.output).and_then(|()| {
        if args.show_suppressed && args.output == Format::Table {
            io::stdout().lock().write_all(render_suppressed(&report.suppressed).as_bytes())?;
        }
        Ok(())
    });
    for path in &args.files {
        let text = match form(path)? {
            Format::Json => serde_json::to_string_pretty(report)? + "\n",
            Format::Table => render_table(report, false),
        };
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    match printed {
        Err(error) if !output::is_broken_pipe(&error) => Err(error),
        _ => Ok(report.verdict.into()),
    }
}

/// Prints a report.
pub(crate) fn print(report: &Report, format: Format) -> Result<()> {
    match format {
        Format::Json => print_json(&serde_json::to_value(report)?),
        Format::Table => {
            let stdout = io::stdout();
            let text = render_table(report, color(&stdout));
            Ok(stdout.lock().write_all(text.as_bytes())?)
        }
    }
}

fn form(path: &Path) -> Result<Format> {
    match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("json") => Ok(Format::Json),
        Some("txt") => Ok(Format::Table),
        _ => bail!("{}: the name of a report must end with .json or .txt", path.display()),
    }
}
