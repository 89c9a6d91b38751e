//! What never changes, and what is nobody else's.

use super::*;

const NOTHING: [&str; 0] = [];

/// Two looks at one container.
fn twice(changes: [fn(&mut v1::ContainerStatus); 2]) -> Vec<String> {
    let mut talk = Talk::default();
    changes.into_iter().for_each(|change| talk.status(change));
    talk.breaks(steady::ORACLE)
}

#[test]
fn starts_ends_and_images_stay_as_they_were_told() {
    let exited = |status: &mut v1::ContainerStatus| {
        status.set_state(v1::ContainerState::ContainerExited);
        (status.finished_at, status.exit_code, status.reason) = (NOW + 9, 3, "Error".into());
    };
    let image = |status: &mut v1::ContainerStatus| status.image_ref = "sha256:a".into();
    assert_eq!(twice([|_| {}, exited]), NOTHING);
    assert_eq!(twice([exited, exited]), NOTHING);
    assert_eq!(twice([|it| it.started_at = 0, |_| {}]), NOTHING, "it had not started");
    assert_eq!(twice([|_| {}, |it| it.started_at += 1]), ["status.started_at"]);
    let ended = |change: fn(&mut v1::ContainerStatus)| {
        let mut talk = Talk::default();
        talk.status(exited);
        talk.status(|it| {
            exited(it);
            change(it);
        });
        talk.status(exited);
        talk.breaks(steady::ORACLE)
    };
    assert_eq!(ended(|it| it.finished_at += 1), ["status.finished_at"]);
    assert_eq!(ended(|it| it.exit_code = 0), ["status.exit_code"]);
    assert_eq!(ended(|it| it.reason = "Completed".into()), ["status.reason"]);
    assert_eq!(ended(|it| it.reason.clear()), NOTHING, "what is not told is no contradiction");
    assert_eq!(twice([exited, |it| it.exit_code = 3]), NOTHING, "it runs");
    assert_eq!(twice([image, image]), NOTHING);
    assert_eq!(twice([image, |it| it.image_ref = "sha256:b".into()]), ["status.image_ref"]);
}

#[test]
fn an_end_may_be_told_to_be_of_memory_later() {
    let seen = |reasons: &[&str]| {
        let mut talk = Talk::default();
        for reason in reasons {
            talk.status(|it| {
                it.set_state(v1::ContainerState::ContainerExited);
                (it.finished_at, it.exit_code, it.reason) = (NOW + 9, 137, (*reason).into());
            });
        }
        talk.breaks(steady::ORACLE)
    };
    assert_eq!(seen(&["Error", "OOMKilled", "OOMKilled"]), NOTHING);
    assert_eq!(seen(&["Error", "OOMKilled", "Error"]), ["status.reason"]);
}

#[test]
fn events_tell_the_same_start_and_end() {
    let seen = |started_at: i64| {
        let mut talk = Talk::default();
        talk.status(|_| {});
        let event = v1::ContainerEventResponse {
            container_id: "c".into(),
            created_at: NOW,
            containers_statuses: vec![v1::ContainerStatus { started_at, ..status() }],
            ..Default::default()
        };
        let stream = EventStream { events: vec![event], ..Default::default() };
        talk.witness.events(&Ids::default(), "/runtime.v1.RuntimeService/GetContainerEvents", &stream);
        talk.breaks(steady::ORACLE)
    };
    assert_eq!(seen(NOW + 1), NOTHING);
    assert_eq!(seen(NOW + 2), ["containers_statuses[].started_at"]);
}

impl Talk {
    fn run(&mut self, id: &str) {
        let made = v1::RunPodSandboxResponse { pod_sandbox_id: id.into() };
        self.ok("RunPodSandbox", &v1::RunPodSandboxRequest::default(), &made);
    }

    fn sandbox(&mut self, id: &str, ip: &str, state: v1::PodSandboxState, network: v1::NamespaceMode) {
        let options = Some(v1::NamespaceOption { network: network.into(), ..Default::default() });
        let status = v1::PodSandboxStatus {
            id: id.into(),
            state: state.into(),
            created_at: NOW,
            network: Some(v1::PodSandboxNetworkStatus { ip: ip.into(), ..Default::default() }),
            linux: Some(v1::LinuxPodSandboxStatus { namespaces: Some(v1::Namespace { options }) }),
            ..Default::default()
        };
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: false };
        let answer = v1::PodSandboxStatusResponse { status: Some(status), ..Default::default() };
        self.ok("PodSandboxStatus", &request, &answer);
    }
}

#[test]
fn a_sandbox_keeps_its_address_while_it_is_ready() {
    let seen = |ips: &[(&str, v1::PodSandboxState)]| {
        let mut talk = Talk::default();
        ips.iter().for_each(|(ip, state)| talk.sandbox("a", ip, *state, v1::NamespaceMode::Pod));
        talk.breaks(steady::ORACLE)
    };
    let (ready, over) = (v1::PodSandboxState::SandboxReady, v1::PodSandboxState::SandboxNotready);
    assert_eq!(seen(&[("", ready), ("10.0.0.1", ready), ("10.0.0.1", ready), ("", over)]), NOTHING);
    assert_eq!(seen(&[("10.0.0.1", ready), ("10.0.0.2", ready)]), ["status.network.ip"]);
    assert_eq!(seen(&[("10.0.0.1", ready), ("10.0.0.2", over)]), NOTHING);
}

#[test]
fn two_pods_that_are_ready_have_two_addresses() {
    let (pod, node) = (v1::NamespaceMode::Pod, v1::NamespaceMode::Node);
    let ready = v1::PodSandboxState::SandboxReady;
    // Who is made first, and who is looked at then.
    let seen = |made: &[&str], looks: &[(&str, &str)], network: v1::NamespaceMode| {
        let mut talk = Talk::default();
        made.iter().for_each(|id| talk.run(id));
        looks.iter().for_each(|(id, ip)| talk.sandbox(id, ip, ready, network));
        talk.breaks(addresses::ORACLE)
    };
    assert_eq!(seen(&["a", "b"], &[("a", "x"), ("b", "y")], pod), NOTHING);
    assert_eq!(seen(&["a", "b"], &[("a", "x"), ("b", "x")], pod), ["status.network.ip"]);
    assert_eq!(seen(&["a", "b"], &[("a", "x"), ("b", "x")], node), NOTHING);
    assert_eq!(seen(&[], &[("a", "x"), ("b", "x")], pod), NOTHING, "the first may be over");
    assert_eq!(seen(&["a", "b"], &[("a", "x"), ("b", "x"), ("a", "x")], node), NOTHING);
    assert_eq!(seen(&[], &[("a", "x"), ("b", "x"), ("a", "x")], pod), ["status.network.ip"]);
}

#[test]
fn a_list_tells_that_both_are_ready() {
    let seen = |is_ready: bool| {
        let mut talk = Talk::default();
        for id in ["a", "b"] {
            talk.run(id);
            talk.sandbox(id, "x", v1::PodSandboxState::SandboxReady, v1::NamespaceMode::Pod);
        }
        let item = |id: &str| v1::PodSandbox {
            id: id.into(),
            state: i32::from(id == "a" && !is_ready),
            created_at: NOW,
            ..Default::default()
        };
        let answer = v1::ListPodSandboxResponse { items: ["a", "b"].map(item).into() };
        talk.ok("ListPodSandbox", &v1::ListPodSandboxRequest::default(), &answer);
        talk.breaks(addresses::ORACLE)
    };
    assert_eq!(seen(true), ["items[]"]);
    assert_eq!(seen(false), NOTHING);
}
