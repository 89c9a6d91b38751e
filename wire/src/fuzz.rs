//! What fuzz targets run: the bytes themselves say who sends them, and the same bytes one by one must mean the
//! same.

use crate::authority::AuthorityFilter;
use crate::event::{Event, Limits, Side, Sink};
use crate::frame::PREFACE;
use crate::observer::Observer;

/// Notes what is told, and what is owed for admitted bodies.
#[derive(Default)]
struct Notes {
    events: Vec<Event>,
    owed: u64,
}

impl Sink for Notes {
    fn event(&mut self, event: Event) {
        if let Event::Message { body, .. } = &event {
            self.owed -= body.len() as u64;
        }
        self.events.push(event);
    }

    fn admit(&mut self, length: u32) -> bool {
        let admitted = !length.is_multiple_of(7);
        self.owed += if admitted { u64::from(length) } else { 0 };
        admitted
    }

    fn release(&mut self, length: u32) {
        self.owed -= u64::from(length);
    }
}

/// Limits near enough to be met.
const TIGHT: Limits = Limits {
    max_header_list: 4096,
    max_header_block: 1024,
    max_header_table: 8192,
    max_message: 1 << 16,
    max_streams: 8,
};

/// Pieces of a conversation: before each, a byte whose lowest bit is its side and whose other bits its length.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = (Side, &[u8])> {
    std::iter::from_fn(move || {
        let (control, rest) = data.split_first()?;
        let (piece, rest) = rest.split_at(usize::from(control >> 1).min(rest.len()));
        data = rest;
        Some((if control & 1 == 0 { Side::Client } else { Side::Server }, piece))
    })
}

/// Observes a conversation after the client's preface.
///
/// # Panics
/// Where pieces make a difference or an admitted body is unaccounted for.
pub fn observe(data: &[u8]) {
    let told = |most: usize| {
        let (mut observer, mut notes) = (Observer::new(TIGHT), Notes::default());
        observer.feed(Side::Client, PREFACE, &mut notes);
        for (from, piece) in pieces(data) {
            for part in piece.chunks(most) {
                observer.feed(from, part, &mut notes);
            }
        }
        observer.end(&mut notes);
        assert_eq!(notes.owed, 0, "admitted bodies are handed over or given back");
        notes.events
    };
    assert_eq!(told(1), told(usize::MAX));
}

/// Filters what a client sends.
///
/// # Panics
/// Where pieces make a difference.
pub fn filter(data: &[u8]) {
    let passed = |most: usize| {
        let (mut filter, mut out) = (AuthorityFilter::new(TIGHT), Vec::new());
        filter.feed(PREFACE, &mut out);
        for part in data.chunks(most) {
            filter.feed(part, &mut out);
        }
        filter.finish(&mut out);
        out
    };
    assert_eq!(passed(1), passed(usize::MAX));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_will_do(data in prop::collection::vec(any::<u8>(), 0..300)) {
            super::observe(&data);
            super::filter(&data);
        }
    }
}
