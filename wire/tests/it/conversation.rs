//! Real conversations: `h2` on both ends, every byte between them observed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use critape_wire::{Event, Header, Limits, Side};
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::support::*;

type Shared = Arc<Mutex<Tape>>;

/// Two ends between which every byte is noted before it is handed on.
fn wire(tape: &Shared) -> (DuplexStream, DuplexStream) {
    let (client, near) = duplex(10_000);
    let (far, server) = duplex(10_000);
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    tokio::spawn(carry(Side::Client, near_read, far_write, tape.clone()));
    tokio::spawn(carry(Side::Server, far_read, near_write, tape.clone()));
    (client, server)
}

async fn carry(
    from: Side,
    mut read: impl AsyncReadExt + Unpin,
    mut write: impl AsyncWriteExt + Unpin,
    tape: Shared,
) {
    let mut buffer = vec![0; 7_001];
    while let Ok(length @ 1..) = read.read(&mut buffer).await {
        tape.lock().unwrap().push((from, buffer[..length].to_vec()));
        if write.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}

/// Answers by path.
async fn serve(io: DuplexStream) {
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        match request.uri().path() {
            "/bye" => connection.graceful_shutdown(),
            "/out" => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
            _ => {}
        }
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    let mut ok = Response::builder().header("content-type", "application/grpc");
    *ok.headers_mut().unwrap() = {
        let mut headers = head.headers.clone();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers
    };
    match head.uri.path() {
        "/only" => {
            ok.headers_mut().unwrap().insert("grpc-status", HeaderValue::from_static("12"));
            respond.send_response(ok.body(()).unwrap(), true).unwrap();
        }
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/hang" => {
            let mut send = respond.send_response(ok.body(()).unwrap(), false).unwrap();
            let reason = std::future::poll_fn(|context| send.poll_reset(context)).await;
            assert_eq!(reason.unwrap(), Reason::CANCEL);
        }
        "/stream" => {
            let mut send = respond.send_response(ok.body(()).unwrap(), false).unwrap();
            for part in 0..100u8 {
                send.send_data(message(0, &vec![part; usize::from(part) * 50]).into(), false).unwrap();
                tokio::task::yield_now().await;
            }
            finish(&mut send);
        }
        _ => {
            let data = read(body).await.unwrap().0;
            let mut send = respond.send_response(ok.body(()).unwrap(), false).unwrap();
            send.send_data(data.into(), false).unwrap();
            finish(&mut send);
        }
    }
}

fn finish(send: &mut SendStream<Bytes>) {
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    send.send_trailers(HeaderMap::from_iter([status])).unwrap();
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut data = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        data.extend_from_slice(&chunk);
    }
    Ok((data, body.trailers().await?))
}

pub fn request(path: &str) -> Request<()> {
    Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "10S")
        .body(())
        .unwrap()
}

pub async fn call(
    client: &SendRequest<Bytes>,
    request: Request<()>,
    body: Vec<u8>,
) -> Result<Vec<u8>, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (response, mut send) = client.send_request(request, false)?;
    send.send_data(body.into(), true)?;
    Ok(read(response.await?.into_body()).await?.0)
}

/// Runs a conversation and gives back what was observed of it.
fn converse<F: Future<Output = ()>>(talk: impl FnOnce(SendRequest<Bytes>) -> F) -> Vec<Event> {
    observe(&record(talk), Limits::default(), None)
}

/// Runs a conversation and gives back its bytes.
pub fn record<F: Future<Output = ()>>(talk: impl FnOnce(SendRequest<Bytes>) -> F) -> Tape {
    let tape = Shared::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (near, far) = wire(&tape);
        let server = tokio::spawn(serve(far));
        let (client, connection) = h2::client::handshake(near).await.unwrap();
        let connection = tokio::spawn(connection);
        talk(client).await;
        let _ = connection.await.unwrap();
        server.await.unwrap();
    });
    std::mem::take(&mut *tape.lock().unwrap())
}

/// The events of one stream, headers left out but for their kind.
fn of(events: &[Event], wanted: u32) -> Vec<String> {
    let brief = |event: &Event| match event {
        Event::RequestHeaders { stream, .. } => (*stream, "ask".into()),
        Event::Message { stream, from, body, .. } => (*stream, format!("{from:?} {}", body.len())),
        Event::RequestEnd { stream } => (*stream, "asked".into()),
        Event::ResponseHeaders { stream, .. } => (*stream, "answer".into()),
        Event::ResponseEnd { stream, trailers_only: true, .. } => (*stream, "only trailers".into()),
        Event::ResponseEnd { stream, .. } => (*stream, "answered".into()),
        Event::Reset { stream, from, code } => (*stream, format!("{from:?} reset {code}")),
        other => (0, format!("{other:?}")),
    };
    events.iter().map(brief).filter(|(stream, _)| *stream == wanted).map(|(_, text)| text).collect()
}

#[test]
fn unary_calls() {
    let events = converse(|client| async move {
        for length in [0, 1, 200, 70_000] {
            let asked = message(0, &vec![7; length]);
            assert_eq!(call(&client, request("/echo"), asked.clone()).await.unwrap(), asked);
        }
    });
    for (stream, length) in [(1, 0), (3, 1), (5, 200), (7, 70_000)] {
        let (asked, answered) = (format!("Client {length}"), format!("Server {length}"));
        assert_eq!(of(&events, stream), ["ask", &asked, "asked", "answer", &answered, "answered"]);
    }
    let Some(Event::RequestHeaders { headers, .. }) = events.first() else { panic!() };
    let expected = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/echo"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "10S"),
    ];
    assert_eq!(*headers, crate::support::headers(&expected));
}

#[test]
fn a_server_stream() {
    let events = converse(|client| async move {
        call(&client, request("/stream"), message(0, b"go")).await.unwrap();
    });
    let heard = of(&events, 1);
    assert_eq!(heard.len(), 105);
    let lengths: Vec<String> = (0..100).map(|part| format!("Server {}", part * 50)).collect();
    let server: Vec<&String> = heard.iter().filter(|text| text.starts_with("Server")).collect();
    assert_eq!(server, lengths.iter().collect::<Vec<_>>());
}

#[test]
fn only_trailers() {
    let events = converse(|client| async move {
        call(&client, request("/only"), message(0, b"?")).await.unwrap();
    });
    assert!(of(&events, 1).contains(&"only trailers".into()));
}

#[test]
fn resets_by_either_side() {
    let events = converse(|client| async move {
        let error = call(&client, request("/reset"), message(0, b"?")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
        let mut client = client.ready().await.unwrap();
        let (response, mut send) = client.send_request(request("/hang"), false).unwrap();
        send.send_data(message(0, b"half a message")[..9].to_vec().into(), false).unwrap();
        response.await.unwrap();
        send.send_reset(Reason::CANCEL);
    });
    assert_eq!(of(&events, 1).last().unwrap(), "Server reset 2");
    assert_eq!(of(&events, 3), ["ask", "answer", "Client reset 8"]);
    let cut = Event::MessageTruncated { stream: 3, from: Side::Client, length: Some(14), got: 4 };
    assert!(events.contains(&cut));
}

#[test]
fn connections_ended_gracefully_and_not() {
    let going = |events: &[Event]| -> Vec<(Side, u32)> {
        let codes = events.iter().filter_map(|event| match event {
            Event::GoAway { from, code, .. } => Some((*from, *code)),
            _ => None,
        });
        codes.collect()
    };
    let events = converse(|client| async move {
        call(&client, request("/bye"), message(0, b"?")).await.unwrap();
    });
    assert_eq!(of(&events, 1), ["ask", "Client 1", "asked", "answer", "Server 1", "answered"]);
    assert!(going(&events).contains(&(Side::Server, 0)));
    let events = converse(|client| async move {
        call(&client, request("/out"), message(0, b"?")).await.unwrap_err();
    });
    assert_eq!(going(&events), [(Side::Server, 11)]);
}

#[test]
fn a_message_of_twenty_megabytes() {
    let body: Vec<u8> = (0..20u32 << 20).map(|at| (at % 251) as u8).collect();
    let asked = message(0, &body);
    let events = converse(|client| async move {
        assert!(call(&client, request("/echo"), asked.clone()).await.unwrap() == asked);
    });
    let bodies =
        events.iter().filter(|event| matches!(event, Event::Message { body: got, .. } if *got == body));
    assert_eq!(bodies.count(), 2);
}

#[test]
fn interleaved_streams() {
    let events = converse(|client| async move {
        let calls: Vec<_> = (0..32usize)
            .map(|at| {
                let client = client.clone();
                tokio::spawn(async move {
                    let (path, length) = if at % 4 == 0 { ("/stream", 1) } else { ("/echo", at * 3000) };
                    let asked = message(0, &vec![at as u8; length]);
                    call(&client, request(path), asked).await.unwrap();
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
    let ended = events.iter().filter(|event| matches!(event, Event::ResponseEnd { .. })).count();
    assert_eq!(ended, 32);
    let messages = events.iter().filter(|event| matches!(event, Event::Message { .. })).count();
    assert_eq!(messages, 32 + 24 + 8 * 100);
    let order: Vec<u32> = events
        .iter()
        .filter_map(|event| match event {
            Event::Message { stream, from: Side::Server, .. } => Some(*stream),
            _ => None,
        })
        .collect();
    let turns = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(turns > 32, "the streams were not interleaved: {turns} turns");
}

/// Headers that `h2` sends as they are.
fn fields() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let name = "[a-z][a-z0-9]{0,12}-[a-z]{1,4}|x-a|x-b";
    let value = prop_oneof!["[ -~]{0,80}", "0|1|some value"];
    let field = (name, value, any::<bool>()).prop_map(|(name, value, sensitive)| {
        let mut value = HeaderValue::from_str(value.trim()).unwrap();
        value.set_sensitive(sensitive);
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
    });
    prop::collection::vec(field, 0..40)
}

fn plain(headers: &HeaderMap) -> Vec<Header> {
    let header = |(name, value): (&HeaderName, &HeaderValue)| Header {
        name: Bytes::copy_from_slice(name.as_str().as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    headers.iter().map(header).collect()
}

/// What is left of a list without its pseudo headers.
fn regular(headers: &[Header]) -> Vec<Header> {
    headers.iter().filter(|header| !header.name.starts_with(b":")).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn headers_are_those_that_were_sent(lists in prop::collection::vec(fields(), 1..6)) {
        let sent: Vec<HeaderMap> = lists.into_iter().map(|list| {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(name, value);
            }
            headers
        }).collect();
        let requests = sent.clone();
        let events = converse(|client| async move {
            for headers in requests {
                let mut request = request("/echo");
                *request.headers_mut() = headers;
                call(&client, request, Vec::new()).await.unwrap();
            }
        });
        let observed = |client: bool| -> Vec<Vec<Header>> {
            events.iter().filter_map(|event| match event {
                Event::RequestHeaders { headers, .. } if client => Some(regular(headers)),
                Event::ResponseHeaders { headers, .. } if !client => Some(regular(headers)),
                _ => None,
            }).collect()
        };
        prop_assert_eq!(observed(true), sent.iter().map(plain).collect::<Vec<_>>());
        let answered = sent.iter().map(|headers| {
            let mut headers = headers.clone();
            headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            plain(&headers)
        });
        prop_assert_eq!(observed(false), answered.collect::<Vec<_>>());
    }
}
