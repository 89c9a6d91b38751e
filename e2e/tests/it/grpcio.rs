//! Python's grpcio, with the `:authority` that it takes by itself.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use cri::v1;
use critape_e2e::critape::endpoint;
use critape_e2e::grpcio::Outcome;
use critape_e2e::parts::require;
use critape_e2e::process::PATIENCE;
use critape_e2e::{Critape, Grpcio, Part, Parts, Version};

use crate::place::Place;
use crate::text;

#[test]
fn takes_the_sockets_path_for_its_authority() {
    let Some(parts) = require(&[Part::Grpcio]) else { return };
    let place = Place::new();
    let socket = place.join("any.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut client = Grpcio::start(&parts, &socket);
    client.begin("Version", &v1::VersionRequest::default());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Settings without any: it waits for these before it calls.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
    let authority = socket.display().to_string().trim_start_matches('/').replace('/', "%2F");
    let mut sent = Vec::new();
    let mut chunk = [0; 4096];
    while !sent.windows(authority.len()).any(|bytes| bytes == authority.as_bytes()) {
        let length = stream.read(&mut chunk).expect("an authority that is the path");
        assert_ne!(length, 0, "no authority that is the path");
        sent.extend_from_slice(&chunk[..length]);
    }
}

#[test]
fn is_served_by_containerd_through_the_recorder() {
    let Some(parts) = require(&[Part::Containerd(Version::V1_7), Part::Grpcio]) else { return };
    let (place, critape) = (Place::new(), Critape::get());
    let runtime = place.runtime(Version::V1_7);
    let tape = place.join("tape");
    let recorder = critape.record(&tape, &runtime.socket(), &place.join("rec.sock"));
    let recorded = calls(&parts, recorder.socket());
    recorder.end();
    assert_eq!(recorded, calls(&parts, &runtime.socket()));
    assert_eq!(codes(&recorded), EXPECTED);

    let on_tape = critape.calls(&tape);
    let on_tape: Vec<(&str, &str)> = on_tape
        .iter()
        .map(|call| (text(call, "/method").rsplit('/').next().unwrap(), text(call, "/outcome/code")))
        .collect();
    assert_eq!(on_tape, EXPECTED);
    assert_eq!(critape.tape("verify", &tape)["whole"], true);
}

#[test]
fn is_served_by_the_simulator() {
    let Some(parts) = require(&[Part::Grpcio]) else { return };
    let place = Place::new();
    let socket = place.join("sim.sock");
    let simulator = Critape::get().serve(&["simulator", "--listen", &endpoint(&socket)]);
    assert_eq!(codes(&calls(&parts, &socket)), EXPECTED);
    simulator.end();
}

/// What [`calls`] asks for, and how any runtime has to end it.
const EXPECTED: &[(&str, &str)] = &[
    ("Version", "OK"),
    ("ListContainers", "OK"),
    ("ContainerStatus", "NOT_FOUND"),
    ("NoSuchMethod", "UNIMPLEMENTED"),
];

fn calls(parts: &Parts, socket: &Path) -> Vec<(&'static str, Outcome)> {
    let mut client = Grpcio::start(parts, socket);
    let missing = v1::ContainerStatusRequest { container_id: "no-such-container".to_owned(), verbose: false };
    vec![
        ("Version", client.call("Version", &v1::VersionRequest { version: "0.1.0".to_owned() })),
        ("ListContainers", client.call("ListContainers", &v1::ListContainersRequest::default())),
        ("ContainerStatus", client.call("ContainerStatus", &missing)),
        ("NoSuchMethod", client.call("NoSuchMethod", &())),
    ]
}

fn codes<'a>(calls: &'a [(&'static str, Outcome)]) -> Vec<(&'static str, &'a str)> {
    calls.iter().map(|(rpc, outcome)| (*rpc, outcome.code.as_str())).collect()
}
