//! What was started runs, and times lie where they must.

use super::*;

const SECOND: i64 = 1_000_000_000;

impl Talk {
    fn start(&mut self) {
        let start = v1::StartContainerRequest { container_id: "c".into() };
        self.ok("StartContainer", &start, &v1::StartContainerResponse {});
    }
}

#[test]
fn what_was_started_has_left_its_first_state() {
    let seen = |began_before: bool, states: &[v1::ContainerState], passes: bool| {
        let mut talk = Talk::default();
        talk.start();
        if began_before {
            talk.at -= Duration::from_millis(1);
        }
        talk.passes = passes;
        for state in states {
            let container = v1::Container { id: "c".into(), state: *state as i32, ..Default::default() };
            let answer = v1::ListContainersResponse { containers: vec![container] };
            talk.ok("ListContainers", &v1::ListContainersRequest::default(), &answer);
            talk.status(|it| it.set_state(*state));
        }
        talk.breaks(started::ORACLE)
    };
    let nothing: [&str; 0] = [];
    let (created, running) = (v1::ContainerState::ContainerCreated, v1::ContainerState::ContainerRunning);
    let both = ["status.state", "containers[].state"];
    assert_eq!(seen(false, &[running], false), nothing);
    assert_eq!(seen(false, &[created], false), both);
    assert_eq!(seen(false, &[created], true), both, "also where it is asked again");
    assert_eq!(seen(true, &[created], false), ["status.state"], "the list began before that");
}

#[test]
fn starts_and_ends_are_told_of_when_they_were() {
    let seen = |started: i64, finished: Option<i64>| {
        let mut talk = Talk::default();
        talk.start();
        talk.status(|it| {
            it.started_at = NOW + started;
            if let Some(finished) = finished {
                it.set_state(v1::ContainerState::ContainerExited);
                it.finished_at = NOW + finished;
            }
        });
        talk.breaks(started::ORACLE)
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen(500, None), nothing);
    assert_eq!(seen(-SECOND, None), nothing, "clocks");
    assert_eq!(seen(-3600 * SECOND, None), ["status.started_at"]);
    assert_eq!(seen(3600 * SECOND, None), ["status.started_at"]);
    assert_eq!(seen(500, Some(900)), nothing);
    assert_eq!(seen(500, Some(-SECOND / 5)), ["status.finished_at"], "the end of another");
    assert_eq!(seen(500, Some(-SECOND)), nothing, "rounded to seconds");
    assert_eq!(seen(500, Some(3600 * SECOND)), ["status.finished_at"]);
}
