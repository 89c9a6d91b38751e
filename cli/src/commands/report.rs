//! Reports, to stdout and to files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use critape_calls::time_text;
use critape_differ::{Baseline, Color, Form, Report, Rules, render_suppressed, write_baseline};

use crate::exit::Exit;
use crate::output::{self, color};
use crate::reporting::{ReportArgs, ReportFormat};
use crate::values;

/// How long what a written baseline accepts stays accepted.
const BASELINE_HOLDS: jiff::SignedDuration = jiff::SignedDuration::from_hours(90 * 24);

/// The rules in force: the standard ones, and before them those of these files, the first of them first.
pub(crate) fn rules(files: &[PathBuf]) -> Result<Rules> {
    files.iter().rev().try_fold(Rules::standard(), |rules, path| {
        let text = text_of(path, "a rules file")?;
        let own = Rules::parse(&path.display().to_string(), &text)?;
        let problems = own.check(&Rules::standard()).problems.len();
        if problems > 0 {
            output::say(format_args!(
                "note: rules in {path} let too much pass or nothing ({problems}): see `critape rules check {path}`",
                path = path.display()
            ));
        }
        Ok(rules.overridden_by(own))
    })
}

/// Reads a file that is to be this.
pub(super) fn text_of(path: &Path, what: &str) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    String::from_utf8(bytes).with_context(|| format!("{} is not {what}", path.display()))
}

/// Refuses what can't be read or written, and files whose form their names don't tell, before anything is run.
pub(crate) fn check_files(args: &ReportArgs) -> Result<()> {
    baseline(args)?;
    args.files.iter().try_for_each(|path| form(path).map(drop))?;
    if let Some(path) = &args.write_baseline
        && path.exists()
        && args.baseline.as_ref() != Some(path)
    {
        bail!(
            "{} exists: its notes would be lost; give it with --baseline too, or another name",
            path.display()
        );
    }
    args.files.iter().chain(&args.write_baseline).try_for_each(|path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            bail!("{}: its folder is not there: make it first", path.display());
        }
        if path.is_dir() {
            bail!("{} is a folder: give the name of a file in it", path.display());
        }
        Ok(())
    })
}

/// Prints a report and writes it to the files that were asked for; first what the baseline holds is marked.
pub(crate) fn give(report: &Report, args: &ReportArgs) -> Result<Exit> {
    let mut report = report.clone();
    if let Some(baseline) = baseline(args)? {
        baseline.apply(&mut report, &day(jiff::SignedDuration::ZERO)?);
    }
    // First, so that it is not lost where a file can't be written; and a reader that went away does not keep the files from it.
    let printed = print(&report, args.output).and_then(|()| {
        if args.show_suppressed && args.output == ReportFormat::Table {
            io::stdout().lock().write_all(render_suppressed(&report.suppressed).as_bytes())?;
        }
        Ok(())
    });
    for path in &args.files {
        let text = form(path)?.render(&report, Color::Plain)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.write_baseline {
        let text = write_baseline(&report, &day(BASELINE_HOLDS)?);
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    match printed {
        Err(error) if !output::is_broken_pipe(&error) => Err(error),
        _ => Ok(report.verdict.into()),
    }
}

/// Prints a report.
pub(crate) fn print(report: &Report, form: impl Into<Form>) -> Result<()> {
    let stdout = io::stdout();
    let shown = if color(&stdout) { Color::Shown } else { Color::Plain };
    let text = form.into().render(report, shown)?;
    Ok(stdout.lock().write_all(text.as_bytes())?)
}

fn baseline(args: &ReportArgs) -> Result<Option<Baseline>> {
    let Some(path) = &args.baseline else { return Ok(None) };
    let text = text_of(path, "a baseline")?;
    Ok(Some(Baseline::parse(&path.display().to_string(), &text)?))
}

/// The day, in UTC, that lies so far from now.
fn day(from_now: jiff::SignedDuration) -> Result<String> {
    let at = values::now().plus(from_now.unsigned_abs());
    time_text(at).get(..10).map(str::to_owned).context("telling the day")
}

fn form(path: &Path) -> Result<Form> {
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    match Form::of_suffix(suffix) {
        Some(form) => Ok(form),
        None => {
            bail!("{}: the name of a report must end with .json, .txt, .xml, .md or .html", path.display())
        }
    }
}
