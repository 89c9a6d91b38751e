//! `critape tape export` and `critape tape import`: a tape as one file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use critape_calls::call_to_json;
use critape_tape::{Chosen, ExportKey, Imported, Slice, Tape};

use super::{one_thread, tape};
use crate::args::{ExportArgs, ImportArgs};
use crate::exit::Exit;
use crate::filter::Filter;
use crate::output::bytes;
use crate::signals;

/// Stands for stdin or stdout.
const DASH: &str = "-";

/// How often one who waits for input looks whether the user wants it to end.
const STEP: Duration = Duration::from_millis(100);

pub(crate) fn export(args: ExportArgs) -> Result<Exit> {
    if is_stream(&args.file) {
        // There is nothing to clean up, and whoever reads it may make us wait.
        return export_now(&args, &Stop::default());
    }
    until_interrupted(move |stop| export_now(&args, stop))
}

fn export_now(args: &ExportArgs, stop: &Stop) -> Result<Exit> {
    let tape = Tape::open(&args.tape)?;
    let is_whole = args.filter.is_empty();
    let filter = Filter::new(args.filter.clone())?;
    let lines = args.ndjson || args.file.extension().is_some_and(|suffix| suffix == "ndjson");
    if lines && args.with_key {
        bail!("a list of calls has no room for a key: leave --with-key out, or export to a .critape file");
    }
    if lines {
        let calls = to_file(&args.file, stop, |out| list(&tape, &filter, out))?;
        say(&args.file, &format!("{calls} calls exported to {}", args.file.display()));
        return Ok(Exit::Done);
    }
    let slice = if is_whole { Slice::All } else { Slice::Calls(chosen(&tape, &filter, stop)?) };
    let key = if args.with_key { ExportKey::Included } else { ExportKey::Left };
    let exported = to_file(&args.file, stop, |out| Ok(critape_tape::export(&tape, &slice, key, out)?))?;
    let summary = format!(
        "{} calls and {} events in {} segments exported to {}, {}",
        exported.calls,
        exported.events,
        exported.segments,
        args.file.display(),
        bytes(exported.bytes)
    );
    say(&args.file, &summary);
    Ok(Exit::Done)
}

pub(crate) fn import(args: ImportArgs) -> Result<Exit> {
    until_interrupted(move |stop| {
        let file = &args.file;
        let imported = if is_dash(file) {
            read(Relay::of(io::stdin()), Path::new("stdin"), &args.tape, stop)?
        } else if file.is_dir() {
            bail!("{} is a folder: give a file that `critape tape export` wrote", file.display());
        } else {
            let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
            if is_stream(file) {
                read(Relay::of(opened), file, &args.tape, stop)?
            } else {
                read(opened, file, &args.tape, stop)?
            }
        };
        println!(
            "{} calls and {} events in {} segments imported onto {}",
            imported.calls,
            imported.events,
            imported.segments,
            args.tape.display()
        );
        Ok(Exit::Done)
    })
}

fn read(from: impl Read, name: &Path, tape: &Path, stop: &Stop) -> Result<Imported> {
    Ok(critape_tape::import(BufReader::new(Stoppable(from, stop)), name, tape)?)
}

/// The calls that a filter lets through.
fn chosen(tape: &Tape, filter: &Filter, stop: &Stop) -> Result<Chosen> {
    let objects = tape::index(tape)?;
    let mut chosen = Chosen::default();
    for call in tape.calls() {
        stop.check()?;
        let call = call?;
        if filter.matches(&call, &objects) {
            chosen.add(&call);
        }
    }
    Ok(chosen)
}

/// One call a line, in the order in which they ended.
fn list(tape: &Tape, filter: &Filter, out: &mut dyn Write) -> Result<u64> {
    let objects = tape::index(tape)?;
    let mut count = 0;
    for call in tape.calls() {
        let call = call?;
        if filter.matches(&call, &objects) {
            writeln!(out, "{}", call_to_json(&call))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Writes a file that only its owner may read, as with the tape, and that gets its name when it is whole; to stdout, or to what is no
/// file, as it comes.
fn to_file<T>(path: &Path, stop: &Stop, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let naming = || format!("writing {}", path.display());
    if is_dash(path) {
        let mut out = BufWriter::new(Stoppable(io::stdout().lock(), stop));
        let written = write(&mut out)?;
        out.flush()?;
        return Ok(written);
    }
    if path.is_dir() {
        bail!("{} is a folder: give the name of a file to be written", path.display());
    }
    if is_stream(path) {
        let file = File::options().write(true).open(path).with_context(naming)?;
        return write(&mut Stoppable(file, stop));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".export-").tempfile_in(folder).with_context(naming)?;
    let mut out = BufWriter::new(Stoppable(file, stop));
    let written = write(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error).with_context(naming)?;
    file.0.persist(path).map_err(|error| error.error).with_context(naming)?;
    Ok(written)
}

/// Whether this is stdin or stdout, or a pipe or a device.
fn is_stream(path: &Path) -> bool {
    is_dash(path) || fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == DASH
}

/// Says what was done, where stdout is not what was written.
fn say(file: &Path, summary: &str) {
    if !is_dash(file) {
        println!("{summary}");
    }
}

/// Whether the user wants it to end.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

/// What is read on a thread of its own, since it may never come.
struct Relay {
    chunks: Receiver<io::Result<Vec<u8>>>,
    current: Cursor<Vec<u8>>,
}

impl Relay {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::sync_channel(2);
        // Not waited for: it ends with what it reads, with its receiver, or with the program.
        thread::spawn(move || {
            loop {
                let mut chunk = vec![0; 64 << 10];
                let read = from.read(&mut chunk).map(|count| {
                    chunk.truncate(count);
                    chunk
                });
                let is_last = !matches!(&read, Ok(chunk) if !chunk.is_empty());
                if sender.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        Self { chunks, current: Cursor::default() }
    }
}

impl Read for Relay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.current.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        match self.chunks.recv_timeout(STEP) {
            Ok(chunk) => self.current = Cursor::new(chunk?),
            // Asked again by whoever reads, who looks whether to stop first.
            Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::Interrupted.into()),
            Err(RecvTimeoutError::Disconnected) => return Ok(0),
        }
        self.current.read(buffer)
    }
}

/// Fails once the user wants it to end, so that what was begun is cleaned up.
struct Stoppable<'a, T>(T, &'a Stop);

impl<T: Read> Read for Stoppable<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.check()?;
        self.0.read(buffer)
    }
}

impl<T: Write> Write for Stoppable<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.check()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Runs what blocks, and tells it to stop on SIGINT and SIGTERM.
fn until_interrupted(work: impl FnOnce(&Stop) -> Result<Exit> + Send + 'static) -> Result<Exit> {
    one_thread()?.block_on(async {
        let stop = Stop::default();
        let shutdown = signals::shutdown()?;
        let seen = stop.clone();
        let mut working = tokio::task::spawn_blocking(move || work(&seen));
        tokio::select! {
            result = &mut working => return result?,
            () = shutdown => {}
        }
        stop.0.store(true, Ordering::Relaxed);
        match working.await? {
            // It was done all the same.
            Ok(exit) => Ok(exit),
            Err(_) => Ok(Exit::Interrupted),
        }
    })
}
