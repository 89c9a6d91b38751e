//! `critape record --metrics`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use bytes::Bytes;
use cri::v1;
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::kubelet::{Kubelet, path};
use crate::process::{PATIENCE, Process, until};

/// A recorder that offers metrics, and where.
fn recorder(folder: &Folder, more: &str) -> (Process, u16) {
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", &format!("--metrics 127.0.0.1:0 {more}"));
    let said = recorder.until_stderr("/metrics\n");
    let line = said.lines().find(|line| line.starts_with("metrics on http://127.0.0.1:")).unwrap();
    let port = line.trim_end_matches("/metrics").rsplit(':').next().unwrap().parse().unwrap();
    (recorder, port)
}

/// Status and body of an answer.
fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The value of a series; nothing where it is not there.
fn value(text: &str, series: &str) -> Option<f64> {
    let line =
        text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    Some(line.rsplit(' ').next()?.parse().unwrap())
}

#[track_caller]
#[allow(clippy::float_cmp, reason = "counts are whole")]
fn until_value(port: u16, series: &str, wanted: f64) {
    until(&format!("{series} is {wanted}; it is {:?}", value(&get(port, "/metrics").1, series)), || {
        value(&get(port, "/metrics").1, series).filter(|value| *value == wanted)
    });
}

fn calls(method: &str, code: &str) -> String {
    format!("critape_calls_total{{method=\"{method}\",code=\"{code}\"}}")
}

#[test]
fn calls_bytes_and_connections_are_counted_exactly() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let (recorder, port) = recorder(&folder, "--passive -o json");
    assert_eq!(get(port, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(port, "/nope").0, 404);
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    for _ in 0..7 {
        kubelet.version();
    }
    let missing = v1::ContainerStatusRequest { container_id: "absent".into(), verbose: false };
    for _ in 0..2 {
        kubelet.call("ContainerStatus", &missing).unwrap_err();
    }
    let unknown = "/runtime.v1.RuntimeService/Frobnicate";
    kubelet.send(unknown, Bytes::new(), PATIENCE).unwrap_err();
    for _ in 0..3 {
        kubelet.send("/containerd.services.version.v1.Version/Version", Bytes::new(), PATIENCE).unwrap_err();
    }
    let watcher = Kubelet::connect(&folder.path("l.sock"));
    let stream = watcher.events();

    // The end of a call is counted after it was forwarded.
    until_value(port, &calls("other", "UNIMPLEMENTED"), 1.0);
    until_value(port, "critape_calls_in_flight", 1.0);
    until("something is committed", || {
        value(&get(port, "/metrics").1, "critape_events_written_total").filter(|events| *events > 0.0)
    });
    let text = get(port, "/metrics").1;
    for (series, wanted) in [
        (calls(&path("Version"), "OK").as_str(), 7.0),
        (calls(&path("ContainerStatus"), "NOT_FOUND").as_str(), 2.0),
        ("critape_other_calls_total", 3.0),
        ("critape_connections_total", 2.0),
        ("critape_connections_open", 2.0),
        ("critape_connections_refused_total", 0.0),
        ("critape_segments_total", 1.0),
        ("critape_recording", 1.0),
        ("critape_queue_limit_bytes", f64::from(20 << 20)),
        (&format!("critape_call_duration_seconds_count{{method=\"{}\"}}", path("Version")), 7.0),
    ] {
        assert_eq!(value(&text, series), Some(wanted), "{series} in:\n{text}");
    }
    for series in ["critape_tape_bytes", "critape_disk_free_bytes", "critape_events_written_total"] {
        assert!(value(&text, series).is_some_and(|value| value > 0.0), "{series} in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));

    drop(stream);
    drop((watcher, kubelet));
    until_value(port, "critape_connections_open", 0.0);
    until_value(port, "critape_calls_in_flight", 0.0);
    let text = get(port, "/metrics").1;
    let bytes = |from| value(&text, &format!("critape_forwarded_bytes_total{{from=\"{from}\"}}")).unwrap();
    let info: Value = serde_json::from_str(&recorder.interrupted().done()).unwrap();
    assert_eq!(info["bytes"]["wire"].as_f64(), Some(bytes("client") + bytes("runtime")));
    assert_eq!(info["passed"], json!({"calls": 3, "connections": 0}));
}

#[test]
fn what_is_left_out_is_counted_by_reason() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let (recorder, port) = recorder(&folder, "--passive --memory 1 -o json");
    Kubelet::connect(&folder.path("l.sock")).pull();
    let shed = "critape_messages_shed_total{reason=\"overload\"}";
    until_value(port, shed, 2.0);
    let info: Value = serde_json::from_str(&recorder.interrupted().done()).unwrap();
    assert_eq!(info["gaps"][0]["calls"], 1);
}

/// CRI-O's HTTP/1.1 on the same socket.
#[test]
fn connections_of_another_protocol_are_counted_and_named_at_the_end() {
    let folder = Folder::new();
    let runtime = UnixListener::bind(folder.path("r.sock")).unwrap();
    let (recorder, port) = recorder(&folder, "--passive");
    let mut client = UnixStream::connect(folder.path("l.sock")).unwrap();
    client.write_all(b"GET /info HTTP/1.1\r\n\r\n").unwrap();
    let (mut served, _) = runtime.accept().unwrap();
    let mut asked = [0; 22];
    served.read_exact(&mut asked).unwrap();
    until_value(port, "critape_other_connections_total", 1.0);
    drop(client);
    let stderr = recorder.interrupted().stderr;
    let said = "forwarded beside the tape, as it is not CRI: 0 calls of other services, 1 connections of other protocols";
    assert!(stderr.lines().any(|line| line == said), "{stderr}");
}

#[test]
fn clients_without_a_runtime_are_counted() {
    let folder = Folder::new();
    let (recorder, port) = recorder(&folder, "");
    let mut client = UnixStream::connect(folder.path("l.sock")).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Closed at once; a reset is as good.
    let _ = client.read(&mut [0; 1]);
    until_value(port, "critape_connections_refused_total", 1.0);
    assert_eq!(recorder.interrupted().code, Some(0));
}

/// Whoever holds connections open takes neither the recorder's nor each other's.
#[test]
fn idle_clients_of_metrics_do_no_harm() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let (recorder, port) = recorder(&folder, "--passive");
    let idle: Vec<_> = (0..64).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    Kubelet::connect(&folder.path("l.sock")).version();
    drop(idle);
    until_value(port, &calls(&path("Version"), "OK"), 1.0);
    recorder.interrupted().done();
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = format!(
        "record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock --metrics 127.0.0.1:{port}"
    );
    let said = format!("error: offering metrics on 127.0.0.1:{port}: Address already in use");
    let refused = folder.refused(&line);
    assert!(refused.starts_with(&said), "{refused}");
}
