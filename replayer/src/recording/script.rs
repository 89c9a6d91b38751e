//! What a replay does, without the messages, and the calls themselves, read from the tape as their turn comes.
//!
//! A tape may hold days. So it is read twice: first for what each call is and when, then call by call a little ahead of the
//! replay. A call can be handed out once its recorded end has been read. Those that lasted long, which would keep everything
//! behind them waiting in memory, are few and are kept from the first reading.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use critape_calls::{Assembler, Call, CallId, ConnectionId, Stamp};
use critape_differ::Rules;
use critape_tape::{SealPolicy, Tape, TapeError};
use tokio::sync::mpsc;

use crate::judging::left_out::LeftOut;
use crate::judging::witness::Veil;
use crate::recording::polls::{Collapsed, Polls};
use crate::recording::read_ahead::{BATCHES, Batch, Batches, bytes_of};
use crate::recording::slice::{Selection, Slice, cut};
use crate::recording::survey::Survey;
use crate::recording::{RecordingError, changes_objects, each_call, is_event_stream, is_mutating};
use crate::schedule::order;

/// A call that lasted longer is kept in memory …
const LONG: Duration = Duration::from_secs(2);
/// … as long as all those take no more than this; streams of events always are.
const KEPT_BYTES: u64 = 64 << 20;

/// Which reads are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reads<'a> {
    All,
    /// Those that say something by these rules.
    Telling(&'a Rules),
}

/// Who makes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Process(u32),
    /// Where the process is not known.
    Connection(ConnectionId),
}

impl Client {
    pub(crate) fn of(call: &Call) -> Self {
        match &call.peer {
            Some(peer) if peer.pid > 0 => Self::Process(peer.pid),
            _ => Self::Connection(call.connection),
        }
    }
}

/// A call without its messages.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: CallId,
    pub(crate) client: Client,
    pub(crate) started: Stamp,
    pub(crate) ended: Stamp,
    /// When its client knew that it had ended.
    pub(crate) known: Stamp,
    pub(crate) is_mutating: bool,
    /// Whether it changes something that reads show.
    pub(crate) changes: bool,
    pub(crate) is_event_stream: bool,
    pub(crate) role: Role,
}

/// Why a call is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is of the part of the tape that was chosen.
    Meant,
    /// That follows from it.
    GoesAlong,
}

/// The calls of a tape that are to be replayed, in the order of their starts.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) calls: Vec<Entry>,
    /// Those of them that are not sent.
    pub(crate) collapsed: Collapsed,
    pub(crate) survey: Survey,
    /// What calls did that are not sent, where it is a part of the tape.
    pub(crate) left_out: Option<LeftOut>,
    pub(crate) sealed: SealPolicy,
    /// Seals again what its key has opened, for a report.
    pub(crate) veil: Veil,
    tape: Tape,
    kept: HashMap<CallId, Arc<Call>>,
    /// When the last change before each call had ended, and at the end.
    changed: Vec<Stamp>,
}

impl Script {
    /// Reads a tape, or the part of it that is meant.
    pub(crate) fn read(
        tape: &Tape,
        selection: Option<&Selection<'_>>,
        reads: Reads<'_>,
    ) -> Result<Self, RecordingError> {
        let slice = selection.map(|selection| Slice::of(tape, selection)).transpose()?;
        let until = selection.and_then(|selection| selection.until);
        let mut polls = match reads {
            Reads::All => None,
            Reads::Telling(rules) => Some(Polls::new(rules)),
        };
        let mut survey = Survey::default();
        let (mut calls, mut kept, mut kept_bytes, mut all) = (Vec::new(), HashMap::new(), 0, 0);
        let sealed = each_call(tape, &mut survey, |survey, call| {
            all += 1;
            let objects = slice.as_ref().map_or(&survey.objects, |slice| &slice.objects);
            let is_meant = selection.is_none_or(|it| (it.calls)(&call, objects));
            if !is_meant && !slice.as_ref().is_some_and(|slice| slice.needs(&call)) {
                return;
            }
            let call = cut(call, until);
            if let Some(polls) = &mut polls {
                polls.see(&call);
            }
            survey.needs.call(&call);
            let role = if is_meant { Role::Meant } else { Role::GoesAlong };
            let entry = Entry { role, ..Entry::of(&call) };
            let bytes = bytes_of(&call);
            if entry.is_event_stream || (call.duration() > LONG && kept_bytes + bytes <= KEPT_BYTES) {
                kept_bytes += bytes;
                kept.insert(call.id, Arc::new(call));
            }
            calls.push(entry);
        })?;
        if calls.is_empty() {
            let path = tape.path().to_owned();
            return Err(if all == 0 {
                RecordingError::Empty(path)
            } else {
                RecordingError::NoneSelected(path)
            });
        }
        calls.sort_by_key(|call| (call.started, call.id));
        let collapsed = polls.map(|polls| polls.collapse(&calls)).unwrap_or_default();
        let changed = changed_before(&calls);
        let veil = Veil::of(tape, survey.sealed)?;
        let left_out = slice.map(|slice| slice.left_out);
        Ok(Self { calls, collapsed, survey, left_out, sealed, veil, tape: tape.clone(), kept, changed })
    }

    /// Begins to read the calls, on a thread of its own; belongs inside a tokio runtime.
    pub(crate) fn reader(&self) -> Result<Reader, TapeError> {
        let wanted: BTreeMap<CallId, usize> = self
            .calls
            .iter()
            .enumerate()
            .filter(|(index, call)| !self.collapsed.is_collapsed(*index) && !self.kept.contains_key(&call.id))
            .map(|(index, call)| (call.id, index))
            .collect();
        let kept = self
            .calls
            .iter()
            .enumerate()
            .filter_map(|(index, call)| Some((index, self.kept.get(&call.id)?.clone())));
        let (batches, read) = mpsc::channel(BATCHES);
        let tape = self.tape.unsealed()?;
        // It ends when all is read, or when nobody takes any more.
        tokio::task::spawn_blocking(move || read_calls(&tape, wanted, &batches));
        Ok(Reader { read, waiting: kept.collect() })
    }

    /// The streams of events.
    pub(crate) fn event_streams(&self) -> impl Iterator<Item = (usize, &Arc<Call>)> {
        let streams = self.calls.iter().enumerate().filter(|(_, call)| call.is_event_stream);
        streams.filter_map(|(index, call)| Some((index, self.kept.get(&call.id)?)))
    }

    /// How long before this moment the last change had ended; nothing where there was none.
    pub(crate) fn since_change(&self, at: Stamp) -> Duration {
        let changed = self.changed[self.calls.partition_point(|call| call.started < at)];
        if changed > Stamp(0) { at.since(changed) } else { Duration::ZERO }
    }
}

impl Entry {
    pub(crate) fn of(call: &Call) -> Self {
        Self {
            id: call.id,
            client: Client::of(call),
            started: call.started,
            ended: call.ended,
            known: order::known(call),
            is_mutating: is_mutating(call),
            changes: changes_objects(call),
            is_event_stream: is_event_stream(call),
            role: Role::Meant,
        }
    }
}

fn changed_before(calls: &[Entry]) -> Vec<Stamp> {
    let latest = calls.iter().scan(Stamp(0), |last, call| {
        if call.is_mutating {
            *last = (*last).max(call.ended);
        }
        Some(*last)
    });
    std::iter::once(Stamp(0)).chain(latest).collect()
}

/// Hands out calls by their place in the script.
#[derive(Debug)]
pub(crate) struct Reader {
    read: mpsc::Receiver<Batch<(usize, Call)>>,
    waiting: HashMap<usize, Arc<Call>>,
}

impl Reader {
    /// The call at this place; once only. `None` where the tape no longer has it.
    pub(crate) async fn take(&mut self, index: usize) -> Result<Option<Arc<Call>>, TapeError> {
        loop {
            if let Some(call) = self.waiting.remove(&index) {
                return Ok(Some(call));
            }
            let Some(batch) = self.read.recv().await else { return Ok(None) };
            self.waiting.extend(batch?.into_iter().map(|(index, call)| (index, Arc::new(call))));
        }
    }
}

/// Reads until all calls that are wanted were read, or nobody takes them any more.
fn read_calls(
    tape: &Tape,
    mut wanted: BTreeMap<CallId, usize>,
    batches: &mpsc::Sender<Batch<(usize, Call)>>,
) {
    let mut assembler = Assembler::default();
    let mut batches = Batches::new(|batch| batches.blocking_send(batch).is_ok());
    for event in tape.events() {
        let event = match event {
            Ok(event) => event,
            Err(error) => return batches.end(Some(error)),
        };
        let Some(call) = assembler.push(event) else { continue };
        let Some(index) = wanted.remove(&call.id) else { continue };
        if !batches.put(bytes_of(&call), (index, call.in_common_terms())) {
            return;
        }
        if wanted.is_empty() {
            break;
        }
    }
    for call in assembler.finish() {
        let Some(index) = wanted.remove(&call.id) else { continue };
        if !batches.put(bytes_of(&call), (index, call.in_common_terms())) {
            return;
        }
    }
    batches.end(None);
}
