//! What was stopped or removed is over.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Talk {
    fn make_in_sandbox(&mut self) {
        let create = v1::CreateContainerRequest { pod_sandbox_id: "s".into(), ..Default::default() };
        self.ok("CreateContainer", &create, &v1::CreateContainerResponse { container_id: "c".into() });
    }

    /// Stops or removes the container, or its sandbox.
    fn end(&mut self, rpc: &str) {
        let (container_id, pod_sandbox_id) = ("c".to_owned(), "s".to_owned());
        match rpc {
            "StopContainer" => {
                let stop = v1::StopContainerRequest { container_id, timeout: 2 };
                self.ok(rpc, &stop, &v1::StopContainerResponse {});
            }
            "RemoveContainer" => {
                let remove = v1::RemoveContainerRequest { container_id };
                self.ok(rpc, &remove, &v1::RemoveContainerResponse {});
            }
            // One message is as the other.
            _ => self.ok(rpc, &v1::StopPodSandboxRequest { pod_sandbox_id }, &v1::StopPodSandboxResponse {}),
        }
    }

    /// Both lists, with a container that runs and a sandbox that is ready.
    fn lists(&mut self) {
        let container = v1::Container {
            id: "c".into(),
            pod_sandbox_id: "s".into(),
            state: v1::ContainerState::ContainerRunning as i32,
            ..Default::default()
        };
        let containers = v1::ListContainersResponse { containers: vec![container] };
        self.ok("ListContainers", &v1::ListContainersRequest::default(), &containers);
        let sandboxes = v1::ListPodSandboxResponse {
            items: vec![v1::PodSandbox { id: "s".into(), ..Default::default() }],
        };
        self.ok("ListPodSandbox", &v1::ListPodSandboxRequest::default(), &sandboxes);
    }
}

#[test]
fn what_was_stopped_has_ended() {
    let seen = |sandbox: bool, starts_again: bool, finished: i64| {
        let mut talk = Talk::default();
        talk.make_in_sandbox();
        talk.end(if sandbox { "StopPodSandbox" } else { "StopContainer" });
        if starts_again {
            let start = v1::StartContainerRequest { container_id: "c".into() };
            talk.ok("StartContainer", &start, &v1::StartContainerResponse {});
        }
        talk.status(|it| {
            it.state = v1::ContainerState::ContainerExited as i32;
            it.finished_at = NOW + finished;
            it.labels.clear();
            it.mounts.clear();
        });
        talk.broken().into_iter().filter(|(oracle, ..)| *oracle == stopped::ORACLE.name).count()
    };
    let second = 1_000_000_000;
    for sandbox in [false, true] {
        assert_eq!(seen(sandbox, false, 1_000_000), 0);
        assert_eq!(seen(sandbox, false, 3 * second), 1);
    }
    assert_eq!(seen(false, true, 3 * second), 0, "it was not running when it was stopped");
}

#[test]
fn what_was_stopped_is_not_listed_alive() {
    let seen = |rpc: &str, after: Duration, starts: bool| {
        let mut talk = Talk::default();
        talk.make_in_sandbox();
        // As they are before that, so that nothing on the lists is news.
        talk.lists();
        talk.end(rpc);
        if starts {
            let start = v1::StartContainerRequest { container_id: "c".into() };
            talk.ok("StartContainer", &start, &v1::StartContainerResponse {});
        }
        talk.at += after;
        talk.lists();
        talk.breaks(stopped::ORACLE)
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen("StopContainer", SECOND, false), ["containers[].state"]);
    assert_eq!(seen("StopPodSandbox", SECOND, false), ["containers[].state", "items[].state"]);
    assert_eq!(seen("StopPodSandbox", Duration::ZERO, false), nothing, "it is noted in a moment");
    assert_eq!(seen("StopContainer", SECOND, true), nothing, "it was not running when it was stopped");
}

#[test]
fn what_was_removed_is_not_listed() {
    let seen = |rpc: &str, began_before: bool| {
        let mut talk = Talk::default();
        talk.lists();
        talk.end(rpc);
        if began_before {
            talk.at -= Duration::from_millis(3);
        }
        talk.lists();
        talk.breaks(removed::ORACLE)
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen("RemoveContainer", false), ["containers[]"]);
    assert_eq!(seen("RemovePodSandbox", false), ["containers[]", "items[]"]);
    assert_eq!(seen("RemovePodSandbox", true), nothing, "they began before that");
}

#[test]
fn an_answer_that_does_not_stay_counts_too_and_is_news_to_others_later() {
    let mut talk = Talk::default();
    talk.end("RemoveContainer");
    talk.passes = true;
    talk.lists();
    assert_eq!(talk.breaks(removed::ORACLE), ["containers[]"]);
    talk.passes = false;
    talk.lists();
    talk.status(|it| it.state = v1::ContainerState::ContainerCreated as i32);
    assert_eq!(talk.breaks(agreement::ORACLE), ["status.state"]);
}

#[test]
fn the_end_of_what_was_removed_is_told_at_once() {
    let seen = |after: Duration| {
        let mut talk = Talk::default();
        talk.end("RemoveContainer");
        let event = v1::ContainerEventResponse {
            container_id: "c".into(),
            container_event_type: v1::ContainerEventType::ContainerDeletedEvent as i32,
            created_at: i64::try_from((talk.at + after).as_nanos()).unwrap(),
            ..Default::default()
        };
        let stream = EventStream { events: vec![event], ..Default::default() };
        talk.witness.events(&Ids::default(), "/runtime.v1.RuntimeService/GetContainerEvents", &stream);
        talk.breaks(removed::ORACLE)
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen(Duration::from_millis(30)), nothing);
    assert_eq!(seen(SECOND), ["created_at"]);
}

#[test]
fn an_event_is_dated_when_it_was_made() {
    let times = [NOW, NOW + 100_000_000, NOW + 900_000_000];
    let stream = |change: fn(&mut [i64; 3])| {
        let mut dated = times;
        change(&mut dated);
        let event = |kind: usize| {
            let status = v1::ContainerStatus {
                id: "c".into(),
                created_at: times[0],
                started_at: if kind > 0 { times[1] } else { 0 },
                finished_at: if kind > 1 { times[2] } else { 0 },
                ..Default::default()
            };
            v1::ContainerEventResponse {
                container_id: "c".into(),
                container_event_type: kind as i32,
                created_at: dated[kind],
                containers_statuses: vec![status],
                ..Default::default()
            }
        };
        let arrived = times.iter().map(|at| Some(Duration::from_nanos(at.unsigned_abs()))).collect();
        EventStream { events: (0..3).map(event).collect(), arrived, ..Default::default() }
    };
    let seen = |change| {
        let mut talk = Talk::default();
        talk.witness.events(
            &Ids::default(),
            "/runtime.v1.RuntimeService/GetContainerEvents",
            &stream(change),
        );
        talk.broken().iter().map(|(oracle, _, path)| format!("{oracle} {path}")).collect::<Vec<_>>()
    };
    assert_eq!(seen(|_| ()), [""; 0]);
    assert_eq!(seen(|at| at[2] += 1_900_000_000), [""; 0], "clocks differ");
    for broken in [
        |at: &mut [i64; 3]| at.iter_mut().for_each(|at| *at += 60_000_000_000),
        |at: &mut [i64; 3]| at[1] -= 1_000_000_000,
        |at: &mut [i64; 3]| *at = [at[0]; 3],
    ] {
        assert_eq!(seen(broken), ["event-times created_at"]);
    }
}
