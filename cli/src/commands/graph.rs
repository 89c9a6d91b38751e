//! `critape tape graph`: the things of a tape, who made each, and who named it where.

use std::io::{self, Write};

use anyhow::Result;
use cri::IdentityKind;
use critape_calls::{EventKind, IdGraph, ObjectIndex, Thing};
use critape_tape::Tape;
use serde_json::{Value, json};

use crate::args::{GraphArgs, GraphForm};
use crate::exit::Exit;
use crate::output::print_json;

pub(super) fn graph(args: &GraphArgs) -> Result<Exit> {
    let tape = Tape::open(&args.tape)?;
    let (mut graph, mut objects) = (IdGraph::default(), ObjectIndex::default());
    for event in tape.events() {
        if let EventKind::Opening(opening) = event?.kind {
            objects.observe_opening(&opening);
        }
    }
    for call in tape.calls() {
        let call = call?;
        objects.observe(&call);
        graph.observe(&call);
    }
    graph.name(&objects);
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.output {
        GraphForm::Text => text(&graph, &mut out)?,
        GraphForm::Dot => dot(&graph, &mut out)?,
        GraphForm::Json => print_json(&graph.things().map(|(id, thing)| shown(&graph, id, thing)).collect())?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn text(graph: &IdGraph, out: &mut impl Write) -> io::Result<()> {
    for (id, thing) in ordered(graph) {
        let name = thing.name.as_deref().unwrap_or_default();
        writeln!(out, "{} {id} {name}", kind(thing.kind))?;
        match thing.made_by {
            Some(call) => writeln!(out, "    made by call {call}")?,
            None if is_made(thing.kind) => writeln!(out, "    older than the tape")?,
            None => {}
        }
        for (used, times) in &thing.uses {
            let place = if used.in_text { "inside" } else { "as" };
            let first = times.first;
            writeln!(
                out,
                "    {place} {}.{} ×{}, first in call {first}",
                used.method, used.field, times.count
            )?;
        }
    }
    Ok(())
}

fn dot(graph: &IdGraph, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "digraph tape {{\n  rankdir=LR;\n  node [shape=box];")?;
    for (id, thing) in ordered(graph) {
        let name = thing.name.clone().unwrap_or_else(|| id.chars().take(20).collect());
        let style = if thing.made_by.is_none() && is_made(thing.kind) { ", style=dashed" } else { "" };
        writeln!(
            out,
            "  {} [label={}{style}];",
            quoted(id),
            quoted(&format!("{}\n{name}", kind(thing.kind)))
        )?;
        for (other, field) in graph.within(id) {
            writeln!(out, "  {} -> {} [label={}];", quoted(other), quoted(id), quoted(field))?;
        }
    }
    writeln!(out, "}}")
}

fn shown(graph: &IdGraph, id: &str, thing: &Thing) -> Value {
    let uses = thing.uses.iter().map(|(used, times)| {
        json!({"method": used.method, "field": used.field, "in_text": used.in_text, "count": times.count, "first_call": times.first.0})
    });
    let within = graph.within(id).iter().map(|(other, field)| json!({"id": other, "field": field}));
    json!({
        "id": id,
        "kind": kind(thing.kind),
        "name": thing.name,
        "made_by": thing.made_by.map(|call| call.0),
        "within": within.collect::<Vec<_>>(),
        "uses": uses.collect::<Vec<_>>(),
    })
}

/// Pods first, then what is in them; images last.
fn ordered(graph: &IdGraph) -> Vec<(&str, &Thing)> {
    let mut things: Vec<_> = graph.things().collect();
    things.sort_by_key(|(id, thing)| (rank(thing.kind), thing.name.clone(), thing.made_by, *id));
    things
}

fn rank(kind: IdentityKind) -> usize {
    match kind {
        IdentityKind::PodUid => 0,
        IdentityKind::Sandbox => 1,
        IdentityKind::Container => 2,
        IdentityKind::Object => 3,
        IdentityKind::Image => 4,
        IdentityKind::Token => 5,
    }
}

fn kind(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::PodUid => "pod-uid",
        IdentityKind::Sandbox => "sandbox",
        IdentityKind::Container => "container",
        IdentityKind::Object => "object",
        IdentityKind::Image => "image",
        IdentityKind::Token => "token",
    }
}

/// Whether calls make it.
fn is_made(kind: IdentityKind) -> bool {
    matches!(kind, IdentityKind::Sandbox | IdentityKind::Container)
}

/// A string of DOT.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
