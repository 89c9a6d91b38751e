//! `critape tape`: looks at recordings.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use critape_calls::{Call, CallId, ObjectIndex, call_to_json, time_text};
use critape_tape::{Info, Retention, Tape, TapeError, Verified, is_tape, pack_segment, prune};
use serde_json::{Value, json};

use crate::args::{ShowArgs, TapeCommand};
use crate::exit::Exit;
use crate::filter::{Filter, subjects};
use crate::output::{Format, bytes, print_json, short};

pub(crate) fn run(command: TapeCommand) -> Result<Exit> {
    match command {
        TapeCommand::List { folder, output } => list(&folder, output),
        TapeCommand::Info { tape, output } => {
            print_info(&Tape::open(&tape)?, output)?;
            Ok(Exit::Done)
        }
        TapeCommand::Show(args) => show(args),
        TapeCommand::Export(args) => super::export::export(args),
        TapeCommand::Import(args) => super::export::import(args),
        TapeCommand::PackSegment { tape, number } => {
            // Whoever else wants the processors may have them.
            let _ = rustix::process::nice(19);
            pack_segment(&tape, number)?;
            Ok(Exit::Done)
        }
        TapeCommand::Graph(args) => super::graph::graph(&args),
        TapeCommand::Verify { tape, output } => verify(&tape, output),
        TapeCommand::Repair { tape, output } => super::repair::run(&tape, output),
        TapeCommand::Prune { tape, max_size, max_age } => {
            let retention = Retention { max_bytes: max_size, max_age };
            let pruned = prune(&tape, retention, crate::values::now())?;
            println!("{} segments deleted, {} freed", pruned.segments, bytes(pruned.bytes));
            Ok(Exit::Done)
        }
    }
}

fn list(folder: &Path, output: Format) -> Result<Exit> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut found: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_tape(path)).collect();
    if is_tape(folder) {
        found.push(folder.to_owned());
    }
    found.sort();
    let mut out = io::stdout().lock();
    let mut documents = Vec::new();
    for path in found {
        match (Tape::open(&path).and_then(|tape| tape.info()), output) {
            (Ok(info), Format::Json) => documents.push(info_json(&path, &info)),
            (Ok(info), Format::Table) => writeln!(out, "{}", one_line(&path, &info))?,
            (Err(error), Format::Json) => {
                documents.push(json!({"tape": path.display().to_string(), "error": error.to_string()}));
            }
            (Err(error), Format::Table) => writeln!(out, "{}  {error}", path.display())?,
        }
    }
    drop(out);
    if output == Format::Json {
        print_json(&Value::from(documents))?;
    }
    Ok(Exit::Done)
}

fn one_line(path: &Path, info: &Info) -> String {
    let started = info.summary.span.map(|(started, _)| time_text(started)).unwrap_or_default();
    let runtime =
        info.summary.runtime.as_ref().map(|(name, version)| format!("{name} {version}")).unwrap_or_default();
    let state = match (info.is_clean(), info.is_open()) {
        (false, _) => "unclean",
        (true, true) => "being written",
        (true, false) => "clean",
    };
    format!(
        "{}  {started}  {} calls  {}  {runtime}  {state}",
        path.display(),
        info.summary.calls,
        bytes(info.stored_bytes)
    )
}

/// Prints what a tape is and holds.
pub(crate) fn print_info(tape: &Tape, output: Format) -> Result<()> {
    let info = tape.info()?;
    match output {
        Format::Json => print_json(&info_json(tape.path(), &info)),
        Format::Table => print_info_table(tape.path(), &info),
    }
}

/// The same, as a document.
pub(crate) fn info_json(path: &Path, info: &Info) -> Value {
    let summary = &info.summary;
    let (name, version) = summary.runtime.clone().unzip();
    json!({
        "tape": path.display().to_string(),
        "format": info.format,
        "generations": summary.generations,
        "runtime": {"name": name, "version": version},
        "clean": info.is_clean(),
        "mended": info.mended(),
        "seal": info.seal(),
        "key": info.has_key,
        "open": info.is_open(),
        "segments": info.segments.len(),
        "started": summary.span.map(|(started, _)| time_text(started)),
        "ended": summary.span.map(|(_, ended)| time_text(ended)),
        "connections": summary.connections,
        "calls": summary.calls,
        "events": summary.events,
        "bytes": {"wire": summary.traffic, "stored": info.stored_bytes},
        "gaps": summary.gaps.iter().map(|(at, gap)| json!({
            "at": time_text(*at), "calls": gap.calls, "bytes": gap.bytes, "reason": gap.reason.to_string(),
        })).collect::<Vec<_>>(),
        "peers": summary.peers_by_calls().iter().map(|peer| json!({
            "exe": peer.exe, "uid": peer.uid, "calls": peer.calls,
        })).collect::<Vec<_>>(),
    })
}

fn print_info_table(path: &Path, info: &Info) -> Result<()> {
    let summary = &info.summary;
    let mut out = io::stdout().lock();
    let mut line = |name: &str, value: String| writeln!(out, "{name:<12} {value}");
    line("tape", path.display().to_string())?;
    line("format", info.format.to_string())?;
    if let Some((name, version)) = &summary.runtime {
        line("runtime", format!("{name} {version}"))?;
    }
    line("generations", summary.generations.iter().cloned().collect::<Vec<_>>().join(", "))?;
    if let Some((started, ended)) = summary.span {
        line("started", time_text(started))?;
        line("ended", format!("{} ({})", time_text(ended), short(ended.since(started))))?;
    }
    line("segments", format!("{}, {}", info.segments.len(), how_closed(info)))?;
    line(
        "calls",
        format!("{} on {} connections, {} events", summary.calls, summary.connections, summary.events),
    )?;
    line("bytes", format!("{} on the wire, {} stored", bytes(summary.traffic), bytes(info.stored_bytes)))?;
    line("sealed", how_sealed(info))?;
    for peer in summary.peers_by_calls() {
        let exe = if peer.exe.is_empty() { "(unknown)" } else { &peer.exe };
        let uid = peer.uid.map_or_else(|| "?".to_owned(), |uid| uid.to_string());
        line("client", format!("{exe}, uid {uid}: {} calls", peer.calls))?;
    }
    for (at, gap) in &summary.gaps {
        line(
            "gap",
            format!("{}: {} calls, {} ({})", time_text(*at), gap.calls, bytes(gap.bytes), gap.reason),
        )?;
    }
    Ok(())
}

fn how_sealed(info: &Info) -> String {
    let key = if info.has_key { "the key is here" } else { "the key is not here" };
    match info.seal() {
        "none" => "nothing".to_owned(),
        "mixed" => format!("one way in some segments and another in others, {key}"),
        policy => format!("{policy}, {key}"),
    }
}

fn how_closed(info: &Info) -> String {
    let mended = info.mended();
    if info.is_open() && info.is_clean() && mended.is_empty() {
        "being written".to_owned()
    } else if !info.is_clean() {
        "the recorder was killed: what it had committed is there".to_owned()
    } else if mended.is_empty() {
        "closed in order".to_owned()
    } else {
        let numbers: Vec<String> = mended.iter().map(ToString::to_string).collect();
        format!("closed in order but for {}, mended by a repair", numbers.join(", "))
    }
}

fn show(args: ShowArgs) -> Result<Exit> {
    let mut tape = Tape::open(&args.tape)?;
    if args.unseal {
        if !tape.has_key() {
            bail!(
                "{} has no key: copy the one it was recorded with to {}",
                args.tape.display(),
                args.tape.join("key").display()
            );
        }
        tape = tape.unsealed()?;
    }
    if tape.is_empty() {
        bail!("{} has no segments: they are gone, or were never begun", args.tape.display());
    }
    if let Some(call) = args.call {
        return show_one(&tape, call);
    }
    let filter = Filter::new(args.filter)?;
    if args.follow {
        return follow(&tape, &filter, args.output);
    }
    let mut damage = None;
    let objects = index_of(&tape, &mut damage)?;
    let mut calls: Vec<Call> = Vec::new();
    for call in tape.calls() {
        if let Some(call) = readable(call, &mut damage)?.filter(|call| filter.matches(call, &objects)) {
            calls.push(call);
        }
    }
    calls.sort_by_key(|call| (call.started, call.id));
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.output == Format::Table && !calls.is_empty() {
        writeln!(out, "{}", headings())?;
    }
    for call in &calls {
        writeln!(out, "{}", listed(call, &objects, args.output))?;
    }
    out.flush()?;
    match damage {
        // What can be read was shown.
        Some(damage) => Err(damage.into()),
        None => Ok(Exit::Done),
    }
}

/// What was read, unless a segment is damaged: then the others are read all the same, and the first damage is kept.
fn readable<T>(read: Result<T, TapeError>, damage: &mut Option<TapeError>) -> Result<Option<T>, TapeError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error @ TapeError::Damaged { .. }) => {
            damage.get_or_insert(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Lists calls when they end, until the recorder ends.
fn follow(tape: &Tape, filter: &Filter, output: Format) -> Result<Exit> {
    // What the ids name is learnt on the way.
    let mut objects = ObjectIndex::default();
    let mut out = io::stdout().lock();
    if output == Format::Table {
        writeln!(out, "{}", headings())?;
        out.flush()?;
    }
    for call in tape.following_calls() {
        let call = call?;
        objects.observe(&call);
        if filter.matches(&call, &objects) {
            writeln!(out, "{}", listed(&call, &objects, output))?;
            out.flush()?;
        }
    }
    Ok(Exit::Done)
}

fn headings() -> String {
    format!(
        "{:>6}  {:<15}  {:<12}  {:<24}  {:<32}  {:<20}  {:>8}",
        "CALL", "TIME", "CLIENT", "METHOD", "OBJECT", "OUTCOME", "TOOK"
    )
}

fn listed(call: &Call, objects: &ObjectIndex, output: Format) -> String {
    match output {
        Format::Json => call_to_json(call).to_string(),
        Format::Table => row(call, objects),
    }
}

/// What the ids of a tape name: learnt from all of it, so that calls before an object's first listing are told too.
pub(super) fn index(tape: &Tape) -> Result<ObjectIndex> {
    let mut damage = None;
    let objects = index_of(tape, &mut damage)?;
    damage.map_or(Ok(objects), |damage| Err(damage.into()))
}

fn index_of(tape: &Tape, damage: &mut Option<TapeError>) -> Result<ObjectIndex> {
    let mut objects = ObjectIndex::default();
    for event in tape.events() {
        if let Some(critape_calls::EventKind::Opening(opening)) = readable(event, damage)?.map(|it| it.kind) {
            objects.observe_opening(&opening);
        }
    }
    for call in tape.calls() {
        if let Some(call) = readable(call, damage)? {
            objects.observe(&call);
        }
    }
    Ok(objects)
}

fn row(call: &Call, objects: &ObjectIndex) -> String {
    let time = time_text(call.started);
    // The time of day, to the microsecond.
    let time = time.get(11..26).unwrap_or(&time);
    let client = call.peer.as_ref().map_or("?", |peer| peer.exe.rsplit('/').next().unwrap_or_default());
    let method = call.path.rsplit('/').next().unwrap_or(&call.path);
    let object = subjects(call, objects).first().map(ToString::to_string);
    let object = object.or_else(|| image(call)).unwrap_or_default();
    let outcome = match call.outcome.ending {
        critape_calls::Ending::Status => call.outcome.code.to_string(),
        other => other.name().to_owned(),
    };
    let took = short(call.duration());
    format!("{:>6}  {time:<15}  {client:<12}  {method:<24}  {object:<32}  {outcome:<20}  {took:>8}", call.id)
}

/// The image that a call is about.
fn image(call: &Call) -> Option<String> {
    let (method, bytes) = call.method().zip(call.request())?;
    let request = critape_calls::decode(method.input(), bytes)?;
    let named = critape_calls::identities(&request, &method.request_ids);
    named.into_iter().find(|id| id.kind == cri::IdentityKind::Image).map(|id| id.value)
}

fn show_one(tape: &Tape, id: CallId) -> Result<Exit> {
    for call in tape.calls() {
        let call = call?;
        if call.id == id {
            print_json(&call_to_json(&call))?;
            return Ok(Exit::Done);
        }
    }
    bail!(
        "{} has no call {id}: `critape tape show {}` lists them",
        tape.path().display(),
        tape.path().display()
    )
}

fn verify(path: &Path, output: Format) -> Result<Exit> {
    let tape = Tape::open(path)?;
    let since = std::time::Instant::now();
    let verified = tape.verify()?;
    match output {
        Format::Json => print_json(&verified_json(path, &verified))?,
        Format::Table => print_verified(path, &verified, since.elapsed())?,
    }
    Ok(if verified.damage.is_empty() { Exit::Done } else { Exit::Different })
}

fn verified_json(path: &Path, verified: &Verified) -> Value {
    json!({
        "tape": path.display().to_string(),
        "whole": verified.damage.is_empty(),
        "clean": verified.unclean.is_empty(),
        "segments": verified.segments,
        "calls": verified.calls,
        "events": verified.events,
        "unclean": verified.unclean,
        "damage": verified.damage.iter().map(|damage| json!({"segment": damage.segment, "what": damage.what})).collect::<Vec<_>>(),
    })
}

fn print_verified(path: &Path, verified: &Verified, took: Duration) -> Result<()> {
    let mut out = io::stdout().lock();
    for segment in &verified.unclean {
        writeln!(
            out,
            "segment {segment}: it was not closed: its recorder was killed, or it was exported meanwhile; what was committed is there"
        )?;
    }
    for damage in &verified.damage {
        writeln!(out, "segment {}: {}", damage.segment, damage.what)?;
    }
    let verdict = if verified.damage.is_empty() { "whole" } else { "damaged" };
    writeln!(
        out,
        "{} is {verdict}: {} calls and {} events in {} segments read in {}",
        path.display(),
        verified.calls,
        verified.events,
        verified.segments,
        short(took)
    )?;
    Ok(())
}
