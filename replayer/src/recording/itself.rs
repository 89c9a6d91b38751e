//! A recording held against itself, with the end of one call changed.

use cri::IdentityKind;
use critape_calls::{Call, Ending, IdentityMap, Resolution};
use critape_differ::{Compared, Comparer, Memory, Rules};

use crate::judging::pairs;
use crate::recording::{Recording, is_event_stream};
use crate::states::lives::Lives;
use crate::states::trajectory::Seen;

/// A recording as its own live side: every id that its calls made stands for itself.
#[derive(Debug)]
pub struct Itself<'a> {
    recording: &'a Recording,
    rules: &'a Rules,
    ids: IdentityMap,
    lives: Lives,
}

impl<'a> Itself<'a> {
    /// To be compared by these rules.
    pub fn new(recording: &'a Recording, rules: &'a Rules) -> Self {
        let mut ids = IdentityMap::default();
        recording.declare(&mut ids);
        for call in recording.calls() {
            if let Some(method) = call.method() {
                pairs::bind_calls(&call, &call, method, &mut ids);
            }
        }
        Self { recording, rules, ids, lives: Lives::default() }
    }

    /// Whether one of its calls made the object with this id.
    pub fn made(&self, id: &str) -> bool {
        matches!(self.ids.resolve(IdentityKind::Object, id), Resolution::Live(_))
    }

    /// What a replay would say of `live`, had `call` ended so. `None` where it says nothing of such calls.
    pub fn compare(&self, call: &Call, live: &Call) -> Option<Compared> {
        let method = call.method().filter(|_| call.is_whole())?;
        if call.outcome.ending == Ending::Truncated && !is_event_stream(call) {
            return None;
        }
        let memory = Memory::default();
        let comparer = Comparer::new(self.rules, &self.ids, &memory);
        let trajectory = &self.recording.survey.trajectory;
        let seen = Seen::of(call, trajectory, &self.lives);
        Some(pairs::compare_calls(&comparer, call, live, method, &seen))
    }
}
