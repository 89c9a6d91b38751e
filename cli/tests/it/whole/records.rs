//! `critape record`, and what `critape tape` says of what it made.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use cri::v1;
use insta::{allow_duplicates, assert_snapshot};
use prost::Message;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::{IMAGE, Kubelet, image, path};
use crate::process::{PATIENCE, until};
use crate::shape::shape;
use crate::workload;

/// `record -o json` says at the end what `tape info -o json` says later.
#[test]
fn the_summary_has_the_promised_form() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "-o json");
    workload::drive(&folder.path("l.sock"));
    let recorded: Value = serde_json::from_str(&recorder.interrupted().done()).unwrap();
    let info = folder.json("tape info node.tape -o json");
    assert_eq!(recorded, info);
    assert_snapshot!(shape(&info), @r#"
    {
      "bytes": {
        "stored": "integer",
        "wire": "integer"
      },
      "calls": "integer",
      "clean": "bool",
      "connections": "integer",
      "ended": "time",
      "events": "integer",
      "format": "integer",
      "gaps": [],
      "generations": [
        "string"
      ],
      "key": "bool",
      "mended": [],
      "open": "bool",
      "peers": [
        {
          "calls": "integer",
          "exe": "string",
          "uid": "integer"
        }
      ],
      "runtime": {
        "name": "string",
        "version": "string"
      },
      "seal": "string",
      "segments": "integer",
      "started": "time",
      "tape": "string"
    }
    "#);
    assert_eq!(info["tape"], "node.tape");
    assert_eq!(info["format"], 1);
    assert_eq!(info["generations"], serde_json::json!(["runtime.v1", "runtime.v1alpha2"]));
    assert_eq!(info["runtime"]["name"], "critape-simulator");
    assert_eq!((&info["clean"], &info["open"]), (&true.into(), &false.into()));
    assert_eq!((&info["segments"], &info["connections"]), (&1.into(), &workload::CONNECTIONS.into()));
    assert_eq!(info["peers"][0]["uid"], rustix::process::getuid().as_raw());
    assert_eq!(info["peers"][0]["exe"], std::env::current_exe().unwrap().to_str().unwrap());
    assert_eq!(info["peers"][0]["calls"], info["calls"]);
    assert!(info["started"].as_str() < info["ended"].as_str());
}

#[test]
fn verify_has_a_form_and_counts_what_info_counts() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let verified = folder.json("tape verify node.tape -o json");
    assert_snapshot!(shape(&verified), @r#"
    {
      "calls": "integer",
      "clean": "bool",
      "damage": [],
      "events": "integer",
      "segments": "integer",
      "tape": "string",
      "unclean": [],
      "whole": "bool"
    }
    "#);
    let info = folder.json("tape info node.tape -o json");
    for count in ["calls", "events", "segments"] {
        assert_eq!(verified[count], info[count]);
    }
    assert_eq!((&verified["whole"], &verified["clean"]), (&true.into(), &true.into()));
    let said = folder.run("tape verify node.tape").done();
    assert!(said.starts_with("node.tape is whole: "), "{said}");
}

/// The calls of the form that is promised, the names of metadata and messages apart.
#[test]
fn a_call_has_the_promised_form() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let mut calls = folder.json_lines("tape show node.tape -o json");
    let is_object = |value: &Value| assert!(value.is_object(), "{value}");
    for call in &mut calls {
        is_object(&call["metadata"].take());
        is_object(&call["outcome"]["metadata"].take());
        for messages in ["requests", "responses"] {
            call[messages].take().as_array().unwrap().iter().for_each(is_object);
        }
    }
    assert_snapshot!(shape(&Value::from(calls)), @r#"
    [
      {
        "connection": "integer",
        "deadline": "integer or null",
        "duration": "integer",
        "hostPaths": [],
        "id": "integer",
        "metadata": "null",
        "method": "string",
        "outcome": {
          "code": "string",
          "details": [],
          "kind": "string",
          "message": "string",
          "metadata": "null"
        },
        "peer": {
          "exe": "string",
          "pid": "integer",
          "uid": "integer"
        },
        "requests": "null",
        "responses": "null",
        "started": "time"
      }
    ]
    "#);
}

/// Names, enums and 64-bit integers as crictl prints them.
#[test]
fn messages_are_as_crictl_prints_them() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let shown = |rpc: &str| folder.json_lines(&format!("tape show node.tape -o json --method {rpc}"));
    let started = &shown("RunPodSandbox")[0];
    assert_eq!(started["method"], path("RunPodSandbox"));
    assert_eq!(started["requests"][0]["config"]["metadata"]["name"], "web");
    assert!(started["responses"][0]["podSandboxId"].is_string());
    assert_eq!(started["outcome"]["kind"], "status");
    assert_eq!(started["outcome"]["code"], "OK");
    assert_eq!(started["deadline"], u64::try_from(PATIENCE.as_nanos()).unwrap());
    assert_eq!(started["metadata"]["content-type"], "application/grpc");
    let status = &shown("ContainerStatus").pop().unwrap();
    assert_eq!(status["outcome"]["code"], "NOT_FOUND");
    let listed = &shown("ListContainers")[0]["responses"][0]["containers"];
    let of =
        |name: &str| listed.as_array().unwrap().iter().find(|it| it["metadata"]["name"] == name).unwrap();
    assert_eq!(of("server")["state"], "CONTAINER_RUNNING");
    assert_eq!(of("quick")["state"], "CONTAINER_EXITED");
    let created = of("server")["createdAt"].as_str().unwrap();
    assert!(created.parse::<i64>().unwrap() > 1_600_000_000_000_000_000);
    let sandboxes = &shown("ListPodSandbox")[0]["responses"][0]["items"];
    assert_eq!(sandboxes[0]["state"], "SANDBOX_READY");
}

#[test]
fn recording_again_goes_on_with_another_segment() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let first = folder.json("tape info node.tape -o json");
    workload::record(&folder, "node.tape", "");
    let both = folder.json("tape info node.tape -o json");
    assert_eq!((&first["segments"], &both["segments"]), (&1.into(), &2.into()));
    assert_eq!(
        (&first["connections"], &both["connections"]),
        (&1.into(), &(1 + workload::CONNECTIONS).into())
    );
    assert_eq!(both["started"], first["started"]);
    assert!(both["ended"].as_str() > first["ended"].as_str());
    let calls = folder.json_lines("tape show node.tape -o json");
    assert_eq!(both["calls"], calls.len());
    let ids: Vec<_> = calls.iter().map(|call| call["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=calls.len() as u64).collect::<Vec<_>>());
    assert_eq!(calls[1]["connection"], 2);
    folder.run("tape verify node.tape").done();
}

#[test]
fn connections_at_the_same_time_are_told_apart() {
    const CONNECTIONS: usize = 8;
    const CALLS: usize = 40;
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let socket = folder.path("l.sock");
            scope.spawn(move || {
                let kubelet = Kubelet::connect(&socket);
                let spec = v1::ImageSpec { image: format!("image-{number}"), ..Default::default() };
                let request = v1::ImageStatusRequest { image: Some(spec), verbose: false };
                for _ in 0..CALLS {
                    kubelet.ask::<v1::ImageStatusResponse>("ImageStatus", &request);
                }
            });
        }
    });
    recorder.interrupted().done();
    let calls = folder.json_lines("tape show node.tape -o json");
    assert_eq!(calls.len(), CONNECTIONS * CALLS);
    for connection in 1..=CONNECTIONS {
        let line = format!("tape show node.tape -o json --connection {connection}");
        let calls = folder.json_lines(&line);
        assert_eq!(calls.len(), CALLS);
        assert!(calls.iter().all(|call| call["requests"] == calls[0]["requests"]));
        assert!(calls.iter().all(|call| call["outcome"]["code"] == "OK"));
    }
    folder.run("tape verify node.tape").done();
}

/// What a client gets: code, message, details, metadata and bytes.
type Got = (tonic::Code, String, Bytes, String, Bytes);

fn got(kubelet: &Kubelet, path: &str, request: Bytes, deadline: Duration) -> Got {
    let metadata = |metadata: &tonic::metadata::MetadataMap| {
        let mut headers = metadata.clone();
        headers.remove("date");
        format!("{headers:?}")
    };
    match kubelet.send(path, request, deadline) {
        Ok(reply) => (tonic::Code::Ok, String::new(), Bytes::new(), metadata(&reply.metadata), reply.message),
        Err(status) => (
            status.code(),
            status.message().to_owned(),
            Bytes::copy_from_slice(status.details()),
            metadata(status.metadata()),
            Bytes::new(),
        ),
    }
}

#[test]
fn clients_get_what_they_get_without_the_recorder() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let direct = Kubelet::connect(&folder.path("r.sock"));
    let recorded = Kubelet::connect(&folder.path("l.sock"));
    direct.pull();
    let pod = direct.run_pod("web");
    let container = direct.run_container(&pod, "web", "server", "sleep 600");
    let status =
        |id: &str| v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false }.encode_to_vec();
    let exec = |script: &str| {
        let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
        v1::ExecSyncRequest { container_id: container.clone(), cmd, timeout: 0 }.encode_to_vec()
    };
    let image = v1::ImageStatusRequest { image: Some(image()), verbose: false }.encode_to_vec();
    let quick = Duration::from_millis(300);
    for (path, request, deadline, code) in [
        (path("Version"), Vec::new(), PATIENCE, tonic::Code::Ok),
        (path("ContainerStatus"), status(&container), PATIENCE, tonic::Code::Ok),
        (path("ContainerStatus"), status(&container[..12]), PATIENCE, tonic::Code::Ok),
        (path("ImageStatus"), image, PATIENCE, tonic::Code::Ok),
        (path("ExecSync"), exec("echo out; echo err >&2; exit 3"), PATIENCE, tonic::Code::Ok),
        (path("ExecSync"), exec("sleep 600"), quick, tonic::Code::DeadlineExceeded),
        (path("ContainerStatus"), status("absent"), PATIENCE, tonic::Code::NotFound),
        (path("ContainerStatus"), vec![0xff; 7], PATIENCE, tonic::Code::Internal),
        (
            "/runtime.v1.RuntimeService/Frobnicate".to_owned(),
            Vec::new(),
            PATIENCE,
            tonic::Code::Unimplemented,
        ),
        ("/runtime.v9.RuntimeService/Version".to_owned(), Vec::new(), PATIENCE, tonic::Code::Unimplemented),
    ] {
        let request = Bytes::from(request);
        let expected = got(&direct, &path, request.clone(), deadline);
        let got = got(&recorded, &path, request, deadline);
        assert_eq!(expected.0, code, "{path}: {}", expected.1);
        if code == tonic::Code::DeadlineExceeded {
            // Whether the client or the runtime is the first to say so is chance.
            assert_eq!(got.0, code);
        } else {
            assert_eq!(got, expected, "{path}");
        }
    }
    recorder.interrupted().done();
    let codes: Vec<_> = folder
        .json_lines("tape show node.tape -o json")
        .iter()
        .map(|call| call["outcome"]["code"].as_str().unwrap().to_owned())
        .collect();
    // The service that CRI does not have passes beside the tape.
    let expected =
        ["OK", "OK", "OK", "OK", "OK", "DEADLINE_EXCEEDED", "NOT_FOUND", "INTERNAL", "UNIMPLEMENTED"];
    assert_eq!(codes, expected);
}

/// Bytes that are no HTTP/2 pass, and are counted once for each direction.
#[test]
fn every_byte_passes_and_is_counted_once() {
    let folder = Folder::new();
    let runtime = UnixListener::bind(folder.path("r.sock")).unwrap();
    runtime.set_nonblocking(true).unwrap();
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--passive -o json");
    let (asked, answered) = (vec![b'a'; 300_000], vec![b'b'; 500_000]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = until("the recorder connects", || runtime.accept().ok());
            client.set_nonblocking(false).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = vec![0; asked.len()];
            client.read_exact(&mut received).unwrap();
            assert!(received == asked, "what the client sent arrives");
            client.write_all(&answered).unwrap();
        });
        let mut client = UnixStream::connect(folder.path("l.sock")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&asked).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == answered, "what the runtime sent arrives, and its end");
    });
    let info: Value = serde_json::from_str(&recorder.interrupted().done()).unwrap();
    assert_eq!(info["bytes"]["wire"], asked.len() + answered.len());
    assert_eq!((&info["calls"], &info["connections"]), (&0.into(), &1.into()));
}

/// What does not fit into memory is left out, and the tape says so.
#[test]
fn a_gap_has_the_promised_form() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--memory 1 -o json");
    Kubelet::connect(&folder.path("l.sock")).pull();
    let info: Value = serde_json::from_str(&recorder.interrupted().done()).unwrap();
    assert_snapshot!(shape(&info["gaps"]), @r#"
    [
      {
        "at": "time",
        "bytes": "integer",
        "calls": "integer",
        "reason": "string"
      }
    ]
    "#);
    assert_eq!(info["gaps"][0]["calls"], 1);
    let call = folder.json("tape show node.tape 1");
    assert_eq!(call["outcome"]["code"], "OK");
    let length = v1::PullImageRequest { image: Some(image()), ..Default::default() }.encoded_len();
    assert_eq!(call["requests"], serde_json::json!([{"shed": length}]));
    assert!(length > IMAGE.len());
}

#[test]
fn a_passive_recorder_asks_the_runtime_nothing() {
    let folder = Folder::new();
    let simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--passive");
    Kubelet::connect(&folder.path("l.sock")).version();
    recorder.interrupted().done();
    assert_eq!(simulator.interrupted().stderr.lines().last(), Some("served 1 calls"));
}

/// SIGTERM is what service managers send.
#[test]
fn both_signals_end_a_recording_well() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    allow_duplicates! {
        for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
            let tape = format!("{}.tape", signal.as_raw());
            let recorder = folder.recorder(&tape, "r.sock", "l.sock", "");
            let kubelet = Kubelet::connect(&folder.path("l.sock"));
            kubelet.version();
            recorder.signal(signal);
            let ended = recorder.ended();
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
            assert_snapshot!(folder.redacted(&ended.stderr).replace(&tape, "node.tape"), @r"
            listening on unix://DIR/l.sock
            recorded 1 calls on 1 connections onto node.tape; `critape tape show node.tape` lists them
            ");
            assert!(!folder.path("l.sock").exists(), "its socket is left behind");
            assert_eq!(folder.json(&format!("tape info {tape} -o json"))["clean"], true);
        }
    }
}

/// Messages hold what only the runtime's owner may read.
#[test]
fn a_tape_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let mode = std::fs::metadata(folder.path("node.tape")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "the mode of the tape's folder is {mode:o}");
}

/// However short it is: a client asked, and the answer is on the tape.
#[test]
fn a_short_recording_knows_its_runtime() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let info = folder.json("tape info node.tape -o json");
    assert_eq!(info["runtime"]["name"], "critape-simulator", "{info:#}");
}
