//! What waiting can't explain. A runtime may be late: then it shows a state that comes before the recorded one. It may not go back to
//! one that it has left, nor show one that its object never has.

use cri::v1;
use prost_reflect::{DynamicMessage, ReflectMessage};

use crate::comparing::comparer::Compared;
use crate::comparing::walk::Walk;
use crate::{Divergence, Kind, Path};

/// Broken by what was seen as recorded, and no longer is, though nothing has happened to it.
pub const AS_SHOWN: &str = "as-shown-before";
/// Broken by a state that comes after the recorded one, or an end, which the recording never has for the object.
pub const AS_RECORDED: &str = "only-recorded-states";

/// Rates over two samples may lack one at any time.
const RATES: [&str; 1] = ["usage_nano_cores"];
/// The kernel may tell why a container ended after its end.
pub(crate) const TOLD_LATER: &str = "OOMKilled";

/// A difference that would have been waited for is one as it stands, by this rule.
pub(crate) fn rule_out(divergence: &mut Divergence, rule: &str) {
    if divergence.settles {
        divergence.settles = false;
        rule.clone_into(&mut divergence.rule);
    }
}

/// Whether this was seen in a live answer that shows what can't be, so that no later answer makes up for it.
pub fn is_beyond_lateness(divergence: &Divergence) -> bool {
    [AS_SHOWN, AS_RECORDED].contains(&divergence.rule.as_str())
}

impl Walk<'_> {
    /// Leaves to be waited for what may come from the live object, or where the id is empty the live runtime, being late.
    pub(crate) fn expect_only_lateness(
        &self,
        path: &Path,
        id: &str,
        (recorded, live): (&DynamicMessage, &DynamicMessage),
        compared: &mut Compared,
    ) {
        let message_type = recorded.descriptor().name().to_owned();
        if let Some(all) = self.trajectories.all(id, &message_type).filter(|all| !all.is_empty()) {
            let will_end = self.trajectories.will_end(id);
            only_recorded_states((recorded, live), &all, will_end, compared);
        }
        let Some(before) = self.trajectories.before(id, &message_type) else { return };
        let then = self.apart(path, id, &before, live);
        let is_rate = |it: &Divergence| {
            it.path.segments().iter().any(|segment| RATES.iter().any(|rate| segment.starts_with(rate)))
        };
        for divergence in compared.divergences.iter_mut().filter(|it| !is_rate(it)) {
            let is_same = |it: &Divergence| {
                it.path == divergence.path
                    && it.kind == divergence.kind
                    && it.transition == divergence.transition
                    && (it.kind == Kind::Presence || it.recorded == divergence.recorded)
            };
            if then.divergences.iter().any(is_same) {
                rule_out(divergence, AS_SHOWN);
            }
        }
    }
}

/// States come one after the other, and the last one stays as it is.
fn only_recorded_states(
    (recorded, live): (&DynamicMessage, &DynamicMessage),
    all: &[DynamicMessage],
    will_end: bool,
    compared: &mut Compared,
) {
    let Some((before, now)) = state(recorded).zip(state(live)) else { return };
    let ended = Some(v1::ContainerState::ContainerExited as i32);
    let is_unheard_of = Some(now) > ended && !all.iter().any(|it| state(it) == Some(now));
    let is_ahead = now > before && (!will_end || is_unheard_of);
    let ends = || all.iter().filter(|it| is_container(live) && state(it) == ended);
    let is_another_end = |field: &str| {
        let value = |of: &DynamicMessage| of.get_field_by_name(field).map(std::borrow::Cow::into_owned);
        let is_told_later = |it: &DynamicMessage| value(it).is_some_and(|it| it.as_str() == Some(TOLD_LATER));
        Some(now) == ended
            && ends().next().is_some()
            && !ends().any(|it| value(it) == value(live) || is_told_later(it))
    };
    for divergence in &mut compared.divergences {
        let field = divergence.path.segments().last().map(String::as_str).unwrap_or_default();
        let is_ruled_out = match field {
            "state" => is_ahead,
            "exit_code" | "reason" => is_another_end(field),
            _ => false,
        };
        if is_ruled_out {
            rule_out(divergence, AS_RECORDED);
        }
    }
}

fn state(message: &DynamicMessage) -> Option<i32> {
    message.get_field_by_name("state")?.as_enum_number()
}

fn is_container(message: &DynamicMessage) -> bool {
    message.descriptor().name().starts_with("Container")
}
