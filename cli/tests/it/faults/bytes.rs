//! Bytes that are not understood.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use critape_calls::{EventKind, GapReason};
use critape_tape::Tape;

use super::load::{Noise, call, gaps, verified, whole_calls};
use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::PATIENCE;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A good beginning, then a header block that names an entry no table has, then noise.
fn broken(noise: &mut Noise) -> Vec<u8> {
    let (settings, headers) = (frame(4, 0, 0, &[]), frame(1, 4, 1, &[0xff, 0xff, 0xff, 0x7f]));
    [PREFACE, &settings, &headers, noise.text(200_000).as_bytes()].concat()
}

/// Why connections were no longer understood.
fn lost(tape: &std::path::Path) -> Vec<String> {
    let tape = Tape::open(tape).unwrap();
    let reason = |kind| if let EventKind::ConnectionLost { reason, .. } = kind { Some(reason) } else { None };
    tape.events().filter_map(|event| reason(event.unwrap().kind)).collect()
}

/// Sends this from a client to a runtime that answers with it, both through a recorder, as it is.
fn relay(folder: &Folder, sent: &[u8]) {
    let runtime = UnixListener::bind(folder.path("r.sock")).unwrap();
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--passive");
    let served = thread::spawn(move || {
        let (mut stream, _) = runtime.accept().unwrap();
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).unwrap();
        stream.write_all(&asked).unwrap();
        asked
    });
    let mut client = UnixStream::connect(folder.path("l.sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer == sent && served.join().unwrap() == sent, "bytes were changed");
    recorder.interrupted().done();
    verified(folder, "node.tape");
}

#[test]
fn what_is_not_understood_is_relayed_and_counted() {
    let folder = Folder::new();
    let sent = broken(&mut Noise::new(8));
    relay(&folder, &sent);
    assert_eq!(lost(&folder.path("node.tape")).len(), 1);
    let gaps = gaps(&folder, "node.tape", GapReason::NotUnderstood);
    let bytes: u64 = gaps.iter().map(|gap| gap.1).sum();
    // Sent, and sent back.
    assert!((200_000..=2 * sent.len() as u64).contains(&bytes), "{gaps:?}");
}

/// Others may speak on the socket: containerd answers HTTP/1.1 there. That is nothing that the tape lacks.
#[test]
fn what_never_was_grpc_is_relayed_and_no_gap() {
    let folder = Folder::new();
    relay(&folder, b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(lost(&folder.path("node.tape")).len(), 1);
    assert_eq!(gaps(&folder, "node.tape", GapReason::NotUnderstood), []);
}

#[test]
fn other_connections_are_recorded_whole() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut noise = Noise::new(9);
    call(&kubelet, "before", &mut noise, 1000);
    for _ in 0..10 {
        let mut client = UnixStream::connect(folder.path("l.sock")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // The runtime hangs up as soon as it has seen enough.
        let _ = client.write_all(&broken(&mut noise));
        let _ = client.read_to_end(&mut Vec::new());
    }
    call(&kubelet, "after", &mut noise, 1000);
    let ended = recorder.interrupted();
    assert_eq!(ended.stderr.matches("bytes not understood").count(), 1, "{}", ended.stderr);
    ended.done();
    verified(&folder, "node.tape");
    assert_eq!(lost(&folder.path("node.tape")).len(), 10);
    assert_eq!(gaps(&folder, "node.tape", GapReason::NotUnderstood).len(), 1);
    let calls = whole_calls(&folder.path("node.tape"));
    assert!(calls.contains_key("before") && calls.contains_key("after"));
}
