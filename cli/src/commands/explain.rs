//! `critape explain`.

use std::fs;
use std::io::{self, Write};

use anyhow::{Context, Result, anyhow, bail};
use critape_differ::{Color, Finding, Report, explain, repeat};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::{Format, color, print_json};
use crate::reporting::ExplainArgs;

/// The version of reports that can be read.
const VERSION: u32 = 1;

pub(crate) fn run(args: &ExplainArgs) -> Result<Exit> {
    let report = read(args)?;
    let finding = find(&report, args)?;
    match args.output {
        Format::Table => {
            let stdout = io::stdout();
            let shown = if color(&stdout) { Color::Shown } else { Color::Plain };
            stdout.lock().write_all(explain(&report, finding, shown).as_bytes())?;
        }
        Format::Json => print_json(&json!({
            "recorded": report.recorded,
            "live": report.live,
            "finding": finding,
            "repeat": repeat(&report, finding),
        }))?,
    }
    Ok(Exit::Done)
}

fn read(args: &ExplainArgs) -> Result<Report> {
    let path = args.report.display();
    let bytes = fs::read(&args.report).with_context(|| format!("reading {path}"))?;
    let is_none = |error: serde_json::Error| {
        anyhow!(
            "{path} is not a report in JSON ({error}): write one with `critape replay … --report report.json`"
        )
    };
    // Before the rest, which may be another in another version.
    let value: Value = serde_json::from_slice(&bytes).map_err(is_none)?;
    if let Some(version) = value["version"].as_u64().filter(|version| *version != u64::from(VERSION)) {
        bail!(
            "{path} is a report of version {version}, and this program reads version {VERSION}: explain it with the critape that wrote it"
        );
    }
    serde_json::from_slice(&bytes).map_err(is_none)
}

fn find<'a>(report: &'a Report, args: &ExplainArgs) -> Result<&'a Finding> {
    let (path, wanted) = (args.report.display(), &args.finding);
    match report.finding(wanted) {
        Ok(finding) => Ok(finding),
        Err(_) if report.findings.is_empty() => bail!("{path} has no findings"),
        Err(ids) if ids.is_empty() => {
            bail!("{path} has no finding {wanted:?}: its table gives the ids in brackets")
        }
        Err(ids) => bail!("{wanted:?} fits {} findings of {path}: {}", ids.len(), ids.join(", ")),
    }
}
