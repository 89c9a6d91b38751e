//! What the live run has done to containers and pods, by their recorded ids: what is under way, what is over, and how long containers
//! have lived. These live in real time, whatever the pace of the replay.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::recording::{changes_objects, request_ids};
use crate::replay::Pace;
use crate::states::trajectory::Trajectory;
use cri::IdentityKind;
use critape_calls::{Call, CallId, Stamp};

/// A program that has lived for so long has set up what it does at a signal.
const SETTLED: Duration = Duration::from_secs(1);
/// A container may end by so much sooner than it did when recorded, and by a part of its life.
const SOONER: Duration = Duration::from_millis(50);
const SOONER_PART: u32 = 10;

/// Stands for the images of the runtime as a whole.
pub(crate) const IMAGES: &str = "images";

/// The lives of containers and pods in the live run.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    /// How many calls are under way that change an object.
    changing: RefCell<HashMap<String, usize>>,
    /// When the last call had ended that changed an object; under [`IMAGES`], any image.
    changed: RefCell<HashMap<String, Instant>>,
    /// When the call had ended that made an object.
    made: RefCell<HashMap<String, Instant>>,
    /// When the start of each container was asked for, and by which call.
    started: RefCell<HashMap<String, (Instant, CallId)>>,
    /// Containers and sandboxes that a call has stopped or removed.
    over: RefCell<HashSet<String>>,
    /// Containers that were stopped before they had lived as long as recorded.
    cut_short: RefCell<HashSet<String>>,
    /// What a call changes that ran into its deadline, each with that call: nobody knows how far it went.
    unknown: RefCell<HashMap<String, CallId>>,
}

impl Lives {
    /// A call is about to be sent; gives the objects that it changes, for [`Self::ended`].
    pub(crate) fn begins(&self, call: &Call, trajectory: &Trajectory) -> Vec<String> {
        let is = |name: &str| call.method().is_some_and(|method| method.name == name);
        // Making a container changes neither its sandbox nor its image.
        if !changes_objects(call) || is("CreateContainer") {
            return Vec::new();
        }
        let moves_image = is("PullImage") || is("RemoveImage");
        let ids = request_ids(call).into_iter();
        let ids = ids.filter(|(kind, _)| *kind != IdentityKind::Image || moves_image).map(|(_, id)| id);
        let ids: Vec<String> = ids.chain(moves_image.then(|| IMAGES.to_owned())).collect();
        if is("StartContainer") {
            // Another start of what runs fails.
            let mut started = self.started.borrow_mut();
            ids.iter().for_each(|id| _ = started.entry(id.clone()).or_insert((Instant::now(), call.id)));
        } else if ends(call) {
            for container in containers(call, trajectory) {
                if self.missing_life(&container, call, trajectory) > Duration::ZERO {
                    self.cut_short.borrow_mut().insert(container);
                }
            }
        }
        let mut changing = self.changing.borrow_mut();
        for id in &ids {
            *changing.entry(id.clone()).or_default() += 1;
        }
        ids
    }

    /// The call has ended, well or not, that changed these.
    pub(crate) fn ended(&self, call: &Call, changed: &[String], is_ok: bool, trajectory: &Trajectory) {
        if !is_ok {
            self.started.borrow_mut().retain(|_, (_, starter)| *starter != call.id);
        }
        if is_ok && ends(call) {
            self.over.borrow_mut().extend(containers(call, trajectory).chain(changed.iter().cloned()));
        }
        let (mut changing, mut last) = (self.changing.borrow_mut(), self.changed.borrow_mut());
        for id in changed {
            last.insert(id.clone(), Instant::now());
            if let Some(count) = changing.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    changing.remove(id);
                }
            }
        }
    }

    /// How long a call has to be held back until the containers that it is about have lived as long as they had when recorded, in the
    /// time that passes here, of which `due_at` is told; and no less than it takes to settle.
    pub(crate) fn hold_back(
        &self,
        call: &Call,
        pace: Pace,
        trajectory: &Trajectory,
        due_at: impl Fn(Stamp) -> Duration,
    ) -> Option<Instant> {
        if pace == Pace::Max || !ends(call) && !runs_something(call) {
            return None;
        }
        let started = self.started.borrow();
        let due = |container: String| {
            let recorded = trajectory.age(&container, call.started)?;
            let least = match pace {
                Pace::Max | Pace::Serial => Duration::ZERO,
                Pace::Recorded(_) => {
                    due_at(call.started).saturating_sub(due_at(call.started.minus(recorded)))
                }
            };
            let least = least.max(recorded.min(SETTLED));
            started.get(&container)?.0.checked_add(least)
        };
        containers(call, trajectory).filter(|id| !self.is_over(id)).filter_map(due).max()
    }

    /// How much a container has yet to live until it is as settled as it was when this call was recorded.
    fn missing_life(&self, container: &str, call: &Call, trajectory: &Trajectory) -> Duration {
        let Some((started, _)) = self.started.borrow().get(container).copied() else { return Duration::ZERO };
        let recorded = trajectory.age(container, call.started).unwrap_or_default();
        recorded.min(SETTLED).saturating_sub(started.elapsed())
    }

    pub(crate) fn is_changing(&self, id: &str) -> bool {
        self.changing.borrow().contains_key(id)
    }

    /// Whether calls are under way that change anything.
    pub(crate) fn are_changing(&self) -> bool {
        !self.changing.borrow().is_empty()
    }

    /// The call has ended that made this.
    pub(crate) fn note_made(&self, id: String) {
        self.made.borrow_mut().insert(id, Instant::now());
    }

    /// Whether it was made before this moment, and nothing has happened to it since.
    pub(crate) fn was_made_before(&self, id: &str, at: std::time::Instant) -> bool {
        let is_before = |made: &Instant| made.into_std() <= at;
        self.made.borrow().get(id).is_some_and(is_before)
            && !self.is_changing(id)
            && !self.changed.borrow().contains_key(id)
    }

    /// Whether no call has been under way since this moment that changes one of these.
    pub(crate) fn are_calm_since(&self, ids: &[String], at: std::time::Instant) -> bool {
        let changed = self.changed.borrow();
        let is_calm = |id: &String| changed.get(id).is_none_or(|changed| changed.into_std() <= at);
        ids.iter().all(|id| !self.is_changing(id) && is_calm(id))
    }

    pub(crate) fn is_over(&self, id: &str) -> bool {
        self.over.borrow().contains(id)
    }

    /// A call that changes these ran into its deadline in one run alone.
    pub(crate) fn note_unknown(&self, call: &Call, changed: &[String], trajectory: &Trajectory) {
        if changed.is_empty() {
            return;
        }
        let mut unknown = self.unknown.borrow_mut();
        for id in containers(call, trajectory).chain(changed.iter().cloned()) {
            unknown.entry(id).or_insert(call.id);
        }
    }

    /// A call has removed these, in both runs: now it is known what they are.
    pub(crate) fn note_removed(&self, call: &Call, trajectory: &Trajectory) {
        let mut unknown = self.unknown.borrow_mut();
        if !unknown.is_empty() {
            let removed: HashSet<String> = containers(call, trajectory).collect();
            unknown.retain(|id, _| !removed.contains(id));
        }
    }

    /// Whether a call left this in a state that nobody knows.
    pub(crate) fn is_unknown(&self, id: &str) -> bool {
        self.unknown.borrow().contains_key(id)
    }

    /// The call that left what this one names in a state that nobody knows. Calls may say the beginning of an id alone.
    pub(crate) fn unknown_of(&self, call: &Call) -> Option<CallId> {
        let unknown = self.unknown.borrow();
        if unknown.is_empty() {
            return None;
        }
        let left = |name: &str| {
            let so_named = unknown.iter().filter(|(id, _)| id.starts_with(name));
            so_named.map(|(_, left)| *left).filter(|left| *left != call.id).min()
        };
        request_ids(call).into_iter().filter(|(_, name)| !name.is_empty()).find_map(|(_, name)| left(&name))
    }

    pub(crate) fn was_cut_short(&self, id: &str) -> bool {
        self.cut_short.borrow().contains(id)
    }

    /// Whether a container that lives for so long may have ended by now.
    pub(crate) fn may_have_lived(&self, id: &str, life: Duration) -> bool {
        let sooner = SOONER.max(life / SOONER_PART);
        self.started.borrow().get(id).is_some_and(|(started, _)| started.elapsed() + sooner >= life)
    }
}

/// Whether a call stops or removes what it names.
fn ends(call: &Call) -> bool {
    let name = call.method().map_or("", |method| method.name.as_str());
    matches!(name, "StopContainer" | "RemoveContainer" | "StopPodSandbox" | "RemovePodSandbox")
}

/// Whether a call runs something in a container.
fn runs_something(call: &Call) -> bool {
    let name = call.method().map_or("", |method| method.name.as_str());
    matches!(name, "ExecSync" | "Exec" | "Attach")
}

/// The containers that a call is about: those that it names, and those in the sandboxes that it names.
fn containers<'a>(call: &Call, trajectory: &'a Trajectory) -> impl Iterator<Item = String> + 'a {
    let named = request_ids(call).into_iter().map(|(_, id)| id);
    named.flat_map(|id| {
        let within: Vec<String> = trajectory.containers_of(&id).map(str::to_owned).collect();
        std::iter::once(id).chain(within)
    })
}

#[cfg(test)]
mod tests {
    use cri::v1;

    use super::*;
    use crate::made_up::call;
    use crate::states::trajectory::Seen;
    use critape_differ::Trajectories as _;

    /// A container that is started, runs for so long, and is stopped, in milliseconds; and both calls.
    fn stopped_after(life: u64) -> (Trajectory, Call, Call) {
        let id = || "c".to_owned();
        let start = v1::StartContainerRequest { container_id: id() };
        let start = call(1, "StartContainer", (1000, 1010), &start, &v1::StartContainerResponse {});
        let stop = v1::StopContainerRequest { container_id: id(), timeout: 1 };
        let times = (1010 + life, 1020 + life);
        let stop = call(2, "StopContainer", times, &stop, &v1::StopContainerResponse {});
        let mut trajectory = Trajectory::default();
        trajectory.add_change(&start, &[]);
        trajectory.add_change(&stop, &[]);
        (trajectory, start, stop)
    }

    /// A container of this age, in milliseconds; and when it was started.
    fn aged(lives: &Lives, age: u64) -> Instant {
        let started = Instant::now() - Duration::from_millis(age);
        lives.started.borrow_mut().insert("c".to_owned(), (started, CallId(1)));
        started
    }

    #[test]
    fn a_stop_waits_until_a_container_is_as_old_as_it_was() {
        let as_recorded = |at: Stamp| Duration::from_nanos(at.0);
        let cut_short = |at: Stamp| Duration::from_nanos(at.0).min(Duration::from_secs(3));
        for (life, pace, due_at, held) in [
            (300, Pace::Recorded(1.0), &as_recorded as &dyn Fn(Stamp) -> Duration, 300),
            (5000, Pace::Recorded(1.0), &as_recorded, 5000),
            (5000, Pace::Recorded(1.0), &cut_short, 1990),
            (5000, Pace::Recorded(10.0), &|at| as_recorded(at) / 10, 1000),
            (5000, Pace::Serial, &as_recorded, 1000),
            (300, Pace::Serial, &as_recorded, 300),
        ] {
            let (trajectory, start, stop) = stopped_after(life);
            let lives = Lives::default();
            assert_eq!(lives.hold_back(&stop, pace, &trajectory, due_at), None, "it was not started here");
            let started = aged(&lives, 0);
            let due =
                lives.hold_back(&stop, pace, &trajectory, due_at).map(|due| (due - started).as_millis());
            assert_eq!(due, Some(held), "{life} {pace:?}");
            assert_eq!(lives.hold_back(&stop, Pace::Max, &trajectory, due_at), None);
            assert_eq!(lives.hold_back(&start, pace, &trajectory, due_at), None);
            lives.ended(&stop, &["c".to_owned()], true, &trajectory);
            assert_eq!(lives.hold_back(&stop, pace, &trajectory, due_at), None, "it has ended");
        }
    }

    #[test]
    fn what_is_stopped_too_early_is_cut_short() {
        for (age, is_cut_short) in [(0, true), (2000, false)] {
            let (trajectory, start, stop) = stopped_after(60_000);
            let lives = Lives::default();
            let started = lives.begins(&start, &trajectory);
            assert!(lives.is_changing("c") && lives.started.borrow().contains_key("c"));
            lives.ended(&start, &started, true, &trajectory);
            assert!(!lives.are_changing() && !lives.is_over("c"));
            aged(&lives, age);
            let stopped = lives.begins(&stop, &trajectory);
            assert_eq!(lives.was_cut_short("c"), is_cut_short, "{age}");
            lives.ended(&stop, &stopped, false, &trajectory);
            assert!(!lives.is_over("c"), "the stop failed");
            lives.ended(&stop, &stopped, true, &trajectory);
            assert!(lives.is_over("c"));
        }
    }

    #[test]
    fn another_start_that_fails_begins_no_life() {
        let (trajectory, start, _) = stopped_after(300);
        let again = Call { id: CallId(9), ..start.clone() };
        let lives = Lives::default();
        let when = || lives.started.borrow().get("c").copied();
        let changed = lives.begins(&again, &trajectory);
        lives.ended(&again, &changed, false, &trajectory);
        assert_eq!(when(), None, "it has never run");
        let changed = lives.begins(&start, &trajectory);
        lives.ended(&start, &changed, true, &trajectory);
        let first = when();
        assert!(first.is_some());
        let changed = lives.begins(&again, &trajectory);
        lives.ended(&again, &changed, false, &trajectory);
        assert_eq!(when(), first);
    }

    #[test]
    fn what_a_deadline_left_is_unknown_until_it_is_removed() {
        let (trajectory, _, stop) = stopped_after(300);
        let lives = Lives::default();
        let asked = |id: &str| {
            let asked = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
            call(3, "ContainerStatus", (2000, 2010), &asked, &v1::ContainerStatusResponse::default())
        };
        let list = || {
            call(
                4,
                "ListContainers",
                (2000, 2010),
                &v1::ListContainersRequest::default(),
                &v1::ListContainersResponse::default(),
            )
        };
        let shown_as_changing = |call: &Call| Seen::of(call, &trajectory, &lives).is_changing("c");
        assert_eq!((lives.unknown_of(&asked("c")), shown_as_changing(&list())), (None, false));
        lives.note_unknown(&stop, &[], &trajectory);
        assert_eq!(lives.unknown_of(&asked("c")), None, "it changes nothing");
        lives.note_unknown(&stop, &["c".to_owned()], &trajectory);
        assert_eq!(lives.unknown_of(&asked("c")), Some(stop.id));
        assert_eq!(lives.unknown_of(&stop), None, "it is judged by how it ended");
        assert_eq!((lives.unknown_of(&asked("d")), lives.unknown_of(&asked(""))), (None, None));
        assert!(shown_as_changing(&list()), "a list may show either state");
        assert!(!shown_as_changing(&asked("c")), "of this nothing can be said");
        lives.note_removed(&stop, &trajectory);
        assert_eq!((lives.unknown_of(&asked("c")), shown_as_changing(&list())), (None, false));
    }

    #[test]
    fn a_container_may_end_a_little_sooner_than_it_did() {
        let (lives, life) = (Lives::default(), Duration::from_secs(20));
        assert!(!lives.may_have_lived("c", life), "it was not started here");
        aged(&lives, 10_000);
        assert!(!lives.may_have_lived("c", life));
        aged(&lives, 18_500);
        assert!(lives.may_have_lived("c", life));
    }
}
