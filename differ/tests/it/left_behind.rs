//! What a call that failed left on the runtime: nothing is bound to it, and it is the replay's own all the same.

use cri::{IdentityKind, v1};
use critape_calls::{IdentityMap, Live, Recorded};
use critape_differ::{Comparer, Memory, NoTrajectories, OWNED_LABEL, Rules, Trajectories};
use prost_reflect::DynamicMessage;

use super::{container, containers, list};

/// The uid of a pod, recorded and live.
const UIDS: [&str; 2] = ["0f3a1c9e-1111-4222-8333-444455556666", "5d5d5d5d-9999-4888-8777-666655554444"];

/// A sandbox of the replay `run`, in a pod whose recorded uid is `uid`.
fn sandbox(id: &str, uid: &str, run: Option<&str>) -> v1::PodSandbox {
    let metadata = v1::PodSandboxMetadata { name: "web".into(), uid: uid.into(), ..Default::default() };
    let labels = run.map(|run| (OWNED_LABEL.to_owned(), run.to_owned()));
    v1::PodSandbox {
        id: id.into(),
        metadata: Some(metadata),
        labels: labels.into_iter().collect(),
        ..Default::default()
    }
}

/// What a comparer of the replay `run`, with `memory`, says of two lists of sandboxes: what was found, and how many
/// were left out.
fn of_sandboxes(
    memory: &Memory,
    before: &[v1::PodSandbox],
    now: &[v1::PodSandbox],
    trajectories: &dyn Trajectories,
) -> (Vec<String>, u64) {
    let list = |items: &[v1::PodSandbox]| {
        list("ListPodSandbox", &v1::ListPodSandboxResponse { items: items.to_vec() })
    };
    let (rules, mut ids) = (Rules::standard(), IdentityMap::default());
    ids.bind(IdentityKind::PodUid, UIDS[0], UIDS[1]);
    ids.bind(IdentityKind::Sandbox, "bound", "bound-here");
    let ((method, before), (_, now)) = (list(before), list(now));
    let comparer = Comparer::new(&rules, &ids, memory);
    let compared = comparer.messages(method, Recorded(&before), Live(&now), trajectories);
    let found = compared.divergences.iter();
    (
        found.map(|it| format!("{} {}", it.path, it.transition.as_deref().unwrap_or(""))).collect(),
        compared.left_out,
    )
}

/// This is being made or changed.
struct Changing(&'static str);

impl Trajectories for Changing {
    fn later(&self, _id: &str, _message_type: &str) -> Vec<DynamicMessage> {
        Vec::new()
    }

    fn is_changing(&self, id: &str) -> bool {
        id == self.0
    }
}

/// containerd#12438: a call to run a sandbox fails, and the sandbox stays.
#[test]
fn a_sandbox_that_a_failed_call_left_behind_is_found() {
    let of_run = || Memory::of_run("run");
    let left = [sandbox("left", UIDS[1], Some("run"))];
    let found = (vec!["items[] absent→present".to_owned()], 0);
    assert_eq!(of_sandboxes(&of_run(), &[], &left, &NoTrajectories), found);
    let another = [sandbox("left", UIDS[1], Some("another run"))];
    let none = |left_out| (Vec::new(), left_out);
    assert_eq!(of_sandboxes(&of_run(), &[], &another, &NoTrajectories), none(1));
    assert_eq!(of_sandboxes(&Memory::default(), &[], &left, &NoTrajectories), none(1), "no replay");
    assert_eq!(of_sandboxes(&of_run(), &[], &left, &Changing(UIDS[0])), none(0), "it is being made");
    // The recorded runtime left one as well, which its client removed.
    let memory = of_run();
    let recorded = [sandbox("left-then", UIDS[0], None)];
    assert_eq!(of_sandboxes(&memory, &recorded, &left, &NoTrajectories), none(2));
    assert_eq!(of_sandboxes(&memory, &[], &left, &NoTrajectories), none(1));
    // How the call ended has been found to differ: that is one finding.
    for accounted in ["left", UIDS[1]] {
        let memory = of_run();
        memory.account_for(accounted);
        assert_eq!(of_sandboxes(&memory, &[], &left, &NoTrajectories), none(1));
    }
}

#[test]
fn a_container_that_a_failed_call_left_behind_is_found() {
    let container =
        |sandbox: &str| v1::Container { pod_sandbox_id: sandbox.into(), ..container("left", "app") };
    let mut ids = IdentityMap::default();
    ids.bind(IdentityKind::Sandbox, "bound", "bound-here");
    let (rules, memory) = (Rules::standard(), Memory::of_run("run"));
    let comparer = Comparer::new(&rules, &ids, &memory);
    let found = |sandbox: &str, trajectories: &dyn Trajectories| {
        let ((method, recorded), (_, live)) = (containers(Vec::new()), containers(vec![container(sandbox)]));
        comparer.messages(method, Recorded(&recorded), Live(&live), trajectories).divergences.len()
    };
    assert_eq!(found("bound-here", &NoTrajectories), 1);
    assert_eq!(found("bound-here", &Changing("bound")), 0, "it is being made");
    assert_eq!(found("of another", &NoTrajectories), 0);
}
