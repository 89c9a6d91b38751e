//! What the differ says of the answers of real runtimes with one thing changed: whether it is found, or which rule let it pass.

mod table;
mod tally;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use critape_calls::{Body, Call, Ending, Outcome, RecordedMessage, decode};
use critape_differ::mutation::{Mutant, Verdict, mutants, mutants_of_outcome};
use critape_differ::{Compared, Rules};
use critape_replayer::{Itself, Recording};
use critape_tape::Tape;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage};

use crate::args::MutationArgs;
use tally::Tally;

pub(crate) fn measure(args: &MutationArgs) -> Result<()> {
    let tapes = if args.tapes.is_empty() { golden()? } else { args.tapes.clone() };
    let rules = Rules::standard();
    let mut violations = 0;
    for file in &tapes {
        let folder = tempfile::tempdir()?;
        let tape = Tape::open(&opened(file, folder.path())?)?;
        let recording = Recording::read(&tape)?;
        let tally = of_recording(&recording, &rules);
        table::print(file, &recording, &tally, &rules);
        violations += tally.violations().len();
    }
    ensure!(
        violations == 0,
        "{violations} changes that nobody noticed, or messages that rules let pass as a whole"
    );
    Ok(())
}

/// The tapes of real runtimes that tests have.
fn golden() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/golden");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut tapes: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    tapes.retain(|path| path.extension().is_some_and(|suffix| suffix == "critape"));
    tapes.sort();
    Ok(tapes)
}

/// The tape; one in a file is unpacked.
fn opened(file: &Path, folder: &Path) -> Result<PathBuf> {
    if file.is_dir() {
        return Ok(file.to_owned());
    }
    let tape = folder.join("tape");
    let from = File::open(file).with_context(|| file.display().to_string())?;
    critape_tape::import(from, file, &tape)?;
    Ok(tape)
}

fn of_recording(recording: &Recording, rules: &Rules) -> Tally {
    let itself = Itself::new(recording, rules);
    let mut tally = Tally::default();
    for call in recording.calls() {
        let call = &call;
        let unchanged = itself.compare(call, call).zip(call.method());
        let Some((unchanged, method)) = unchanged else {
            tally.left_out += 1;
            continue;
        };
        tally.is_itself(call, &unchanged);
        for response in &call.responses {
            let message = response.body.kept().and_then(|bytes| decode(method.output(), bytes));
            let Some(message) = message else { continue };
            if is_foreign(&message, &itself) {
                tally.foreign_events += 1;
                continue;
            }
            tally.messages += 1;
            // Each message of a stream by itself: a stream of events has many.
            let call = Call { responses: vec![response.clone()], ..call.clone() };
            let unchanged = itself.compare(&call, &call).unwrap_or_default();
            mutants(&message, &mut |mutant| {
                let body = Body::Kept(mutant.value.encode_to_vec().into());
                let live = Call { responses: vec![RecordedMessage { body, ..*response }], ..call.clone() };
                judge(&itself, &mut tally, (&call, &unchanged), &live, &mutant);
            });
        }
        // How a stream of events ends is the client's affair.
        if call.outcome.ending == Ending::Status {
            mutants_of_outcome(&call.outcome, &mut |mutant: Mutant<Outcome>| {
                let live = Call { outcome: mutant.value.clone(), ..call.clone() };
                judge(&itself, &mut tally, (call, &unchanged), &live, &mutant);
            });
        }
    }
    tally
}

/// Whether it is an event of something that no call on the tape made, such as a sandbox that could not be made. Replays leave it out.
fn is_foreign(message: &DynamicMessage, itself: &Itself<'_>) -> bool {
    let is_event = message.descriptor().name() == "ContainerEventResponse";
    let id = message.get_field_by_name("container_id");
    is_event && id.is_some_and(|id| id.as_str().is_some_and(|id| !itself.made(id)))
}

fn judge<T>(
    itself: &Itself<'_>,
    tally: &mut Tally,
    (call, unchanged): (&Call, &Compared),
    live: &Call,
    mutant: &Mutant<T>,
) {
    if let Some(compared) = itself.compare(call, live) {
        tally.add(call, mutant, &Verdict::of(&compared, unchanged, &mutant.path));
    }
}
