//! Of which type the messages of a call are.

use std::collections::{HashMap, VecDeque};

use critape_calls::{CallId, Event, EventKind, Side};
use prost_reflect::MessageDescriptor;

use super::leaves::shapes;

/// A request may cross the end of its call; so those that have ended are kept in mind for a while.
const MOST_ENDED: usize = 1024;

/// The shapes of the messages of a call; `None` where the schema doesn't have the method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    pub(crate) request: Option<usize>,
    pub(crate) response: Option<usize>,
}

impl Messages {
    /// Those of the method with this path.
    pub(crate) fn of(path: &str) -> Self {
        let Some(method) = cri::methods().by_path(path) else { return Self::default() };
        let shape = |message: MessageDescriptor| shapes().by_name(message.full_name());
        Self { request: shape(method.input()), response: shape(method.output()) }
    }
}

/// The calls that are under way, and the last that have ended.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    under_way: HashMap<CallId, Messages>,
    ended: HashMap<CallId, Messages>,
    order: VecDeque<CallId>,
}

impl Calls {
    /// Takes note of an event, before its messages are looked at.
    pub(crate) fn observe(&mut self, event: &EventKind) {
        match event {
            EventKind::CallStarted { call, path, .. } | EventKind::CallContinues { call, path, .. } => {
                self.under_way.insert(*call, Messages::of(path));
            }
            EventKind::Trailers { call, .. }
            | EventKind::Reset { call, .. }
            | EventKind::Truncated { call } => self.end(*call),
            _ => {}
        }
    }

    /// Forgets those that have ended: a segment says only of those under way what they are.
    pub(crate) fn begin_segment(&mut self) {
        self.ended.clear();
        self.order.clear();
    }

    /// The shape of what this side sends.
    pub(crate) fn shape(&self, call: CallId, from: Side) -> Option<usize> {
        let messages = self.under_way.get(&call).or_else(|| self.ended.get(&call))?;
        match from {
            Side::Client => messages.request,
            Side::Runtime => messages.response,
        }
    }

    fn end(&mut self, call: CallId) {
        let Some(messages) = self.under_way.remove(&call) else { return };
        self.ended.insert(call, messages);
        self.order.push_back(call);
        if self.order.len() > MOST_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

/// The shape of the message in this event, if it has one.
pub(crate) fn shape_of(calls: &Calls, event: &Event) -> Option<usize> {
    match &event.kind {
        EventKind::Message { call, from, compressed: false, .. } => calls.shape(*call, *from),
        EventKind::CallContinues { call, .. } => calls.shape(*call, Side::Client),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_kept_in_mind_for_a_while() {
        let mut calls = Calls::default();
        let started = |call: u64| EventKind::CallStarted {
            call: CallId(call),
            connection: critape_calls::ConnectionId(1),
            stream: 1,
            path: "/runtime.v1.RuntimeService/Version".into(),
            metadata: critape_calls::Metadata::default(),
        };
        calls.observe(&started(0));
        assert_eq!(calls.shape(CallId(0), Side::Client), shapes().by_name("runtime.v1.VersionRequest"));
        for call in 1..=2000 {
            calls.observe(&started(call));
            calls.observe(&EventKind::Truncated { call: CallId(call) });
        }
        assert_eq!(
            (calls.under_way.len(), calls.ended.len(), calls.order.len()),
            (1, MOST_ENDED, MOST_ENDED)
        );
        let known = |calls: &Calls, call| calls.shape(CallId(call), Side::Runtime).is_some();
        assert_eq!([0, 1, 2000].map(|call| known(&calls, call)), [true, false, true]);
        calls.begin_segment();
        assert_eq!([0, 1, 2000].map(|call| known(&calls, call)), [true, false, false]);
    }
}
