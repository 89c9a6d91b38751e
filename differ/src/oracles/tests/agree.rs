//! What answers say of one object.

use super::*;

#[test]
fn lists_and_statuses_agree_and_states_do_not_go_back() {
    let list = |change: fn(&mut v1::Container)| {
        let mut talk = Talk::default();
        talk.status(|_| {});
        let mut container = v1::Container { id: "c".into(), state: 1, created_at: NOW, ..Default::default() };
        change(&mut container);
        let answer = v1::ListContainersResponse { containers: vec![container] };
        talk.ok("ListContainers", &v1::ListContainersRequest::default(), &answer);
        talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(list(|_| {}), none);
    assert_eq!(list(|it| it.state = 2), none, "it may have ended");
    assert_eq!(list(|it| it.state = 0), ["containers[].state"]);
    assert_eq!(list(|it| it.state = 3), none, "unknown");
    assert_eq!(list(|it| it.created_at = NOW + 1), ["containers[].created_at"]);
}

/// A sandbox is made, and both are asked for it, the status first.
fn asked(makes: bool, status: v1::PodSandboxStatus, listed: v1::PodSandbox) -> Vec<(String, String)> {
    let mut talk = Talk::default();
    if makes {
        let config = v1::PodSandboxConfig { metadata: Some(metadata("a")), ..Default::default() };
        let run = v1::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        talk.ok("RunPodSandbox", &run, &v1::RunPodSandboxResponse { pod_sandbox_id: "s".into() });
    }
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: "s".into(), verbose: false };
    let answer = v1::PodSandboxStatusResponse { status: Some(status), ..Default::default() };
    talk.ok("PodSandboxStatus", &request, &answer);
    let answer = v1::ListPodSandboxResponse { items: vec![listed] };
    talk.ok("ListPodSandbox", &v1::ListPodSandboxRequest::default(), &answer);
    let all = talk.witness.breaches().map(|it| {
        let expected = it.divergence.recorded["expected"].as_str().unwrap_or_default().to_owned();
        (format!("{} {}", it.method.rsplit('/').next().unwrap(), it.divergence.path), expected)
    });
    all.collect()
}

fn metadata(name: &str) -> v1::PodSandboxMetadata {
    v1::PodSandboxMetadata { name: name.into(), ..Default::default() }
}

#[test]
fn the_one_is_blamed_that_is_wrong() {
    let status = v1::PodSandboxStatus {
        id: "s".into(),
        created_at: NOW,
        metadata: Some(metadata("a")),
        ..Default::default()
    };
    let listed = v1::PodSandbox {
        id: "s".into(),
        created_at: NOW,
        metadata: Some(metadata("a")),
        ..Default::default()
    };
    assert_eq!(asked(true, status.clone(), listed.clone()), []);
    let hour = 3_600_000_000_000;
    for (wrong_status, wrong_list, field) in [
        (
            v1::PodSandboxStatus { created_at: NOW - hour, ..status.clone() },
            v1::PodSandbox { created_at: NOW + hour, ..listed.clone() },
            "created_at",
        ),
        (
            v1::PodSandboxStatus { metadata: Some(metadata("b")), ..status.clone() },
            v1::PodSandbox { metadata: Some(metadata("b")), ..listed.clone() },
            "metadata",
        ),
    ] {
        let places =
            |found: Vec<(String, String)>| found.into_iter().map(|(place, _)| place).collect::<Vec<_>>();
        let by_status = asked(true, wrong_status.clone(), listed.clone());
        assert_eq!(places(by_status), [format!("PodSandboxStatus status.{field}")]);
        let by_list = asked(true, status.clone(), wrong_list);
        assert_eq!(places(by_list), [format!("ListPodSandbox items[].{field}")]);
        // Older than what is seen: nobody knows.
        let [(place, expected)] = asked(false, wrong_status, listed.clone()).try_into().unwrap();
        assert_eq!(place, format!("ListPodSandbox items[].{field}"));
        assert!(expected.ends_with(", as PodSandboxStatus says"), "{expected}");
    }
}

#[test]
fn a_recording_tells_which_of_two_is_wrong() {
    let method = |rpc: &str| &methods().by_name(Generation::V1, rpc).unwrap().path;
    let divergence = |path: &[&str]| Divergence {
        path: Path::of(path),
        kind: Kind::Value,
        transition: None,
        recorded: json!(0),
        live: json!(1),
        rule: "exact".to_owned(),
        severity: Severity::Breaking,
        settles: false,
        about: None,
    };
    let breach = Breach {
        method: method("ListPodSandbox").clone(),
        at: None,
        evidence: None,
        objects: crate::Objects::default(),
        call: None,
        divergence: divergence(&["items[]", "state"]),
        against: Some(Against { rpc: "PodSandboxStatus", path: "status.state".to_owned() }),
    };
    for (rpc, path, found) in [
        ("PodSandboxStatus", ["status", "state"], 1),
        ("PodSandboxStatus", ["status", "created_at"], 2),
        ("ContainerStatus", ["status", "state"], 2),
    ] {
        let (mut findings, rules) = (crate::Findings::default(), crate::Rules::standard());
        findings.add_divergence(method(rpc), &crate::Ids::default(), divergence(&path));
        findings.add_breach(&breach, &crate::Ids::default(), &rules);
        let side = crate::SideInfo::default();
        assert_eq!(findings.into_report(side.clone(), side, &rules, 0.01).findings.len(), found, "{rpc}");
    }
}

#[test]
fn what_is_made_has_an_id_that_nothing_else_has() {
    let make = |talk: &mut Talk| {
        let made = v1::RunPodSandboxResponse { pod_sandbox_id: "p".into() };
        talk.ok("RunPodSandbox", &v1::RunPodSandboxRequest::default(), &made);
    };
    let mut talk = Talk::default();
    make(&mut talk);
    let gone = v1::RemovePodSandboxRequest { pod_sandbox_id: "p".into() };
    talk.ok("RemovePodSandbox", &gone, &v1::RemovePodSandboxResponse {});
    make(&mut talk);
    assert!(talk.broken().is_empty(), "that one is gone");
    make(&mut talk);
    assert_eq!(talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>(), ["pod_sandbox_id"]);
}
