//! Each oracle sees what breaks its rule, and nothing else.

use bytes::Bytes;
use cri::{Generation, methods, v1};
use critape_calls::{Code, Ending, Metadata, Outcome};
use prost::Message;

use super::*;
use crate::Ids;
use std::time::Duration;

mod agree;
mod filtered;
mod listed;
mod over;
mod starts;
mod stays;
mod used;

/// A moment in 2026.
const NOW: i64 = 1_790_000_000_000_000_000;

/// A conversation under way: one call after the other, a millisecond each.
struct Talk {
    witness: Observer,
    at: Duration,
    /// Whether reads are asked again.
    passes: bool,
}

impl Default for Talk {
    fn default() -> Self {
        Self { witness: Observer::default(), at: Duration::from_nanos(NOW.unsigned_abs()), passes: false }
    }
}

impl Talk {
    fn ended(&mut self, rpc: &str, request: &impl Message, answer: &impl Message, code: Code) {
        let method = methods().by_name(Generation::V1, rpc).unwrap();
        let outcome = Outcome {
            ending: Ending::Status,
            code,
            message: String::new(),
            details: Vec::new(),
            metadata: Metadata::default(),
        };
        let (request, response): (Bytes, Bytes) =
            (request.encode_to_vec().into(), answer.encode_to_vec().into());
        let started = self.at;
        self.at += Duration::from_millis(1);
        let exchange = Exchange {
            method,
            request: &request,
            outcome: &outcome,
            response: &response,
            started,
            ended: self.at,
        };
        let call = Ids { recorded: Some(CallId(7)), live: None };
        if self.passes {
            self.witness.passing(&call, &exchange);
        } else {
            self.witness.observe(&call, &exchange);
        }
    }

    fn ok(&mut self, rpc: &str, request: &impl Message, answer: &impl Message) {
        self.ended(rpc, request, answer, Code::OK);
    }

    /// What was broken, as oracle, RPC and path.
    fn broken(&self) -> Vec<(&str, &str, String)> {
        self.witness
            .breaches()
            .map(|it| {
                let rpc = it.method.rsplit('/').next().unwrap();
                (it.divergence.rule.as_str(), rpc, it.divergence.path.to_string())
            })
            .collect()
    }

    /// Where this one was broken.
    fn breaks(&self, oracle: Oracle) -> Vec<String> {
        self.broken().into_iter().filter(|it| it.0 == oracle.name).map(|it| it.2).collect()
    }

    fn is_checked(&self, oracle: Oracle) -> bool {
        !self.witness.unchecked().any(|unchecked| unchecked == oracle)
    }

    fn make_container(&mut self) {
        let config = v1::ContainerConfig {
            labels: [("app".to_owned(), "x".to_owned())].into(),
            mounts: vec![v1::Mount {
                container_path: "/data".into(),
                host_path: "/host".into(),
                readonly: true,
                ..Default::default()
            }],
            ..Default::default()
        };
        let request = v1::CreateContainerRequest { config: Some(config), ..Default::default() };
        self.ok("CreateContainer", &request, &v1::CreateContainerResponse { container_id: "c".into() });
    }

    fn status(&mut self, change: impl FnOnce(&mut v1::ContainerStatus)) {
        let mut status = status();
        change(&mut status);
        let answer = v1::ContainerStatusResponse { status: Some(status), ..Default::default() };
        let request = v1::ContainerStatusRequest { container_id: "c".into(), verbose: false };
        self.ok("ContainerStatus", &request, &answer);
    }
}

/// A container that runs, as nothing is wrong with it.
fn status() -> v1::ContainerStatus {
    v1::ContainerStatus {
        id: "c".into(),
        state: v1::ContainerState::ContainerRunning as i32,
        created_at: NOW,
        started_at: NOW + 1,
        labels: [("app".to_owned(), "x".to_owned())].into(),
        mounts: vec![v1::Mount {
            container_path: "/data".into(),
            host_path: "/host".into(),
            readonly: true,
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn every_oracle_names_its_source() {
    for oracle in ORACLES {
        assert_eq!(Oracle::by_name(oracle.name), Some(oracle));
        assert!(oracle.source.len() > 10 && oracle.consequence.len() > 10, "{}", oracle.name);
        assert!(![oracle.rule, oracle.consequence].iter().any(|it| it.ends_with('.')), "{}", oracle.name);
        assert!(!Talk::default().is_checked(oracle), "{}", oracle.name);
    }
    assert_eq!(Observer::default().watches.len(), ORACLES.len());
}

#[test]
fn stopping_twice_is_no_error() {
    let mut talk = Talk::default();
    let stop = v1::StopContainerRequest { container_id: "c".into(), timeout: 0 };
    talk.ok("StopContainer", &stop, &v1::StopContainerResponse {});
    talk.ended("StopContainer", &stop, &v1::StopContainerResponse {}, Code::DEADLINE_EXCEEDED);
    assert_eq!(talk.broken(), []);
    talk.ended("StopContainer", &stop, &v1::StopContainerResponse {}, Code::NOT_FOUND);
    assert_eq!(talk.broken(), [("idempotent-stop-and-remove", "StopContainer", "outcome.code".into())]);
    let mut talk = Talk::default();
    talk.ended("StopContainer", &stop, &v1::StopContainerResponse {}, Code(13));
    assert_eq!(talk.broken(), [], "the first one may fail for its own reasons");
}

#[test]
fn what_is_gone_is_not_found() {
    let gone = |code: Code| {
        let mut talk = Talk::default();
        let remove = v1::RemoveContainerRequest { container_id: "c".into() };
        let status = v1::ContainerStatusRequest { container_id: "c".into(), verbose: false };
        talk.ended("ContainerStatus", &status, &v1::ContainerStatusResponse::default(), Code(2));
        talk.ok("RemoveContainer", &remove, &v1::RemoveContainerResponse {});
        talk.ended("ContainerStatus", &status, &v1::ContainerStatusResponse::default(), code);
        talk.broken().len()
    };
    assert_eq!([gone(Code::NOT_FOUND), gone(Code(2)), gone(Code::OK)], [0, 1, 1]);
}

#[test]
fn images_have_size_and_are_there_when_pulled() {
    let asked = |image: &str| v1::ImageSpec { image: image.into(), ..Default::default() };
    let pull = v1::PullImageRequest { image: Some(asked("x:1")), ..Default::default() };
    let status = v1::ImageStatusRequest { image: Some(asked("x:1")), verbose: false };
    let image = v1::Image {
        id: "sha256:a".into(),
        size: 5,
        repo_digests: vec!["x@sha256:d".into()],
        ..Default::default()
    };
    let seen = |name: &str, image: Option<v1::Image>| {
        let mut talk = Talk::default();
        talk.ok("ImageStatus", &status, &v1::ImageStatusResponse::default());
        talk.ok("PullImage", &pull, &v1::PullImageResponse { image_ref: name.into() });
        talk.ok("ImageStatus", &status, &v1::ImageStatusResponse { image, ..Default::default() });
        talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(seen("sha256:a", Some(image.clone())), none);
    assert_eq!(seen("x@sha256:d", Some(image.clone())), none);
    assert_eq!(seen("x:1", Some(image.clone())), ["image.id"]);
    assert_eq!(seen("sha256:a", None), ["image"]);
    assert_eq!(seen("sha256:a", Some(v1::Image { size: 0, ..image })), ["image.size"]);
}

#[test]
fn an_image_id_is_told_of_all_containers_or_of_none() {
    let seen = |in_list: &[&str], in_statuses: &[&str]| {
        let mut talk = Talk::default();
        let containers = in_list.iter().enumerate().map(|(number, image)| v1::Container {
            id: number.to_string(),
            created_at: NOW,
            image_id: (*image).into(),
            ..Default::default()
        });
        let answer = v1::ListContainersResponse { containers: containers.collect() };
        talk.ok("ListContainers", &v1::ListContainersRequest::default(), &answer);
        in_statuses.iter().for_each(|image| talk.status(|it| it.image_id = (*image).into()));
        talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(seen(&["i", "i"], &["", ""]), none, "containerd before 2.3");
    assert_eq!(seen(&["", ""], &["i"]), none);
    assert_eq!(seen(&["i", ""], &[]), ["containers[].image_id"]);
    assert_eq!(seen(&["i"], &["", "i"]), ["status.image_id"]);
}

/// Has it end so long before its start was noted, in nanoseconds.
fn ended(status: &mut v1::ContainerStatus, before: i64) {
    status.set_state(v1::ContainerState::ContainerExited);
    status.finished_at = status.started_at - before;
}

#[test]
fn times_have_their_unit_and_order() {
    let seen = |change: fn(&mut v1::ContainerStatus)| {
        let mut talk = Talk::default();
        talk.status(change);
        talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(seen(|_| {}), none);
    assert_eq!(seen(|it| it.created_at = NOW / 1_000_000_000), ["status.created_at"]);
    assert_eq!(seen(|it| it.created_at = -6_795_364_578_871_345_152), ["status.created_at"]);
    assert_eq!(seen(|it| it.started_at = NOW - 1), ["status.started_at"]);
    assert_eq!(seen(|it| it.started_at = 0), ["status.started_at"], "it runs");
    assert_eq!(seen(|it| it.set_state(v1::ContainerState::ContainerExited)), ["status.finished_at"]);
    assert_eq!(seen(|it| ended(it, 1_000_000)), none, "its end was noted sooner than its start");
    assert_eq!(seen(|it| ended(it, 2_000_000_000)), ["status.finished_at"]);
    let filesystem = v1::FilesystemUsage { timestamp: 1_790_000_000, ..Default::default() };
    let mut talk = Talk::default();
    let answer = v1::ImageFsInfoResponse { image_filesystems: vec![filesystem], ..Default::default() };
    talk.ok("ImageFsInfo", &v1::ImageFsInfoRequest {}, &answer);
    assert_eq!(talk.broken(), [("times", "ImageFsInfo", "image_filesystems[].timestamp".into())]);
}

#[test]
fn what_was_given_comes_back() {
    let seen = |change: fn(&mut v1::ContainerStatus)| {
        let mut talk = Talk::default();
        talk.make_container();
        talk.status(change);
        assert!(talk.is_checked(echo::ORACLE) && talk.is_checked(options::ORACLE));
        talk.broken().into_iter().map(|(oracle, _, path)| format!("{oracle} {path}")).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(seen(|_| {}), none);
    let echo = "labels-and-annotations-echoed status";
    assert_eq!(seen(|it| it.labels.clear()), [format!("{echo}.labels.app")]);
    let mut passing = Talk::default();
    passing.make_container();
    passing.passes = true;
    passing.status(|it| it.labels.clear());
    assert_eq!(passing.breaks(echo::ORACLE), ["status.labels.app"], "also while something else takes time");
    assert_eq!(seen(|it| drop(it.labels.insert("app".into(), "X".into()))), [format!("{echo}.labels.app")]);
    assert_eq!(
        seen(|it| drop(it.annotations.insert("a.b".into(), String::new()))),
        [format!("{echo}.annotations.a.b")]
    );
    assert_eq!(seen(|it| it.mounts[0].readonly = false), ["options-visible status.mounts[]"]);
    assert_eq!(seen(|it| it.mounts.clear()), ["options-visible status.mounts[]"]);
}

#[test]
fn namespaces_are_told() {
    let options = |pid: i32| v1::NamespaceOption { pid, ..Default::default() };
    let seen = |told: Option<v1::NamespaceOption>| {
        let security =
            v1::LinuxSandboxSecurityContext { namespace_options: Some(options(2)), ..Default::default() };
        let linux = v1::LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() };
        let config = v1::PodSandboxConfig { linux: Some(linux), ..Default::default() };
        let run = v1::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let mut talk = Talk::default();
        talk.ok("RunPodSandbox", &run, &v1::RunPodSandboxResponse { pod_sandbox_id: "p".into() });
        let linux = v1::LinuxPodSandboxStatus { namespaces: Some(v1::Namespace { options: told }) };
        let status = v1::PodSandboxStatus {
            id: "p".into(),
            created_at: NOW,
            linux: Some(linux),
            ..Default::default()
        };
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: "p".into(), verbose: false };
        let answer = v1::PodSandboxStatusResponse { status: Some(status), ..Default::default() };
        talk.ok("PodSandboxStatus", &request, &answer);
        talk.broken().len()
    };
    assert_eq!([seen(Some(options(2))), seen(Some(options(0))), seen(None)], [0, 1, 1]);
}

#[test]
fn lives_are_told_whole_and_in_order() {
    let seen = |kinds: &[i32]| {
        let mut talk = Talk::default();
        talk.make_container();
        let start = v1::StartContainerRequest { container_id: "c".into() };
        talk.ok("StartContainer", &start, &v1::StartContainerResponse {});
        let remove = v1::RemoveContainerRequest { container_id: "c".into() };
        talk.ok("RemoveContainer", &remove, &v1::RemoveContainerResponse {});
        let event = |kind: &i32| v1::ContainerEventResponse {
            container_id: "c".into(),
            container_event_type: *kind,
            created_at: NOW,
            ..Default::default()
        };
        let events = kinds.iter().map(event).collect();
        let stream = EventStream { events, from: Duration::ZERO, until: talk.at, ..Default::default() };
        talk.witness.events(&Ids::default(), "/runtime.v1.RuntimeService/GetContainerEvents", &stream);
        assert!(talk.is_checked(events::ORACLE));
        talk.broken().len()
    };
    assert_eq!(seen(&[0, 1, 2, 3]), 0);
    for broken in [&[0, 1, 3][..], &[0, 1, 2], &[], &[0, 2, 1, 3], &[0, 1, 2, 3, 2]] {
        assert_eq!(seen(broken), 1, "{broken:?}");
    }
}

#[test]
fn an_order_that_changes_is_seen() {
    let seen = |orders: &[&[&str]]| {
        let mut talk = Talk::default();
        for order in orders {
            let handler = |name: &&str| v1::RuntimeHandler { name: (*name).into(), ..Default::default() };
            let answer = v1::StatusResponse {
                runtime_handlers: order.iter().map(handler).collect(),
                ..Default::default()
            };
            talk.ok("Status", &v1::StatusRequest::default(), &answer);
        }
        talk.broken().len()
    };
    assert_eq!(seen(&[&["a", "b"], &["a", "b"], &["a", "b", "c"]]), 0);
    assert_eq!(seen(&[&["a", "b"], &["b", "a"]]), 1);
}

#[test]
fn what_the_recorded_side_broke_too_is_no_finding() {
    let mut broken = Talk::default();
    broken.status(|it| it.started_at = 0);
    let fine = Talk::default();
    let beyond = |recorded: &Talk, live: &Talk| {
        breaches_beyond(Recorded(&recorded.witness), Live(&live.witness)).count()
    };
    assert_eq!([beyond(&fine, &broken), beyond(&broken, &broken), beyond(&broken, &fine)], [1, 0, 0]);
}
