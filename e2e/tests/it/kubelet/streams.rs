//! A kubelet that asks for lists as streams.

use std::path::Path;

use critape_e2e::critape::{Server, endpoint};
use critape_e2e::parts::require;
use critape_e2e::process::until;
use critape_e2e::{Critape, Kubelet, Part};

use super::methods;
use super::pods::pod;
use crate::place::Place;
use crate::text;

const STREAMS: [&str; 3] = ["StreamContainers", "StreamImages", "StreamPodSandboxes"];

/// On a runtime that serves them it asks for nothing else, and its tape is replayed as it goes on where they are not served.
#[test]
fn that_streams_lists_is_replayed_where_they_are_streamed_and_where_not() {
    if require(&[Part::Kubelet]).is_none() {
        return;
    }
    let (place, critape) = (Place::new(), Critape::get());
    let (runtime, socket, tape) = (place.join("sim.sock"), place.join("rec.sock"), place.join("tape"));
    let streamed = &["--variant", "streamed-lists"];
    let simulator = serve(&critape, &runtime, streamed);
    let recorder = critape.record(&tape, &runtime, &socket);
    let gate = &["--feature-gates", "CRIListStreaming=true"];
    let kubelet = Kubelet::start(&place.join("kubelet"), &socket, &[pod("web", "Never", "sleep 600")], gate);
    until("the pod runs", || kubelet.pods().iter().any(|pod| pod.phase == "Running").then_some(()));
    drop(kubelet);
    recorder.end();
    simulator.end();

    let calls = critape.calls(&tape);
    let asked = methods(&calls);
    assert!(STREAMS.iter().all(|stream| asked.contains(stream)), "{asked:?}");
    assert!(!asked.iter().any(|method| method.starts_with("List")), "{asked:?}");

    let simulator = serve(&critape, &runtime, streamed);
    critape.replay(&tape, &runtime, &["--pace", "max"]).same();
    simulator.end();
    let simulator = serve(&critape, &runtime, &[]);
    let report = critape.replay(&tape, &runtime, &["--pace", "max"]).report;
    simulator.end();
    let findings = report["findings"].as_array().unwrap().iter();
    let mut found: Vec<String> = findings
        .map(|it| {
            let rpc = text(it, "/method").rsplit('/').next().unwrap();
            format!("{rpc} {} {}", text(it, "/kind"), text(it, "/transition"))
        })
        .collect();
    found.sort();
    assert_eq!(found, STREAMS.map(|stream| format!("{stream} capability OK→UNIMPLEMENTED")));
}

#[track_caller]
fn serve(critape: &Critape, socket: &Path, options: &[&str]) -> Server {
    let listen = endpoint(socket);
    critape.serve(&[&["simulator", "--listen", listen.as_str()], options].concat())
}
