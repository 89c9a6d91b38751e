//! Exports of each format, kept as they were written: they stay readable.
//!
//! `cargo test -p critape-tape --test it -- --ignored golden` writes those of the newest format anew. Do that only together with a new
//! format number; files of older formats are never written again.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use critape_tape::{ExportKey, Slice, Tape};

use crate::export::{exported, imported, write_segment};
use crate::samples::{STARTED, one_of_each};

const NEWEST: u32 = 1;

fn golden(format: u32, suffix: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/format-{format}.{suffix}"))
}

/// All that a reader can tell of a tape.
fn listing(tape: &Tape) -> String {
    let info = tape.info().unwrap();
    let mut text = String::new();
    for segment in &info.segments {
        let closed = if segment.clean { "closed" } else { "not closed" };
        let started = segment.started.0;
        writeln!(text, "segment {} of {:?}, begun at {started}, {closed}", segment.number, segment.writer)
            .unwrap();
    }
    writeln!(text, "{:?}", info.summary.span.unwrap()).unwrap();
    for event in tape.events() {
        writeln!(text, "{:?}", event.unwrap()).unwrap();
    }
    text
}

#[test]
fn exports_of_every_format_stay_readable() {
    for format in 1..=NEWEST {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tape");
        let tape = imported(&fs::read(golden(format, "critape")).unwrap(), &path);
        assert!(tape.verify().unwrap().damage.is_empty());
        assert_eq!(listing(&tape), fs::read_to_string(golden(format, "txt")).unwrap());
        assert_eq!(fs::read(path.join("key")).unwrap(), [7; 64]);
    }
}

#[test]
#[ignore = "writes the golden files of the newest format"]
fn golden_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    write_segment(&path, STARTED, &one_of_each(), true);
    write_segment(&path, STARTED + 3_000_000, &one_of_each(), false);
    fs::write(path.join("key"), [7; 64]).unwrap();
    fs::write(golden(NEWEST, "critape"), exported(&path, &Slice::All, ExportKey::Included)).unwrap();
    fs::write(golden(NEWEST, "txt"), listing(&Tape::open(&path).unwrap())).unwrap();
}
