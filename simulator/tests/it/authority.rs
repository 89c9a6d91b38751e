//! Clients whose `:authority` an HTTP/2 library would refuse: kubelet and crictl before 1.31, and grpcio.

use std::time::Duration;

use cri::v1::VersionResponse;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::harness::Runtime;
use crate::raw::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE, block, frame};

/// Calls `Version` with this authority on a connection of its own, and gives the response message.
async fn version(runtime: &Runtime, authority: &str) -> VersionResponse {
    let headers = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/runtime.v1.RuntimeService/Version"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    let mut stream = UnixStream::connect(runtime.socket()).await.unwrap();
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &headers));
    bytes.extend(frame(DATA, END_STREAM, 1, &[0; 5]));
    stream.write_all(&bytes).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            DATA => return VersionResponse::decode(&payload[5..]).unwrap(),
            HEADERS => assert_eq!(head[4] & END_STREAM, 0, "the call succeeds"),
            SETTINGS | WINDOW_UPDATE => {}
            other => panic!("a frame of type {other}"),
        }
    }
}

#[tokio::test]
async fn any_authority_is_accepted() {
    let runtime = Runtime::start().await;
    for authority in ["localhost", "/run/containerd/containerd.sock", "%2Frun%2Fx.sock", "", "unix:///a b"] {
        let answer = tokio::time::timeout(Duration::from_secs(20), version(&runtime, authority)).await;
        assert_eq!(answer.expect("an answer").runtime_name, "critape-simulator", "{authority:?}");
    }
}
