//! Clients whose `:authority` an HTTP/2 library would refuse: kubelet and crictl before 1.31, and grpcio.

use std::time::Duration;

use cri::v1::VersionResponse;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::harness::Runtime;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block of literals that touch no table.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

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
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
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
            SETTINGS | 8 => {}
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
