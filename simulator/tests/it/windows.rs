//! Clients that let a server send as much as it likes, and read it when they like.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use cri::v1;
use prost::Message;

use crate::harness::{Runtime, pod};
use crate::raw::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE, block, frame};

/// The largest window there is, and the setting that gives it to each call.
const WINDOW: u32 = (1 << 31) - 1;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
/// The window of a connection until it is widened.
const NARROW: u32 = 65_535;

/// Asks for all pods, so many times at once, and gives the answers' messages in the order of the calls.
fn lists(server: &Path, calls: usize) -> Vec<v1::ListPodSandboxResponse> {
    let headers = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/runtime.v1.RuntimeService/ListPodSandbox"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    let streams: Vec<u32> = (0..).map(|call| 2 * call + 1).take(calls).collect();
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &WINDOW.to_be_bytes()].concat()));
    bytes.extend(frame(WINDOW_UPDATE, 0, 0, &(WINDOW - NARROW).to_be_bytes()));
    for stream in &streams {
        bytes.extend(frame(HEADERS, END_HEADERS, *stream, &headers));
        bytes.extend(frame(DATA, END_STREAM, *stream, &[0; 5]));
    }
    let mut socket = UnixStream::connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(&bytes).unwrap();
    let mut bodies = vec![Vec::new(); calls];
    let mut open = calls;
    while open > 0 {
        let mut head = [0; 9];
        socket.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).unwrap();
        if head[3] == DATA {
            bodies[streams.iter().position(|known| *known == stream).unwrap()].extend(payload);
        }
        open -= usize::from(matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0);
    }
    bodies.iter().map(|body| v1::ListPodSandboxResponse::decode(&body[5..]).unwrap()).collect()
}

#[tokio::test]
async fn answers_of_many_times_what_a_socket_holds_come_whole() {
    let runtime = Runtime::start().await;
    let mut large = pod("large");
    large.annotations.insert("note".to_owned(), "x".repeat(3 << 20));
    let id = runtime.try_run_pod(large.clone()).await.unwrap();
    let socket = runtime.socket();
    // On a thread of its own, so that it reads while the server writes.
    let answers = tokio::task::spawn_blocking(move || lists(&socket, 8)).await.unwrap();
    for answer in answers {
        assert_eq!(answer.items.iter().map(|pod| &pod.id).collect::<Vec<_>>(), [&id]);
        assert!(answer.items[0].annotations == large.annotations);
    }
}
