//! Lists that two recordings have in different forms: whole, or as a stream.

use std::collections::BTreeMap;

use critape_calls::{Call, Code, Ending};
use critape_differ::{Compared, Passed, Path};
use serde_json::Value;

/// Calls that tell which streams of lists a runtime serves, the first of each, by name of the RPC.
#[derive(Debug, Default)]
pub(crate) struct ListStreams<'a> {
    served: BTreeMap<&'a str, &'a Call>,
    refused: BTreeMap<&'a str, &'a Call>,
}

impl<'a> ListStreams<'a> {
    pub(crate) fn of(calls: impl Iterator<Item = &'a Call>) -> Self {
        let mut streams = Self::default();
        for call in calls.filter(|call| call.outcome.ending == Ending::Status) {
            let Some(sent) = call.sent_method().filter(|sent| sent.list().is_some()) else { continue };
            let of = if is_refused(call) { &mut streams.refused } else { &mut streams.served };
            of.entry(sent.name.as_str()).or_insert(call);
        }
        streams
    }

    /// Streams that one of the two runtimes serves and the other refuses, each with a call of both.
    pub(crate) fn changes(&self, now: &Self) -> Vec<(&'a Call, &'a Call)> {
        let gone = both(&self.served, &now.refused).filter(|(name, ..)| !now.served.contains_key(name));
        let come = both(&self.refused, &now.served).filter(|(name, ..)| !self.served.contains_key(name));
        gone.chain(come).map(|(_, before, now)| (before, now)).collect()
    }
}

fn both<'a, 'b>(
    before: &'b BTreeMap<&'a str, &'a Call>,
    now: &'b BTreeMap<&'a str, &'a Call>,
) -> impl Iterator<Item = (&'a str, &'a Call, &'a Call)> + use<'a, 'b> {
    before.iter().filter_map(|(name, before)| Some((*name, *before, *now.get(name)?)))
}

/// Whether this is a stream of a list that was not served. Its client asked for the list next.
pub(crate) fn is_refused(call: &Call) -> bool {
    call.outcome.code == Code::UNIMPLEMENTED && is_streamed(call)
}

/// Whether this list was asked for as a stream.
pub(crate) fn is_streamed(call: &Call) -> bool {
    call.sent_method().is_some_and(|sent| sent.list().is_some())
}

/// That one client asked for a list whole and the other for the stream of it, which says nothing about their runtimes.
pub(crate) fn list_or_stream(call: &Call, other: &Call) -> Compared {
    const RULE: &str = "list-or-stream";
    let name = |call: &Call| Value::from(call.sent_method().map_or("", |sent| sent.name.as_str()));
    let example =
        Passed { rule: RULE.to_owned(), path: Path::root("method"), recorded: name(call), live: name(other) };
    Compared { examples: vec![example], ..Compared::explained(RULE) }
}
