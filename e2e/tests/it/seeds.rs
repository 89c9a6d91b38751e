//! Real conversations for fuzzing to begin with, in `fuzz/seeds`.

use std::fs;
use std::path::{Path, PathBuf};

use cri::v1;
use critape_e2e::critape::endpoint;
use critape_e2e::parts::require;
use critape_e2e::relay::{Conversation, Relay, Said};
use critape_e2e::{Crictl, Critape, Grpcio, Part, Parts, Version};
use critape_tape::fuzz::{conversation_seed, export_seed, import_seed};

use crate::place::Place;

/// It is in the `:authority` of some clients, so it is the same on every machine.
const SOCKET: &str = "/run/critape-seed.sock";
/// How HTTP/2 begins; the fuzz targets say it themselves.
const PREFACE: usize = 24;
/// The most that one piece of a seed may have.
const PIECE: usize = 127;

#[test]
#[ignore = "writes fuzz/seeds anew: cargo test -p critape-e2e -- --ignored seeds"]
fn are_written_anew() {
    let needed =
        [Part::Containerd(Version::V1_6), Part::Containerd(Version::V2_1), Part::Crictl, Part::Grpcio];
    let Some(parts) = require(&needed) else { return };
    for version in [Version::V1_6, Version::V2_1] {
        let place = Place::new();
        let runtime = place.runtime(version);
        conversations(&parts, version, &place, &runtime.socket());
        tape(&parts, version, &place, &runtime.socket());
    }
}

fn conversations(parts: &Parts, version: Version, place: &Place, runtime: &Path) {
    let relay = Relay::start(Path::new(SOCKET), runtime);
    let crictl = Crictl::new(parts, place.path(), Path::new(SOCKET));
    let mut made = 0;
    let mut keep = |client: &str| {
        for heard in relay.heard().iter().filter(|heard| !heard.pieces.is_empty()) {
            made += 1;
            put("wire_observe", &format!("{client}-{version}-{made:02}"), &observed(heard));
            put("wire_filter", &format!("{client}-{version}-{made:02}"), &said_by_client(heard));
        }
    };
    crictl.run(&["pull", "localhost:5000/busybox:1.0"]).well();
    keep("crictl");
    let container = place.run_pod(&crictl, "seed");
    crictl.run(&["exec", "-s", &container, "hostname"]).well();
    crictl.run(&["ps"]).well();
    crictl.run(&["inspect", "no-such-container"]);
    keep("crictl");
    calls(parts);
    keep("grpcio");
    crictl.run(&["rmp", "-a", "-f"]).well();
    keep("crictl");
}

/// One connection with a call that goes well, one that does not, and a stream that is left open.
fn calls(parts: &Parts) {
    let mut client = Grpcio::start(parts, Path::new(SOCKET));
    client.call("Version", &v1::VersionRequest { version: "0.1.0".to_owned() });
    let missing = v1::ContainerStatusRequest { container_id: "no-such-container".to_owned(), verbose: false };
    client.call("ContainerStatus", &missing);
    client.call("NoSuchMethod", &());
    client.begin("GetContainerEvents", &v1::GetEventsRequest::default());
    client.call("ListPodSandbox", &v1::ListPodSandboxRequest::default());
}

fn tape(parts: &Parts, version: Version, place: &Place, runtime: &Path) {
    let (tape, file) = (place.join("tape"), place.join("seed.critape"));
    let recorder = Critape::get().serve(&[
        "record".to_owned(),
        tape.display().to_string(),
        "-r".to_owned(),
        endpoint(runtime),
        "--listen".to_owned(),
        endpoint(Path::new(SOCKET)),
    ]);
    let crictl = Crictl::new(parts, place.path(), Path::new(SOCKET));
    let container = place.run_pod(&crictl, "seed");
    crictl.run(&["exec", "-s", &container, "hostname"]).well();
    for _ in 0..2 {
        crictl.run(&["ps"]).well();
    }
    crictl.run(&["rmp", "-a", "-f"]).well();
    recorder.end();
    let words = ["tape".into(), "export".into(), tape, file.clone(), "--with-key".into()];
    Critape::get().run::<PathBuf>(&words).well();
    let export = fs::read(file).unwrap();
    put("tape_import", &format!("export-{version}"), &export_seed(&export).unwrap());
    put("tape_import", &format!("pieces-{version}"), &import_seed(&export).unwrap());
    put("tape_conversation", &format!("calls-{version}"), &conversation_seed(&export).unwrap());
}

/// As `critape_wire::fuzz` reads it: before each piece a byte of its side and its length.
fn observed(conversation: &Conversation) -> Vec<u8> {
    let mut seed = Vec::new();
    let mut preface = PREFACE;
    for (said, bytes) in &conversation.pieces {
        let bytes = if *said == Said::ByClient { without(bytes, &mut preface) } else { bytes };
        for piece in bytes.chunks(PIECE) {
            seed.push((piece.len() as u8) << 1 | u8::from(*said == Said::ByRuntime));
            seed.extend_from_slice(piece);
        }
    }
    seed
}

fn said_by_client(conversation: &Conversation) -> Vec<u8> {
    let mut preface = PREFACE;
    let said = conversation.pieces.iter().filter(|(said, _)| *said == Said::ByClient);
    said.flat_map(|(_, bytes)| without(bytes, &mut preface).to_vec()).collect()
}

/// The bytes without as many at their beginning as are still to be left out.
fn without<'a>(bytes: &'a [u8], left_out: &mut usize) -> &'a [u8] {
    let count = bytes.len().min(*left_out);
    *left_out -= count;
    &bytes[count..]
}

fn put(target: &str, name: &str, seed: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    fs::write(folder.join(name), seed).unwrap();
}
