//! `critape tape repair`: mends recordings.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use critape_tape::{Repaired, repair};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::{Format, print_json};

pub(super) fn run(tape: &Path, output: Format) -> Result<Exit> {
    let repaired = repair(tape)?;
    match output {
        Format::Json => print_json(&repaired_json(tape, &repaired))?,
        Format::Table => print_repaired(tape, &repaired)?,
    }
    Ok(if repaired.is_mended() { Exit::Done } else { Exit::Different })
}

fn repaired_json(tape: &Path, repaired: &Repaired) -> Value {
    json!({
        "tape": tape.display().to_string(),
        "whole": repaired.is_mended(),
        "repairs": repaired.repairs.iter().map(|repair| json!({
            "segment": repair.segment(),
            "what": repair.to_string(),
            "mended": repair.is_mended(),
            "kept": repair.kept().map(|path| path.display().to_string()),
        })).collect::<Vec<_>>(),
    })
}

fn print_repaired(tape: &Path, repaired: &Repaired) -> Result<()> {
    let mut out = io::stdout().lock();
    for repair in &repaired.repairs {
        match repair.segment() {
            Some(segment) => writeln!(out, "segment {segment}: {repair}")?,
            None => writeln!(out, "{repair}")?,
        }
    }
    let tape = tape.display();
    match (repaired.repairs.is_empty(), repaired.is_mended()) {
        (true, _) => writeln!(out, "{tape} is whole: nothing was to be mended")?,
        (false, true) => writeln!(out, "{tape} is mended")?,
        (false, false) => writeln!(out, "{tape} is whole again, without what could not be read")?,
    }
    Ok(())
}
