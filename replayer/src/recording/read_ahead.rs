//! What is on a tape, read on a thread of its own a little ahead of whoever takes it.

use std::sync::mpsc::sync_channel;
use std::thread;

use critape_calls::{Assembler, Call, EventKind, Opening};
use critape_tape::{Events, TapeError};

/// Items are handed on in batches of so many, or of so many bytes of messages.
const BATCH_ITEMS: usize = 128;
const BATCH_BYTES: u64 = 2 << 20;
/// Batches that wait to be taken.
pub(crate) const BATCHES: usize = 2;

/// Items on their way, or why there are no more.
pub(crate) type Batch<T> = Result<Vec<T>, TapeError>;

/// Collects items and hands them on.
pub(crate) struct Batches<T, S> {
    batch: Vec<T>,
    bytes: u64,
    hand_on: S,
}

impl<T, S: FnMut(Batch<T>) -> bool> Batches<T, S> {
    /// `hand_on` says whether anybody takes any more.
    pub(crate) fn new(hand_on: S) -> Self {
        Self { batch: Vec::new(), bytes: 0, hand_on }
    }

    /// Adds an item whose messages take so many bytes. Says whether more are wanted.
    pub(crate) fn put(&mut self, bytes: u64, item: T) -> bool {
        self.batch.push(item);
        self.bytes += bytes;
        if self.batch.len() < BATCH_ITEMS && self.bytes < BATCH_BYTES {
            return true;
        }
        self.bytes = 0;
        (self.hand_on)(Ok(std::mem::take(&mut self.batch)))
    }

    /// There are no more, for this reason if there is one. Where nobody takes any more, that is no concern of ours.
    pub(crate) fn end(mut self, error: Option<TapeError>) {
        (self.hand_on)(Ok(self.batch));
        if let Some(error) = error {
            (self.hand_on)(Err(error));
        }
    }
}

/// Something that a tape tells.
pub(crate) enum Told {
    /// What there was when a segment began.
    Opening(Opening),
    /// A call in common terms.
    Call(Box<Call>),
}

/// Hands out all that a tape tells, calls in the order of their ends; those without one come last.
pub(crate) fn each(events: &mut Events, mut take: impl FnMut(Told)) -> Result<(), TapeError> {
    let (send, batches) = sync_channel(BATCHES);
    thread::scope(|scope| {
        scope.spawn(move || read(events, Batches::new(|batch| send.send(batch).is_ok())));
        for batch in batches {
            batch?.into_iter().for_each(&mut take);
        }
        Ok(())
    })
}

fn read(events: &mut Events, mut batches: Batches<Told, impl FnMut(Batch<Told>) -> bool>) {
    let mut assembler = Assembler::default();
    for event in events {
        let mut event = match event {
            Ok(event) => event,
            Err(error) => return batches.end(Some(error)),
        };
        if let EventKind::Opening(opening) = &mut event.kind {
            let opening = std::mem::replace(opening, Opening { answers: Vec::new() });
            let bytes = opening.answers.iter().map(|answer| answer.response.len() as u64).sum();
            if !batches.put(bytes, Told::Opening(opening)) {
                return;
            }
        }
        if let Some(call) = assembler.push(event)
            && !batches.put(bytes_of(&call), Told::Call(Box::new(call.in_common_terms())))
        {
            return;
        }
    }
    for call in assembler.finish() {
        if !batches.put(bytes_of(&call), Told::Call(Box::new(call.in_common_terms()))) {
            return;
        }
    }
    batches.end(None);
}

/// Bytes that the messages of a call take.
pub(crate) fn bytes_of(call: &Call) -> u64 {
    call.requests.iter().chain(&call.responses).map(|message| message.body.len()).sum()
}
