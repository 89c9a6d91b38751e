//! What the recordings of these tests hold: the life of two pods, and calls that fail.

use std::path::Path;

use bytes::Bytes;
use cri::v1;
use tonic::Code;

use crate::folder::Folder;
use crate::kubelet::{Kubelet, container, create, image, pod};
use crate::process::{PATIENCE, until};

/// Connections of the workload.
pub const CONNECTIONS: u64 = 4;

/// Does it all, one call after the other, on a connection for each service, as kubelet has them, and two for events.
pub fn drive(socket: &Path) {
    let (runtime, images) = (Kubelet::connect(socket), Kubelet::connect(socket));
    greet(&runtime, &images);
    let watchers = [Kubelet::connect(socket), Kubelet::connect(socket)];
    let mut streams = watchers.each_ref().map(Kubelet::events);
    pull(&images);
    let web = runtime.run_pod("web");
    let server = runtime.run_container(&web, "web", "server", "sleep 600");
    let job = runtime.run_pod("job");
    let quick = runtime.run_container(&job, "job", "quick", "true");
    exited(&runtime, &quick);
    look(&runtime, &server);
    fail(&runtime, &images);
    end(&runtime, &server, &web);
    look_at_what_is_left(&runtime, &job);
    end(&runtime, &quick, &job);
    for stream in &mut streams {
        stream.until_deleted(&job);
    }
    drop(streams);
    // Once this is answered the runtime, and so the recorder, knows that the stream is no longer wanted.
    watchers.iter().for_each(|watcher| drop(watcher.version()));
}

fn greet(runtime: &Kubelet, images: &Kubelet) {
    runtime.version();
    for _ in 0..3 {
        runtime.ask::<v1::StatusResponse>("Status", &v1::StatusRequest::default());
    }
    images.ask::<v1::ImageFsInfoResponse>("ImageFsInfo", &v1::ImageFsInfoRequest {});
    // As kubelet did before it spoke v1 only. A runtime may not serve it.
    let _ = runtime.send("/runtime.v1alpha2.RuntimeService/Version", Bytes::new(), PATIENCE);
}

fn pull(images: &Kubelet) {
    let status = v1::ImageStatusRequest { image: Some(image()), verbose: false };
    assert!(images.ask::<v1::ImageStatusResponse>("ImageStatus", &status).image.is_none());
    images.pull();
    assert!(images.ask::<v1::ImageStatusResponse>("ImageStatus", &status).image.is_some());
    // The other is that of the sandboxes.
    assert_eq!(images.images().len(), 2);
}

fn exited(runtime: &Kubelet, id: &str) {
    until("the container exits", || {
        (status(runtime, id).state() == v1::ContainerState::ContainerExited).then_some(())
    });
}

pub fn status(runtime: &Kubelet, id: &str) -> v1::ContainerStatus {
    let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    runtime.ask::<v1::ContainerStatusResponse>("ContainerStatus", &request).status.unwrap()
}

/// The reads that kubelet repeats.
fn look(runtime: &Kubelet, server: &str) {
    assert_eq!(runtime.sandboxes().len(), 2);
    let all = v1::ListContainersRequest::default();
    assert_eq!(runtime.ask::<v1::ListContainersResponse>("ListContainers", &all).containers.len(), 2);
    status(runtime, server);
    let all = v1::ListContainerStatsRequest::default();
    runtime.ask::<v1::ListContainerStatsResponse>("ListContainerStats", &all);
    let all = v1::ListPodSandboxStatsRequest::default();
    let _ = runtime.call("ListPodSandboxStats", &all);
    let filter = v1::ContainerStatsFilter {
        label_selector: [("app".to_owned(), "server".to_owned())].into(),
        ..Default::default()
    };
    let stats = v1::ListContainerStatsRequest { filter: Some(filter) };
    runtime.ask::<v1::ListContainerStatsResponse>("ListContainerStats", &stats);
    let exec = v1::ExecSyncRequest {
        container_id: server.to_owned(),
        cmd: ["sh", "-c", "echo alive"].map(str::to_owned).to_vec(),
        timeout: 10,
    };
    assert_eq!(runtime.ask::<v1::ExecSyncResponse>("ExecSync", &exec).stdout, "alive\n");
}

/// Calls that a runtime refuses, each in its way.
fn fail(runtime: &Kubelet, images: &Kubelet) {
    let absent = v1::ContainerStatusRequest { container_id: "absent".to_owned(), verbose: false };
    assert_eq!(runtime.call("ContainerStatus", &absent).unwrap_err().code(), Code::NotFound);
    let spec = v1::ImageSpec { image: "registry.example/no-such:1".to_owned(), ..Default::default() };
    let pull = v1::PullImageRequest { image: Some(spec), ..Default::default() };
    assert_eq!(images.call("PullImage", &pull).unwrap_err().code(), Code::NotFound);
    // The name is taken.
    let again = v1::RunPodSandboxRequest { config: Some(pod("web")), ..Default::default() };
    runtime.call("RunPodSandbox", &again).unwrap_err();
}

/// Stops and removes; stops once more what is gone, as kubelet does when it is not sure.
fn end(runtime: &Kubelet, container: &str, pod: &str) {
    let stop = v1::StopContainerRequest { container_id: container.to_owned(), timeout: 0 };
    runtime.ask::<v1::StopContainerResponse>("StopContainer", &stop);
    let stop_pod = v1::StopPodSandboxRequest { pod_sandbox_id: pod.to_owned() };
    runtime.ask::<v1::StopPodSandboxResponse>("StopPodSandbox", &stop_pod);
    let _ = runtime.call("ListPodSandboxStats", &v1::ListPodSandboxStatsRequest::default());
    late(runtime, pod);
    let status = v1::PodSandboxStatusRequest { pod_sandbox_id: pod.to_owned(), verbose: false };
    runtime.ask::<v1::PodSandboxStatusResponse>("PodSandboxStatus", &status);
    let remove = v1::RemoveContainerRequest { container_id: container.to_owned() };
    runtime.ask::<v1::RemoveContainerResponse>("RemoveContainer", &remove);
    // By contract that is no error; a runtime with a regression may see it otherwise.
    let _ = runtime.call("StopContainer", &stop);
    let remove_pod = v1::RemovePodSandboxRequest { pod_sandbox_id: pod.to_owned() };
    runtime.ask::<v1::RemovePodSandboxResponse>("RemovePodSandbox", &remove_pod);
}

fn look_at_what_is_left(runtime: &Kubelet, job: &str) {
    let left = runtime.sandboxes();
    assert_eq!(left.iter().map(|sandbox| sandbox.id.as_str()).collect::<Vec<_>>(), [job]);
    odd(runtime, job);
}

/// A container whose environment is no text.
fn odd(runtime: &Kubelet, job: &str) {
    let mut config = container("odd", "true");
    config.envs = vec![v1::KeyValue { key: "ODD".to_owned(), value: Bytes::from_static(&[0xff, 0xfe]) }];
    let request = create(job, "job", config);
    let _ = runtime.call("CreateContainer", &request);
}

/// A container for a sandbox that has stopped.
fn late(runtime: &Kubelet, pod: &str) {
    let request = create(pod, "late", container("late", "true"));
    let _ = runtime.call("CreateContainer", &request);
}

/// Records the workload on a simulator of its own.
#[track_caller]
pub fn record(folder: &Folder, tape: &str, simulator: &str) {
    record_of(folder, tape, simulator, drive);
}

/// Records one call.
#[track_caller]
pub fn record_briefly(folder: &Folder, tape: &str) {
    record_of(folder, tape, "", |socket| drop(Kubelet::connect(socket).version()));
}

#[track_caller]
pub fn record_of(folder: &Folder, tape: &str, simulator: &str, drive: impl FnOnce(&Path)) {
    let simulator = folder.simulator("recorded.sock", simulator);
    let recorder = folder.recorder(tape, "recorded.sock", "recorder.sock", "");
    drive(&folder.path("recorder.sock"));
    recorder.interrupted().done();
    simulator.interrupted().done();
}

/// Records the workload on a simulator that has a regression.
#[track_caller]
pub fn record_with(folder: &Folder, tape: &str, regression: &str) {
    record(folder, tape, &format!("--regression {regression}"));
}

/// Records a pod's life with a stream of events that is open when the recorder is stopped.
#[track_caller]
pub fn record_with_an_open_stream(folder: &Folder, tape: &str) {
    let simulator = folder.simulator("recorded.sock", "");
    let recorder = folder.recorder(tape, "recorded.sock", "recorder.sock", "");
    let socket = folder.path("recorder.sock");
    let (runtime, watcher) = (Kubelet::connect(&socket), Kubelet::connect(&socket));
    let mut stream = watcher.events();
    let web = runtime.run_pod("web");
    let stop = v1::StopPodSandboxRequest { pod_sandbox_id: web.clone() };
    runtime.ask::<v1::StopPodSandboxResponse>("StopPodSandbox", &stop);
    let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: web.clone() };
    runtime.ask::<v1::RemovePodSandboxResponse>("RemovePodSandbox", &remove);
    stream.until_deleted(&web);
    recorder.interrupted().done();
    simulator.interrupted().done();
}
