//! As much of an HTTP client as reads a document: `curl` may not be there.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::process::PATIENCE;

/// The status and the body with which `base`, as `http://127.0.0.1:8080`, answers to a GET of `path`.
///
/// # Panics
/// Where there is no answer.
#[track_caller]
pub fn get(base: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let host = base.strip_prefix("http://").expect("a server without TLS");
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    // 1.0, so that the body ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n{token}\r\n");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}
