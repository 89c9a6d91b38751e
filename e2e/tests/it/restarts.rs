//! Runtimes that go and come while a recording goes on.

use cri::v1;
use critape_e2e::parts::require;
use critape_e2e::process::until;
use critape_e2e::session::BUSYBOX;
use critape_e2e::{Crictl, Critape, Grpcio, Part, Version};
use serde_json::{Value, json};

use crate::place::Place;
use crate::text;

#[test]
fn in_the_middle_clients_meet_what_they_meet_directly() {
    let Some(parts) = require(&[Part::Containerd(Version::V2_1), Part::Crictl, Part::Grpcio]) else { return };
    let (place, critape) = (Place::new(), Critape::get());
    let runtime = place.runtime(Version::V2_1);
    let crictl = Crictl::new(&parts, place.path(), &runtime.socket());
    crictl.run(&["pull", BUSYBOX]).well();
    let container = place.run_pod(&crictl, "web");
    let tape = place.join("tape");
    let recorder = critape.record(&tape, &runtime.socket(), &place.join("rec.sock"));
    // One connection each, from here to the end.
    let mut clients = [Grpcio::start(&parts, &runtime.socket()), Grpcio::start(&parts, recorder.socket())];

    assert_eq!(alike(&mut clients, version), "OK");
    let events =
        clients.each_mut().map(|client| client.begin("GetContainerEvents", &v1::GetEventsRequest {}));
    let execs = clients.each_mut().map(|client| client.begin("ExecSync", &sleep(&container)));
    until("both calls have begun", || {
        let processes = crictl.run(&["exec", "-s", &container, "ps"]).well();
        (processes.matches("sleep 600").count() == 2).then_some(())
    });
    runtime.halt();
    for [direct, recorded] in [events, execs] {
        let (direct, recorded) = (clients[0].end(direct), clients[1].end(recorded));
        assert_eq!(direct.code, recorded.code, "directly: {direct:?}, through the recorder: {recorded:?}");
        assert_ne!(direct.code, "OK");
    }
    assert_eq!(alike(&mut clients, version), "UNAVAILABLE");

    runtime.restart();
    for client in &mut clients {
        until("calls are answered again", || (version(client) == "OK").then_some(()));
    }
    assert_eq!(alike(&mut clients, |client| status(client, &container)), "OK");
    assert_eq!(alike(&mut clients, |client| status(client, "no-such-container")), "NOT_FOUND");
    recorder.end();

    let verified = critape.tape("verify", &tape);
    assert_eq!((&verified["whole"], &verified["clean"]), (&json!(true), &json!(true)));
    let calls = critape.calls(&tape);
    assert_eq!(on_tape(&calls, "ContainerStatus"), [("status", "OK"), ("status", "NOT_FOUND")]);
    // The runtime went away without a word about them.
    for rpc in ["GetContainerEvents", "ExecSync"] {
        let ends = on_tape(&calls, rpc);
        assert!(matches!(ends[..], [(kind, _)] if kind != "status"), "{rpc}: {ends:?}");
    }
}

#[test]
fn recorders_may_come_first() {
    let Some(parts) = require(&[Part::Containerd(Version::V1_7), Part::Crictl]) else { return };
    let (place, critape) = (Place::new(), Critape::get());
    let tape = place.join("tape");
    let recorder = critape.record(&tape, &place.runtime_socket(), &place.join("rec.sock"));
    assert!(recorder.stderr().starts_with("warning: no runtime "), "{}", recorder.stderr());
    let crictl = Crictl::new(&parts, place.path(), recorder.socket());
    let turned_away = crictl.run(&["--timeout", "1s", "version"]);
    assert_eq!(turned_away.code(), 1, "{turned_away:?}");

    let runtime = place.runtime(Version::V1_7);
    let recorded = crictl.run(&["version"]).well();
    let direct = Crictl::new(&parts, place.path(), &runtime.socket()).run(&["version"]).well();
    assert_eq!(recorded, direct);
    recorder.end();
    let calls = critape.calls(&tape);
    let answered = on_tape(&calls, "Version").into_iter().filter(|end| *end == ("status", "OK")).count();
    assert_eq!(answered, 2, "{calls:#?}");
    assert_eq!(critape.tape("verify", &tape)["whole"], true);
}

/// The code that both clients meet.
#[track_caller]
fn alike(clients: &mut [Grpcio; 2], call: impl Fn(&mut Grpcio) -> String) -> String {
    let [direct, recorded] = clients.each_mut().map(call);
    assert_eq!(direct, recorded, "directly, and through the recorder");
    direct
}

fn version(client: &mut Grpcio) -> String {
    client.call("Version", &v1::VersionRequest::default()).code
}

fn status(client: &mut Grpcio, container: &str) -> String {
    let request = v1::ContainerStatusRequest { container_id: container.to_owned(), verbose: false };
    client.call("ContainerStatus", &request).code
}

/// A call that does not end by itself.
fn sleep(container: &str) -> v1::ExecSyncRequest {
    let cmd = ["sleep", "600"].map(str::to_owned).to_vec();
    v1::ExecSyncRequest { container_id: container.to_owned(), cmd, timeout: 0 }
}

/// How the calls of this RPC ended, as the tape has it.
fn on_tape<'a>(calls: &'a [Value], rpc: &str) -> Vec<(&'a str, &'a str)> {
    let of_it = calls.iter().filter(|call| text(call, "/method").ends_with(&format!("/{rpc}")));
    of_it
        .map(|call| (text(call, "/outcome/kind"), call["outcome"]["code"].as_str().unwrap_or_default()))
        .collect()
}
