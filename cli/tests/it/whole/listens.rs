//! `critape simulator` and `critape gateway`.

use std::io::{Read, Write};
use std::net::TcpStream;

use insta::{allow_duplicates, assert_snapshot};
use rustix::process::Signal;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::{PATIENCE, Process};
use crate::shape::shape;

#[test]
fn regressions_are_listed_in_the_promised_form() {
    let folder = Folder::new();
    let listed = folder.json("simulator --list-regressions -o json");
    assert_snapshot!(shape(&listed), @r#"
    [
      {
        "name": "string",
        "source": "string",
        "summary": "string"
      }
    ]
    "#);
    let names = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    let table = folder.run("simulator --list-regressions").done();
    assert!(names.zip(table.lines()).all(|(name, line)| line.starts_with(name)));
    assert_eq!(table.lines().count(), listed.as_array().unwrap().len());
}

#[test]
fn a_seed_makes_ids_repeatable() {
    let folder = Folder::new();
    let id = |seed: &str| {
        let _simulator = folder.simulator("s.sock", &format!("--seed {seed}"));
        Kubelet::connect(&folder.path("s.sock")).run_pod("web")
    };
    assert_eq!(id("7"), id("7"));
    assert_ne!(id("7"), id("8"));
}

#[test]
fn a_simulator_ends_well_with_a_summary() {
    allow_duplicates! {
        for signal in [Signal::INT, Signal::TERM] {
            let folder = Folder::new();
            let simulator = folder.simulator("s.sock", "");
            Kubelet::connect(&folder.path("s.sock")).version();
            simulator.signal(signal);
            let ended = simulator.ended();
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
            assert_snapshot!(folder.redacted(&ended.stderr), @r"
            listening on unix://DIR/s.sock
            served 1 calls
            ");
            assert!(!folder.path("s.sock").exists(), "its socket is left behind");
        }
    }
}

/// A gateway on a port, and the port.
fn gateway(folder: &Folder, more: &str) -> (Process, u16) {
    let gateway = folder.listening(&format!("gateway -r unix://DIR/s.sock --listen 127.0.0.1:0 {more}"));
    let line = gateway.until_stderr("\n");
    let port = line.lines().next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    (gateway, port)
}

/// Status and body of an answer.
fn get(port: u16, path: &str, token: Option<&str>) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

#[test]
fn a_gateway_prints_where_it_listens_and_the_token() {
    let folder = Folder::new();
    let _simulator = folder.simulator("s.sock", "");
    let (gateway, port) = gateway(&folder, "");
    let stderr = gateway.until_stderr("token ");
    let token = stderr.lines().nth(1).unwrap().strip_prefix("token ").unwrap().to_owned();
    assert_eq!(get(port, "/cri/v1/version", None).0, 401);
    let (status, version) = get(port, "/cri/v1/version", Some(&token));
    assert_eq!((status, &version["runtimeName"]), (200, &"critape-simulator".into()));
    let said = stderr.replace(&port.to_string(), "PORT").replace(&token, "TOKEN");
    assert_snapshot!(said, @r"
    listening on http://127.0.0.1:PORT
    token TOKEN
    ");
    let ended = gateway.interrupted();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
}

#[test]
fn a_token_that_was_given_is_not_printed() {
    let folder = Folder::new();
    let _simulator = folder.simulator("s.sock", "");
    let token = "0123456789abcdef0123456789abcdef";
    folder.write("token", &format!("{token}\n"));
    let (gateway, port) = gateway(&folder, "--token-file token");
    assert_eq!(get(port, "/cri/v1/version", None).0, 401);
    assert_eq!(get(port, "/cri/v1/version", Some(token)).0, 200);
    let stderr = gateway.interrupted().stderr;
    assert!(!stderr.contains("token") && !stderr.contains(token), "{stderr}");
}

#[test]
fn a_gateway_without_a_token_is_open() {
    let folder = Folder::new();
    let _simulator = folder.simulator("s.sock", "");
    let (gateway, port) = gateway(&folder, "--no-auth");
    assert_eq!(get(port, "/cri/v1/version", None).0, 200);
    assert!(!gateway.interrupted().stderr.contains("token"));
}

#[test]
fn a_gateway_on_a_socket_needs_no_token() {
    let folder = Folder::new();
    let _simulator = folder.simulator("s.sock", "");
    let gateway = folder.listening("gateway -r unix://DIR/s.sock --listen unix://DIR/g.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(folder.path("g.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /cri/v1/version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ended = gateway.interrupted();
    assert_eq!(ended.code, Some(0));
    assert!(
        folder.redacted(&ended.stderr).starts_with("listening on unix://DIR/g.sock\n"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("token"));
    assert!(!folder.path("g.sock").exists(), "its socket is left behind");
}

#[test]
fn a_gateway_ends_well_with_a_summary() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = Folder::new();
        let _simulator = folder.simulator("s.sock", "");
        let (gateway, port) = gateway(&folder, "--no-auth");
        assert_eq!(get(port, "/cri/v1/version", None).0, 200);
        gateway.signal(signal);
        let ended = gateway.ended();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
        assert!(ended.stderr.lines().count() > 1, "there is no summary: {}", ended.stderr);
    }
}
