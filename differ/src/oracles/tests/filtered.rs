//! Lists hold what was asked for.

use super::*;

fn labels(value: &str) -> std::collections::HashMap<String, String> {
    [("app".to_owned(), value.to_owned()), ("other".to_owned(), "y".to_owned())].into()
}

#[test]
fn containers_fit_their_filter() {
    let seen = |change: fn(&mut v1::ContainerFilter), passes: bool| {
        let mut talk = Talk { passes, ..Talk::default() };
        let mut filter = v1::ContainerFilter::default();
        change(&mut filter);
        let container = v1::Container {
            id: "abc".into(),
            pod_sandbox_id: "def".into(),
            state: 1,
            created_at: NOW,
            labels: labels("x").into_iter().collect(),
            ..Default::default()
        };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        talk.ok("ListContainers", &request, &v1::ListContainersResponse { containers: vec![container] });
        let found = talk.witness.breaches().map(|it| it.divergence.live.to_string()).collect::<Vec<_>>();
        assert!(talk.broken().iter().all(|it| it.2 == "containers[]"));
        found
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen(|_| {}, false), nothing);
    assert_eq!(seen(|it| it.id = "ab".into(), false), nothing, "the beginning of its id");
    assert_eq!(seen(|it| it.id = "abcd".into(), false), ["\"abc, by its id\""]);
    assert_eq!(seen(|it| it.id = "abcd".into(), true), ["\"abc, by its id\""], "asked again");
    assert_eq!(seen(|it| it.pod_sandbox_id = "def".into(), false), nothing);
    assert_eq!(seen(|it| it.pod_sandbox_id = "e".into(), false), ["\"abc, by its pod_sandbox_id\""]);
    assert_eq!(seen(|it| it.state = Some(v1::ContainerStateValue { state: 1 }), false), nothing);
    let created = |it: &mut v1::ContainerFilter| it.state = Some(v1::ContainerStateValue { state: 0 });
    assert_eq!(seen(created, false), ["\"abc, by its state\""]);
    assert_eq!(seen(|it| it.label_selector = labels("x").into_iter().collect(), false), nothing);
    let other = |it: &mut v1::ContainerFilter| it.label_selector = labels("z").into_iter().collect();
    assert_eq!(seen(other, false), ["\"abc, by its labels\""]);
}

#[test]
fn sandboxes_and_statistics_fit_their_filter() {
    let mut talk = Talk::default();
    let selector = || labels("x").into_iter().collect();
    let sandbox =
        v1::PodSandbox { id: "s".into(), created_at: NOW, labels: selector(), ..Default::default() };
    let mut sandboxes = |filter: v1::PodSandboxFilter| {
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        let answer = v1::ListPodSandboxResponse { items: vec![sandbox.clone()] };
        talk.ok("ListPodSandbox", &request, &answer);
        talk.broken().len()
    };
    let fits = v1::PodSandboxFilter { id: "s".into(), label_selector: selector(), ..Default::default() };
    assert_eq!(sandboxes(fits), 0);
    let state = Some(v1::PodSandboxStateValue { state: 1 });
    assert_eq!(sandboxes(v1::PodSandboxFilter { state, ..Default::default() }), 1);

    let stats = |container: &str, pod: &str| {
        let mut talk = Talk::default();
        let filter = v1::ContainerStatsFilter {
            id: container.into(),
            label_selector: labels("x").into_iter().collect(),
            ..Default::default()
        };
        let attributes = v1::ContainerAttributes {
            id: "c".into(),
            labels: labels("x").into_iter().collect(),
            ..Default::default()
        };
        let it = v1::ContainerStats { attributes: Some(attributes), ..Default::default() };
        let request = v1::ListContainerStatsRequest { filter: Some(filter) };
        talk.ok("ListContainerStats", &request, &v1::ListContainerStatsResponse { stats: vec![it] });
        let filter = v1::PodSandboxStatsFilter { id: pod.into(), ..Default::default() };
        let attributes = v1::PodSandboxAttributes { id: "s".into(), ..Default::default() };
        let it = v1::PodSandboxStats { attributes: Some(attributes), ..Default::default() };
        let request = v1::ListPodSandboxStatsRequest { filter: Some(filter) };
        talk.ok("ListPodSandboxStats", &request, &v1::ListPodSandboxStatsResponse { stats: vec![it] });
        talk.broken().into_iter().map(|it| it.1.to_owned()).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(stats("c", "s"), nothing);
    assert_eq!(stats("x", "x"), ["ListContainerStats", "ListPodSandboxStats"]);
}
