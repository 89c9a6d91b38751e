//! Hand-made needs, held against hand-made runtimes.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cri::{Generation, v1};
use critape_calls::{Call, HostPathKind};
use prost::Message;

use super::*;
use crate::judging::older_names::OlderNames;
use crate::made_up;

fn call(id: u64, rpc: &str, request: &impl Message, response: &impl Message) -> Call {
    made_up::call(id, rpc, (id, id), request, response)
}

fn needs(calls: &[Call]) -> Needs {
    let mut needs = Needs::default();
    for call in calls {
        let method = call.method().unwrap();
        needs.answer(method, call.responses[0].body.kept().unwrap(), call.ended);
        needs.call(call);
    }
    needs
}

fn target() -> Target {
    Target {
        side: critape_differ::SideInfo::default(),
        generation: Generation::V1,
        images: BTreeSet::new(),
        names: BTreeSet::new(),
        handlers: BTreeSet::new(),
        driver: None,
        left_over: 0,
        company: None,
        older_names: OlderNames::default(),
        limits: Limits::default(),
    }
}

fn limits(needs: &Needs, target: &Target) -> Limits {
    limits_on(needs, target, &Host::default())
}

fn limits_on(needs: &Needs, target: &Target, host: &Host) -> Limits {
    Limits::of(&Surroundings {
        needs,
        doubts: &Doubts::default(),
        target,
        host,
        ids: &IdentityMap::default(),
        credentials: None,
        allow_node_changes: false,
        unserved: &BTreeSet::new(),
    })
}

fn found(limits: &Limits) -> Vec<(LimitationKind, Effect, u64)> {
    limits.list.iter().map(|it| (it.kind, it.effect, it.calls)).collect()
}

fn spec(image: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: image.to_owned(), ..Default::default() }
}

fn sandbox(id: u64, handler: &str, parent: &str) -> Call {
    let linux = v1::LinuxPodSandboxConfig { cgroup_parent: parent.to_owned(), ..Default::default() };
    let config = v1::PodSandboxConfig { linux: Some(linux), ..Default::default() };
    let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
    call(id, "RunPodSandbox", &request, &v1::RunPodSandboxResponse { pod_sandbox_id: format!("s{id}") })
}

fn create(id: u64, config: v1::ContainerConfig) -> Call {
    let request = v1::CreateContainerRequest { config: Some(config), ..Default::default() };
    call(id, "CreateContainer", &request, &v1::CreateContainerResponse { container_id: format!("c{id}") })
}

fn of_image(id: u64, image: &str) -> Call {
    create(id, v1::ContainerConfig { image: Some(spec(image)), ..Default::default() })
}

#[test]
fn a_handler_is_missing_only_where_the_runtime_lists_others() {
    let needs = needs(&[sandbox(1, "kata", ""), sandbox(2, "runc", ""), sandbox(3, "", "")]);
    assert_eq!(found(&limits(&needs, &target())), []);
    let of = |handlers: &[&str]| {
        let handlers = handlers.iter().map(|it| (*it).to_owned()).collect();
        limits(&needs, &Target { handlers, ..target() })
    };
    let missing = of(&["", "runc"]);
    assert_eq!(found(&missing), [(LimitationKind::RuntimeHandler, Effect::Inconclusive, 1)]);
    assert_eq!(missing.missing_handlers, ["kata".to_owned()].into());
    assert_eq!(found(&of(&["", "runc", "kata"])), []);
}

#[test]
fn the_cgroup_driver_is_told_by_the_runtime_or_by_its_sandboxes() {
    let config = |driver: v1::CgroupDriver| {
        let linux = v1::LinuxRuntimeConfiguration { cgroup_driver: driver.into() };
        let answer = v1::RuntimeConfigResponse { linux: Some(linux) };
        call(9, "RuntimeConfig", &v1::RuntimeConfigRequest::default(), &answer)
    };
    let live = Target { driver: Some(v1::CgroupDriver::Systemd), ..target() };
    let slice = || sandbox(1, "", "/kubepods.slice/kubepods-besteffort.slice");
    let other = || sandbox(2, "", "/kubepods/besteffort/pod1");
    let of = |calls: &[Call]| limits(&needs(calls), &live).drivers.is_some();
    assert!(!of(&[slice()]) && of(&[other()]));
    assert!(!of(&[slice(), other()]), "nobody knows");
    assert!(of(&[slice(), config(v1::CgroupDriver::Cgroupfs)]));
    assert!(!of(&[other(), config(v1::CgroupDriver::Systemd)]));
    assert!(limits(&needs(&[other()]), &target()).drivers.is_none(), "the live one does not tell");
}

/// A kubelet makes containers by the image's id, and asks for it by name.
#[test]
fn an_image_is_known_by_its_names_and_its_id() {
    let id = format!("sha256:{}", "1".repeat(64));
    let image = v1::Image {
        id: id.clone(),
        repo_tags: vec!["docker.io/library/app:1".to_owned()],
        ..Default::default()
    };
    let status = v1::ImageStatusResponse { image: Some(image), ..Default::default() };
    let asked = v1::ImageStatusRequest { image: Some(spec("app:1")), ..Default::default() };
    let seen = call(1, "ImageStatus", &asked, &status);
    let preloaded = needs(&[seen.clone(), of_image(2, &id)]);
    let missing = limits(&preloaded, &target());
    assert_eq!(found(&missing), [(LimitationKind::ImageMissing, Effect::Inconclusive, 2)]);
    let summary = &missing.list[0].summary;
    assert!(summary.ends_with(": docker.io/library/app:1"), "{summary}");
    let named = Target { names: ["docker.io/library/app:1".to_owned()].into(), ..target() };
    assert_eq!(found(&limits(&preloaded, &named)), []);
    let held = Target { images: [id.clone()].into(), ..target() };
    assert_eq!(found(&limits(&preloaded, &held)), [(LimitationKind::ImageMissing, Effect::Inconclusive, 1)]);
    // One that is pulled first is nobody's worry but the registry's.
    let pull = v1::PullImageRequest { image: Some(spec("app:1")), ..Default::default() };
    let pulled = call(1, "PullImage", &pull, &v1::PullImageResponse { image_ref: id.clone() });
    let pulled = needs(&[pulled, seen, of_image(3, &id), of_image(4, "app:1")]);
    assert_eq!(found(&limits(&pulled, &target())), [(LimitationKind::Registry, Effect::Sent, 1)]);
}

/// A container may pull one past CRI, and will do so again.
#[test]
fn an_image_that_came_without_a_pull_is_not_missing() {
    let status = |id: u64, image: Option<v1::Image>| {
        let asked = v1::ImageStatusRequest { image: Some(spec("app:1")), ..Default::default() };
        call(id, "ImageStatus", &asked, &v1::ImageStatusResponse { image, ..Default::default() })
    };
    let came = || v1::Image { id: "sha256:1".to_owned(), ..Default::default() };
    let calls = [status(1, None), status(2, Some(came())), of_image(3, "app:1")];
    assert_eq!(found(&limits(&needs(&calls), &target())), []);
    // That it was not there at first is told by the opening as well.
    let opened = |images: Vec<v1::Image>| {
        let answer = critape_calls::OpeningAnswer {
            path: "/runtime.v1.ImageService/ListImages".to_owned(),
            request: Bytes::new(),
            code: 0,
            message: String::new(),
            response: v1::ListImagesResponse { images }.encode_to_vec().into(),
        };
        let mut needs = Needs::default();
        needs.opening(&critape_calls::Opening { answers: vec![answer] });
        calls[1..].iter().for_each(|call| needs.call(call));
        needs
    };
    assert_eq!(found(&limits(&opened(Vec::new()), &target())), []);
    let named = v1::Image { repo_tags: vec!["docker.io/library/app:1".to_owned()], ..came() };
    let missing = found(&limits(&opened(vec![named]), &target()));
    assert_eq!(missing, [(LimitationKind::ImageMissing, Effect::Inconclusive, 2)]);
}

#[test]
fn an_image_that_was_removed_has_to_be_pulled_again() {
    let id = format!("sha256:{}", "1".repeat(64));
    let pull = v1::PullImageRequest { image: Some(spec("app:1")), ..Default::default() };
    let pulled = call(1, "PullImage", &pull, &v1::PullImageResponse { image_ref: id.clone() });
    let remove = v1::RemoveImageRequest { image: Some(spec(&id)) };
    let removed = call(2, "RemoveImage", &remove, &v1::RemoveImageResponse::default());
    let needs = needs(&[pulled, removed, of_image(3, "app:1")]);
    let kinds: Vec<_> = found(&limits(&needs, &target())).into_iter().map(|it| it.0).collect();
    assert_eq!(kinds, [LimitationKind::ImageMissing, LimitationKind::Registry]);
}

#[tokio::test]
async fn devices_and_paths_are_looked_for_on_this_host() {
    let device = |path: &str| v1::Device { host_path: path.to_owned(), ..Default::default() };
    let mount = |path: &str| v1::Mount { host_path: path.to_owned(), ..Default::default() };
    let config = v1::ContainerConfig {
        mounts: ["/", "/no/such/path", "/data", "/data/more", "/new", "/unknown"].map(mount).to_vec(),
        devices: vec![device("/dev/null"), device("/dev/no-such-device")],
        cdi_devices: vec![v1::CdiDevice { name: "vendor.example/class=device".to_owned() }],
        ..Default::default()
    };
    let path = |path: &str, kind| critape_calls::HostPath { path: path.to_owned(), kind };
    let host_paths = vec![
        path("/", HostPathKind::Directory),
        path("/no/such/path", HostPathKind::Other),
        path("/data", HostPathKind::Directory),
        path("/data/more", HostPathKind::File),
        path("/new", HostPathKind::Absent),
    ];
    let needs = needs(&[Call { host_paths, ..create(1, config) }]);
    let host = Host::look(needs.of_the_host(), Duration::from_secs(10)).await;
    let limits = limits_on(&needs, &target(), &host);
    assert_eq!(
        found(&limits),
        [
            (LimitationKind::Device, Effect::Inconclusive, 1),
            (LimitationKind::HostPath, Effect::Inconclusive, 1),
            (LimitationKind::NotRecorded, Effect::Inconclusive, 1),
            (LimitationKind::Device, Effect::Sent, 1),
            (LimitationKind::HostPath, Effect::Sent, 1),
            (LimitationKind::HostPath, Effect::Sent, 1),
        ]
    );
    let empty = limits.list.iter().any(|it| it.summary.ends_with(": /data, /data/more"));
    assert!(empty, "{:?}", limits.list);
    assert_eq!(limits.missing_devices, ["/dev/no-such-device".to_owned()].into());
    assert_eq!(limits.missing_paths, ["/no/such/path".to_owned()].into());
    assert!(limits.untold_paths.is_empty());
    // Where the host does not answer, nobody knows, and nothing is missing.
    let limits = limits_on(&needs, &target(), &Host::default());
    assert!(limits.missing_devices.is_empty() && limits.missing_paths.is_empty());
    let untold = ["/", "/dev/no-such-device", "/dev/null", "/no/such/path"].map(str::to_owned);
    assert_eq!(limits.untold_paths, untold.into());
    let told = limits.list.iter().filter(|it| it.summary.contains("does not answer"));
    let told: Vec<_> = told.map(|it| (it.kind, it.effect, it.calls)).collect();
    let of = |kind, calls| (kind, Effect::Inconclusive, calls);
    assert_eq!(told, [of(LimitationKind::Device, 2), of(LimitationKind::HostPath, 2)]);
}

#[test]
fn what_a_privileged_container_has_of_the_host_is_told() {
    let container = |id: u64, privileged: bool| {
        let context = v1::LinuxContainerSecurityContext { privileged, ..Default::default() };
        let linux = v1::LinuxContainerConfig { security_context: Some(context), ..Default::default() };
        create(id, v1::ContainerConfig { linux: Some(linux), ..Default::default() })
    };
    let told = limits(&needs(&[container(1, false), container(2, true)]), &target());
    assert_eq!(found(&told), [(LimitationKind::Device, Effect::Sent, 1)]);
    assert_eq!(told.list[0].first_call, Some(2));
}

#[test]
fn what_is_compressed_is_told() {
    let mut packed = of_image(1, "app:1");
    packed.requests[0].compressed = true;
    let limits = limits(&needs(&[packed]), &target());
    let told = limits.list.iter().find(|it| it.summary.contains("compressed")).unwrap();
    assert_eq!((told.kind, told.effect, told.calls), (LimitationKind::NotRecorded, Effect::Inconclusive, 1));
}

#[test]
fn ports_that_stay_are_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |protocol: v1::Protocol, host_port: u16| v1::PortMapping {
        protocol: protocol.into(),
        host_port: host_port.into(),
        ..Default::default()
    };
    let run = |id: u64, network: v1::NamespaceMode, ports: Vec<v1::PortMapping>| {
        let options = v1::NamespaceOption { network: network.into(), ..Default::default() };
        let context =
            v1::LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let linux = v1::LinuxPodSandboxConfig { security_context: Some(context), ..Default::default() };
        let config = v1::PodSandboxConfig { linux: Some(linux), port_mappings: ports, ..Default::default() };
        let request = v1::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        call(id, "RunPodSandbox", &request, &v1::RunPodSandboxResponse { pod_sandbox_id: format!("s{id}") })
    };
    let number = taken.local_addr().unwrap().port();
    let needs = needs(&[
        run(1, v1::NamespaceMode::Pod, vec![port(v1::Protocol::Sctp, 9), port(v1::Protocol::Tcp, number)]),
        run(2, v1::NamespaceMode::Node, vec![port(v1::Protocol::Tcp, number)]),
    ]);
    let limits = limits(&needs, &target());
    let summaries: Vec<_> = limits.list.iter().map(|it| it.summary.clone()).collect();
    assert_eq!(
        summaries,
        [
            "SCTP ports stay as they are: 9".to_owned(),
            format!("ports of pods on the host's network that are taken here: {number}"),
        ]
    );
}

#[test]
fn many_names_are_counted() {
    assert_eq!(names(["a", "b"]), "a, b");
    assert_eq!(names(["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
}
