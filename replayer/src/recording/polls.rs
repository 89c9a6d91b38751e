//! Polls: reads that are repeated again and again, as kubelet's lists of every second.
//!
//! At the recorded pace most of them say nothing that those around them do not: the question is the same, nothing was changed in
//! between, and the recorded answers are the same but for noise. Those are not sent. What was observed between two changes is not lost
//! by that: of each stretch of equal answers the first is sent, which has to reach that state, and the last, which has to be in it
//! still; and so is each poll by which the number of polls in a stretch has doubled, so that what comes and goes, or changes from call to call,
//! has many chances to be seen. Two answers are equal where the rules find no difference that tells anything: reads of statistics
//! change with each call, and where nothing but counters that no replay compares has changed, one tells as much as ten.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cri::Class;
use critape_calls::{Call, CallId, Ending, IdentityMap, Stamp, merged};
use critape_differ::{Comparer, Memory, NoTrajectories, Rules};

use crate::judging::pairs::{self, End};
use crate::recording::script::{Client, Entry};
use crate::recording::{changes_objects, is_event_stream};

/// Answers that are kept to hold the next ones against take no more than this.
const KEPT_BYTES: usize = 64 << 20;

/// Who asks what.
type Question = (Client, String, Bytes);

/// Finds polls, call by call in the order of their ends.
#[derive(Debug)]
pub(crate) struct Polls<'a> {
    rules: &'a Rules,
    memory: Memory,
    last: HashMap<Question, Call>,
    bytes: usize,
    /// The poll before, by those whose answer only repeats it.
    repeats: HashMap<CallId, CallId>,
}

impl<'a> Polls<'a> {
    pub(crate) fn new(rules: &'a Rules) -> Self {
        let memory = Memory::default();
        Self { rules, memory, last: HashMap::new(), bytes: 0, repeats: HashMap::new() }
    }

    pub(crate) fn see(&mut self, call: &Call) {
        if changes_objects(call) {
            self.forget();
            return;
        }
        let Some(question) = question(call) else { return };
        let before = self.last.remove(&question);
        if let Some(before) = before {
            self.bytes = self.bytes.saturating_sub(size(&before));
            // Two at once are two at once in the replay as well.
            if before.ended <= call.started && self.repeats(&before, call) {
                self.repeats.insert(call.id, before.id);
            }
        }
        if self.bytes > KEPT_BYTES {
            self.forget();
        }
        self.bytes += size(call);
        self.last.insert(question, call.clone());
    }

    fn forget(&mut self) {
        self.last.clear();
        self.bytes = 0;
    }

    fn repeats(&self, before: &Call, call: &Call) -> bool {
        let Some((method, message)) = call.method().zip(merged(call)) else { return false };
        if before.outcome == call.outcome && merged(before).is_some_and(|before| before == message) {
            return true;
        }
        let ids = IdentityMap::default();
        let comparer = Comparer::new(self.rules, &ids, &self.memory);
        let end = End { outcome: &call.outcome, message: &message, lasted: call.duration() };
        comparer.repeats(&pairs::compare(&comparer, before, method, end, &NoTrajectories))
    }

    /// What is left out. `calls` are all that are replayed, in the order of their starts.
    pub(crate) fn collapse(&self, calls: &[Entry]) -> Collapsed {
        let changes = Changes::of(calls);
        let places: HashMap<CallId, usize> =
            calls.iter().enumerate().map(|(index, call)| (call.id, index)).collect();
        // Stretches of equal answers, and in which each call is.
        let (mut stretches, mut of): (Vec<Vec<usize>>, HashMap<usize, usize>) = Default::default();
        for (index, call) in calls.iter().enumerate() {
            let before = self.repeats.get(&call.id).and_then(|before| places.get(before));
            let Some(before) = before.filter(|it| !changes.any_within(calls[**it].started, call.ended))
            else {
                continue;
            };
            let stretch = *of.entry(*before).or_insert_with(|| {
                stretches.push(vec![*before]);
                stretches.len() - 1
            });
            stretches[stretch].push(index);
            of.insert(index, stretch);
        }
        let mut collapsed = Collapsed::default();
        for stretch in stretches {
            let mut stands = stretch[0];
            for (number, index) in stretch.iter().enumerate() {
                if number == 0 || number.is_power_of_two() || number + 1 == stretch.len() {
                    stands = *index;
                } else {
                    collapsed.left_out.insert(*index);
                    collapsed.by_stand_in.entry(calls[stands].id).or_default().push(calls[*index].id);
                }
            }
        }
        collapsed
    }
}

/// Polls that are not sent.
#[derive(Debug, Default)]
pub(crate) struct Collapsed {
    /// Their places in the script.
    left_out: HashSet<usize>,
    /// By the poll that stands for them: the one before that is sent.
    pub(crate) by_stand_in: HashMap<CallId, Vec<CallId>>,
}

impl Collapsed {
    pub(crate) fn is_collapsed(&self, index: usize) -> bool {
        self.left_out.contains(&index)
    }
}

/// When something was being changed.
struct Changes {
    starts: Vec<Stamp>,
    /// The latest end of those up to each.
    ends: Vec<Stamp>,
}

impl Changes {
    fn of(calls: &[Entry]) -> Self {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        let mut latest = Stamp(0);
        for call in calls.iter().filter(|call| call.changes) {
            latest = latest.max(call.ended);
            starts.push(call.started);
            ends.push(latest);
        }
        Self { starts, ends }
    }

    fn any_within(&self, from: Stamp, to: Stamp) -> bool {
        let begun = self.starts.partition_point(|started| *started <= to);
        begun.checked_sub(1).is_some_and(|last| self.ends[last] >= from)
    }
}

/// What a read asks, where it may be a poll.
fn question(call: &Call) -> Option<Question> {
    let is_read = call.method()?.class == Class::ReadOnly && !is_event_stream(call);
    let is_told = call.outcome.ending == Ending::Status && call.is_whole();
    (is_read && is_told).then(|| Some((Client::of(call), call.path.clone(), call.request()?.clone())))?
}

fn size(call: &Call) -> usize {
    call.responses.iter().map(|message| message.body.len() as usize).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cri::v1;

    use super::*;
    use crate::made_up::call;

    fn containers(states: &[(&str, i32)]) -> v1::ListContainersResponse {
        let container = |(id, state): &(&str, i32)| v1::Container {
            id: (*id).to_owned(),
            state: *state,
            metadata: Some(v1::ContainerMetadata { name: (*id).to_owned(), attempt: 0 }),
            ..Default::default()
        };
        v1::ListContainersResponse { containers: states.iter().map(container).collect() }
    }

    fn list(id: u64, states: &[(&str, i32)]) -> Call {
        let at = (id * 1000, id * 1000 + 5);
        call(id, "ListContainers", at, &v1::ListContainersRequest::default(), &containers(states))
    }

    /// The ids of the calls that are sent.
    fn sent(calls: &[Call]) -> Vec<u64> {
        let rules = Rules::standard();
        let mut polls = Polls::new(&rules);
        let mut by_end: Vec<&Call> = calls.iter().collect();
        by_end.sort_by_key(|call| call.ended);
        by_end.into_iter().for_each(|call| polls.see(call));
        let entries: Vec<Entry> = calls.iter().map(Entry::of).collect();
        let collapsed = polls.collapse(&entries);
        let stood_for: usize = collapsed.by_stand_in.values().map(Vec::len).sum();
        let sent = (0..calls.len()).filter(|index| !collapsed.is_collapsed(*index));
        let sent: Vec<u64> = sent.map(|index| calls[index].id.0).collect();
        assert_eq!(sent.len() + stood_for, calls.len(), "each has one that stands for it");
        sent
    }

    #[test]
    fn answers_that_cannot_be_read_repeat_nothing() {
        let calls: Vec<Call> = (1..=5)
            .map(|id| {
                let mut call = list(id, &[]);
                call.responses[0].body = critape_calls::Body::Kept(vec![0x0a, 0x7f, id as u8].into());
                call
            })
            .collect();
        assert_eq!(sent(&calls), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn of_equal_answers_the_first_and_the_last_are_sent_and_some_between() {
        // In the order of a map, as containerd gives them.
        let orders: [&[(&str, i32)]; 2] = [&[("a", 1), ("b", 1)], &[("b", 1), ("a", 1)]];
        let calls: Vec<Call> = (1..=40).map(|id| list(id, orders[id as usize % 2])).collect();
        assert_eq!(sent(&calls), [1, 2, 3, 5, 9, 17, 33, 40]);
        assert_eq!(sent(&calls[..4]), [1, 2, 3, 4]);
    }

    #[test]
    fn every_state_is_seen() {
        let state = |id: u64| i32::from(id > 10) + i32::from(id > 20);
        let mut calls: Vec<Call> = (1..=30).map(|id| list(id, &[("a", state(id))])).collect();
        assert_eq!(sent(&calls), [1, 2, 3, 5, 9, 10, 11, 12, 13, 15, 19, 20, 21, 22, 23, 25, 29, 30]);
        // One that was there once.
        calls[25] = list(26, &[("a", 2), ("b", 1)]);
        assert_eq!(sent(&calls)[12..], [21, 22, 23, 25, 26, 27, 28, 29, 30]);
        // Another container of the same name.
        calls[25] = list(26, &[("c", 2)]);
        assert_eq!(sent(&calls)[12..], [21, 22, 23, 25, 26, 27, 28, 29, 30]);
    }

    #[test]
    fn a_change_begins_anew_and_while_it_is_under_way_all_are_sent() {
        let mut calls: Vec<Call> = (1..=20).map(|id| list(id, &[("a", 1)])).collect();
        let (asked, said) = (v1::StartContainerRequest::default(), v1::StartContainerResponse::default());
        calls.insert(10, call(100, "StartContainer", (10_500, 13_500), &asked, &said));
        assert_eq!(sent(&calls), [1, 2, 3, 5, 9, 10, 100, 11, 12, 13, 14, 15, 16, 18, 20]);
        let (asked, said) = (v1::ExecSyncRequest::default(), v1::ExecSyncResponse::default());
        calls[10] = call(100, "ExecSync", (10_500, 13_500), &asked, &said);
        assert_eq!(sent(&calls), [1, 2, 3, 5, 9, 100, 17, 20], "a probe changes nothing");
    }

    #[test]
    fn an_order_that_changes_where_it_should_stay_is_news() {
        let status = |id: u64, turned: bool| {
            let handler = |name: &str| v1::RuntimeHandler { name: name.to_owned(), ..Default::default() };
            let mut runtime_handlers = vec![handler("runc"), handler("kata")];
            if turned {
                runtime_handlers.reverse();
            }
            let said = v1::StatusResponse { runtime_handlers, ..Default::default() };
            call(id, "Status", (id * 1000, id * 1000 + 5), &v1::StatusRequest::default(), &said)
        };
        let steady: Vec<Call> = (1..=20).map(|id| status(id, false)).collect();
        assert_eq!(sent(&steady).len(), 7);
        let unsteady: Vec<Call> = (1..=20).map(|id| status(id, id % 2 == 0)).collect();
        assert_eq!(sent(&unsteady).len(), 20);
    }

    #[test]
    fn statistics_are_told_apart_by_what_is_there_and_not_by_what_was_used() {
        let stats = |id: u64, used: Option<u64>| {
            let used = used.map(|value| v1::UInt64Value { value });
            let cpu = v1::CpuUsage { usage_core_nano_seconds: used, ..Default::default() };
            let attributes = v1::ContainerAttributes { id: "a".to_owned(), ..Default::default() };
            let stats =
                v1::ContainerStats { attributes: Some(attributes), cpu: Some(cpu), ..Default::default() };
            let said = v1::ListContainerStatsResponse { stats: vec![stats] };
            let asked = v1::ListContainerStatsRequest::default();
            call(id, "ListContainerStats", (id * 1000, id * 1000 + 5), &asked, &said)
        };
        let mut calls: Vec<Call> = (1..=20).map(|id| stats(id, Some(id * 100))).collect();
        assert_eq!(sent(&calls), [1, 2, 3, 5, 9, 17, 20]);
        calls[11] = stats(12, None);
        assert_eq!(sent(&calls), [1, 2, 3, 5, 9, 11, 12, 13, 14, 15, 17, 20]);
    }

    #[test]
    fn two_that_were_asked_at_once_are_asked_at_once() {
        let asked = v1::ListContainersRequest::default();
        let at_once = |id: u64| call(id, "ListContainers", (id, 100 + id), &asked, &containers(&[("a", 1)]));
        let calls: Vec<Call> = (1..=20).map(at_once).collect();
        assert_eq!(sent(&calls).len(), 20);
    }
}
