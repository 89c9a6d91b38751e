//! Two ends of one call, recorded and live, whether the live one comes from a runtime or from another tape.

use std::time::Duration;

use bytes::Bytes;
use cri::{Method, v1};
use critape_calls::{
    Call, Code, DEADLINE_SLACK, Ending, IdentityMap, Live, Outcome, Recorded, decode, merged,
};
use critape_differ::{Compared, Comparer, Divergence, Kind, Path, Trajectories};
use prost::Message as _;

use crate::events;
use crate::recording::{is_event_stream, request_ids};
use crate::states::binding;

/// The rule that lets a deadline pass which was missed in one run and just met, or missed as well, in the other.
pub(crate) const DEADLINE: &str = "deadline";

/// How a call ended on the live side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) outcome: &'a Outcome,
    /// All response messages, as one.
    pub(crate) message: &'a Bytes,
    pub(crate) lasted: Duration,
}

impl<'a> End<'a> {
    fn of(call: &'a Call, message: &'a Bytes) -> Self {
        Self { outcome: &call.outcome, message, lasted: call.duration() }
    }
}

/// Binds what both answers say, where both calls went well.
pub(crate) fn bind(call: &Call, method: &Method, live: End<'_>, ids: &mut IdentityMap) {
    if !binding::binds(method) || !call.outcome.is_ok() || !live.outcome.is_ok() {
        return;
    }
    let read = |bytes: &Bytes| decode(method.output(), bytes);
    if let Some((recorded, live)) = merged(call).and_then(|bytes| read(&bytes)).zip(read(live.message)) {
        binding::bind(method, Recorded(&recorded), Live(&live), ids);
        if method.name == "PullImage" && is_asked_by_digest(call, ids) {
            binding::note_pulled_by_digest(&recorded, &live, ids);
        }
    }
}

/// Whether both runs asked for an image by its content.
fn is_asked_by_digest(call: &Call, ids: &IdentityMap) -> bool {
    let request = call.request().and_then(|bytes| v1::PullImageRequest::decode(bytes.as_ref()).ok());
    let image = request.and_then(|request| request.image).map(|image| image.image).unwrap_or_default();
    image.contains('@') && ids.mapped_reference(&image).is_none()
}

/// As [`bind`], where both are on tapes.
pub(crate) fn bind_calls(call: &Call, other: &Call, method: &Method, ids: &mut IdentityMap) {
    let message = merged(other).unwrap_or_default();
    bind(call, method, End::of(other, &message), ids);
}

/// As [`compare`], where both are on tapes; streams of events are compared as such.
pub(crate) fn compare_calls(
    comparer: &Comparer<'_>,
    call: &Call,
    other: &Call,
    method: &Method,
    trajectories: &dyn Trajectories,
) -> Compared {
    if is_event_stream(call) {
        let live = events::sequences(other, method);
        let ended = events::ended_by_runtime(other);
        return events::compare(comparer, call, method, &live, ended, trajectories);
    }
    let message = merged(other).unwrap_or_default();
    compare(comparer, call, method, End::of(other, &message), trajectories)
}

/// What the two differ in.
pub(crate) fn compare(
    comparer: &Comparer<'_>,
    call: &Call,
    method: &Method,
    live: End<'_>,
    trajectories: &dyn Trajectories,
) -> Compared {
    // What the client broke off may have ended by itself here; there is nothing to hold it against.
    if call.outcome.ending == Ending::Cancelled {
        let same = live.outcome.ending == Ending::Cancelled;
        return if same { Compared::default() } else { Compared::explained("broken-off") };
    }
    // At the deadline it is chance who speaks first: the client's timer, the runtime's, or what it was waiting for; and whether what
    // just met it, or just did not, does so again.
    let until_the_deadline =
        |lasted: Duration| call.deadline.is_some_and(|deadline| lasted + DEADLINE_SLACK >= deadline);
    let neither = !call.outcome.is_ok() && !live.outcome.is_ok();
    let is_missed = [&call.outcome, live.outcome].iter().any(|it| it.code == Code::DEADLINE_EXCEEDED);
    if (neither || is_missed) && until_the_deadline(call.duration()) && until_the_deadline(live.lasted) {
        return Compared::explained(DEADLINE);
    }
    // A stream that was not served is no list, and one that is not either is asked for in another way.
    let is_served = |outcome: &Outcome| outcome.code != Code::UNIMPLEMENTED;
    if method.list().is_some() && is_served(&call.outcome) != is_served(live.outcome) {
        let capability = comparer.capability(&method.name, Recorded(&call.outcome), Live(live.outcome));
        return Compared { divergences: vec![capability], ..Compared::default() };
    }
    let mut compared = comparer.outcomes(&method.name, Recorded(&call.outcome), Live(live.outcome));
    if call.outcome.is_ok()
        && live.outcome.is_ok()
        && let Some(recorded) = merged(call)
    {
        compared.merge(comparer.answers(method, Recorded(&recorded), Live(live.message), trajectories));
    }
    let is_presence = |it: &Divergence| it.kind == Kind::Presence && it.path == Path::root("image");
    let image = || request_ids(call).into_iter().any(|(_, image)| trajectories.is_changing(&image));
    if method.name == "ImageStatus"
        && !compared.divergences.is_empty()
        && compared.divergences.iter().all(is_presence)
        && image()
    {
        // While it is pulled or removed, it is there or not yet or no longer.
        return Compared::explained("state-was-changing");
    }
    compared
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use critape_calls::Body;
    use critape_differ::{Memory, NoTrajectories, Rules, Severity};
    use prost_reflect::DynamicMessage;

    use super::*;
    use crate::made_up;

    #[test]
    fn a_deadline_that_was_just_met_may_be_just_missed() {
        let asked = v1::StopContainerRequest::default();
        let call = |lasted| {
            let call = made_up::call(1, "StopContainer", (0, lasted), &asked, &v1::StopContainerResponse {});
            Call { deadline: Some(Duration::from_millis(500)), ..call }
        };
        let missed = made_up::given_up(call(500), 500);
        let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
        let comparer = Comparer::new(&rules, &ids, &memory);
        let found = |one: &Call, other: &Call| {
            let method = one.method().unwrap();
            compare_calls(&comparer, one, other, method, &NoTrajectories).divergences.len()
        };
        assert_eq!([found(&call(490), &missed), found(&missed, &call(490))], [0, 0]);
        assert_eq!([found(&call(300), &missed), found(&missed, &call(300))], [1, 1]);
        let failed =
            Call { outcome: Outcome { code: Code::NOT_FOUND, ..missed.outcome.clone() }, ..call(490) };
        assert_eq!(found(&call(490), &failed), 1, "that is something else");
    }

    /// Everything is being changed.
    struct Changing;

    impl Trajectories for Changing {
        fn later(&self, _id: &str, _message_type: &str) -> Vec<DynamicMessage> {
            Vec::new()
        }

        fn is_changing(&self, id: &str) -> bool {
            id == "app:1"
        }
    }

    #[test]
    fn an_image_that_is_being_pulled_may_be_there_already_or_not_yet() {
        let image = v1::ImageSpec { image: "app:1".to_owned(), ..Default::default() };
        let asked = v1::ImageStatusRequest { image: Some(image), verbose: false };
        let call = made_up::call(1, "ImageStatus", (0, 1), &asked, &v1::ImageStatusResponse::default());
        let image = v1::Image { id: "sha256:a".to_owned(), ..Default::default() };
        let message =
            v1::ImageStatusResponse { image: Some(image), ..Default::default() }.encode_to_vec().into();
        let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
        let comparer = Comparer::new(&rules, &ids, &memory);
        let end = End { outcome: &call.outcome, message: &message, lasted: Duration::ZERO };
        let method = call.method().unwrap();
        let found = |trajectories: &dyn Trajectories| {
            super::compare(&comparer, &call, method, end, trajectories).divergences.len()
        };
        assert_eq!((found(&NoTrajectories), found(&Changing)), (1, 0));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_a_finding_or_inconclusive() {
        let status = v1::PodSandboxStatus { id: "p".to_owned(), ..Default::default() };
        let said = v1::PodSandboxStatusResponse { status: Some(status), ..Default::default() };
        let asked = v1::PodSandboxStatusRequest::default();
        let good = made_up::call(1, "PodSandboxStatus", (0, 1), &asked, &said);
        let broken = |last: u8| {
            let mut call = good.clone();
            let mut bytes = said.encode_to_vec();
            bytes.extend([0x0a, 0x7f, last]);
            call.responses[0].body = Body::Kept(bytes.into());
            call
        };
        let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
        let comparer = Comparer::new(&rules, &ids, &memory);
        let compared = |one: &Call, other: &Call| {
            compare_calls(&comparer, one, other, one.method().unwrap(), &NoTrajectories)
        };
        let live = compared(&good, &broken(1));
        let found = live.divergences.first().unwrap();
        assert_eq!(found.transition.as_deref(), Some("OK→unreadable"));
        assert_eq!((found.severity, found.settles, live.untold), (Severity::Breaking, false, None));
        for other in [good.clone(), broken(2)] {
            assert_eq!(compared(&broken(1), &other).untold, Some("its recorded answer can't be read"));
        }
        assert_eq!(compared(&broken(1), &broken(1)), Compared::default(), "the same to the byte");
    }

    #[test]
    fn what_is_pulled_by_its_digest_has_the_same_id() {
        let pull = |image: &str, letter: &str| {
            let image = v1::ImageSpec { image: image.to_owned(), ..Default::default() };
            let asked = v1::PullImageRequest { image: Some(image), ..Default::default() };
            let said = v1::PullImageResponse { image_ref: format!("sha256:{}", letter.repeat(64)) };
            made_up::call(1, "PullImage", (0, 1), &asked, &said)
        };
        let found = |image: &str| {
            let (one, other) = (pull(image, "a"), pull(image, "b"));
            let (rules, memory, mut ids) = (Rules::standard(), Memory::default(), IdentityMap::default());
            bind_calls(&one, &other, one.method().unwrap(), &mut ids);
            let comparer = Comparer::new(&rules, &ids, &memory);
            let compared = compare_calls(&comparer, &one, &other, one.method().unwrap(), &NoTrajectories);
            compared.divergences.len()
        };
        assert_eq!(
            [found("r.example/app:1"), found("r.example/app@sha256:1")],
            [0, 1],
            "a tag may have moved"
        );
    }
}
