//! The recorder over real sockets: what clients and runtimes see, and what the tape says.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Client;
use cri::{Endpoint, v1};
use critape_calls::{Body, Call, Ending, Event, EventKind, GapReason, HostPathKind};
use critape_recorder::{Config, Entrance, RecordError, Recorder};
use critape_simulator::{Simulator, serve};
use critape_tape::Tape;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

const VERSION: &str = "/runtime.v1.RuntimeService/Version";
/// Nothing here takes this long unless it is broken.
const LONG: Duration = Duration::from_secs(20);

struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint::at(self.folder.path().join(name)).unwrap()
    }

    fn tape(&self) -> PathBuf {
        self.folder.path().join("tape")
    }

    fn config(&self) -> Config {
        Config {
            memory: 8 << 20,
            ask_opening: false,
            ..Config::new(self.endpoint("runtime.sock"), self.endpoint("critape.sock"), self.tape())
        }
    }

    /// A recorder on a thread of its own, as in the program.
    fn record(&self, config: Config) -> Recording {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let recorder = Recorder::bind(config).await?;
                ready.send(()).unwrap();
                recorder.run(async { drop(stopped.await) }).await
            })
        });
        is_ready.recv_timeout(LONG).unwrap();
        Recording { stop, thread, tape: self.tape() }
    }

    fn simulator(&self) -> (Simulator, oneshot::Sender<()>) {
        let listener = UnixListener::bind(self.endpoint("runtime.sock").path()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let simulator = Simulator::new(critape_simulator::Config::default());
        tokio::spawn(serve(simulator.clone(), listener, async { drop(stopped.await) }));
        (simulator, stop)
    }
}

struct Recording {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<Result<(), RecordError>>,
    tape: PathBuf,
}

impl Recording {
    fn finish(self) -> Vec<Event> {
        drop(self.stop);
        self.thread.join().unwrap().unwrap();
        Tape::open(&self.tape).unwrap().unsealed().unwrap().events().map(Result::unwrap).collect()
    }
}

fn calls(setup: &Setup) -> Vec<Call> {
    Tape::open(&setup.tape()).unwrap().unsealed().unwrap().calls().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_http2_pass_untouched_and_half_closed() {
    let setup = Setup::new();
    let runtime = UnixListener::bind(setup.endpoint("runtime.sock").path()).unwrap();
    let recording = setup.record(setup.config());
    let served = tokio::spawn(async move {
        let (mut stream, _) = runtime.accept().await.unwrap();
        let mut asked = Vec::new();
        // Ends when the client has closed its half; the answer still gets through.
        stream.read_to_end(&mut asked).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        asked
    });
    let mut client = UnixStream::connect(setup.endpoint("critape.sock").path()).await.unwrap();
    client.write_all(b"GET /info HTTP/1.1\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(served.await.unwrap(), b"GET /info HTTP/1.1\r\n\r\n");
    let events = recording.finish();
    let lost = |event: &Event| matches!(event.kind, EventKind::ConnectionLost { .. });
    assert!(events.iter().any(lost), "{events:?}");
    let traffic: u64 = events
        .iter()
        .map(|event| if let EventKind::Traffic { bytes } = event.kind { bytes } else { 0 })
        .sum();
    assert_eq!(traffic, (answer.len() + b"GET /info HTTP/1.1\r\n\r\n".len()) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_does_not_read_stops_its_partner() {
    let setup = Setup::new();
    let runtime = UnixListener::bind(setup.endpoint("runtime.sock").path()).unwrap();
    let recording = setup.record(setup.config());
    let mut client = UnixStream::connect(setup.endpoint("critape.sock").path()).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let (stream, _) = runtime.accept().await.unwrap();
    let chunk = vec![0_u8; 64 * 1024];
    let mut sent = 0;
    // Whatever the sockets and one chunk of ours hold, it is not much; then nothing more is taken.
    while tokio::time::timeout(Duration::from_millis(300), stream.writable()).await.is_ok() {
        match stream.try_write(&chunk) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(sent < 16 << 20, "{sent} bytes were taken from a runtime whose client does not read");
    }
    drop(stream);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got.len(), sent, "and not one is lost");
    recording.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_on_the_tape_with_everything() {
    let setup = Setup::new();
    let _simulator = setup.simulator();
    let recording = setup.record(setup.config());
    let client = Client::connect(&setup.endpoint("critape.sock")).await.unwrap();
    let reply = client.unary(VERSION, Bytes::new(), Some(LONG)).await.unwrap();
    let missing = v1::ContainerStatusRequest { container_id: "nope".into(), verbose: false };
    let path = "/runtime.v1.RuntimeService/ContainerStatus";
    let status = client.unary(path, missing.encode_to_vec().into(), None).await.unwrap_err();
    recording.finish();
    let calls = calls(&setup);
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].path, VERSION);
    assert_eq!(calls[0].deadline, Some(LONG));
    assert_eq!(calls[0].responses[0].body, Body::Kept(reply.message));
    assert_eq!(calls[0].metadata.text("content-type"), Some("application/grpc"));
    let peer = calls[0].peer.as_ref().unwrap();
    assert_eq!(peer.pid, std::process::id());
    assert_eq!(PathBuf::from(&peer.exe), std::env::current_exe().unwrap());
    assert_eq!(calls[1].outcome.code.to_string(), "NOT_FOUND");
    assert_eq!(calls[1].outcome.message, status.message());
    assert_eq!(calls[1].deadline, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_not_there_is_absent_for_clients_and_comes_back() {
    let setup = Setup::new();
    let recording = setup.record(Config { ask_opening: true, ..setup.config() });
    for _ in 0..3 {
        let mut client = UnixStream::connect(setup.endpoint("critape.sock").path()).await.unwrap();
        let mut got = Vec::new();
        // Closed at once; a reset is as good.
        let _ = tokio::time::timeout(LONG, client.read_to_end(&mut got)).await.unwrap();
        assert!(got.is_empty());
    }
    let (simulator, _stop) = setup.simulator();
    let client = Client::connect(&setup.endpoint("critape.sock")).await.unwrap();
    client.unary(VERSION, Bytes::new(), None).await.unwrap();
    // The opening state is asked for once the runtime is there: one Version to learn the generation, and six questions.
    let asked = async {
        while simulator.calls() < 8 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, asked).await.unwrap();
    // The last answer is on its way to the recorder; these go through the same thread.
    for _ in 0..20 {
        client.unary(VERSION, Bytes::new(), None).await.unwrap();
    }
    let events = recording.finish();
    let opening = events.iter().find_map(|event| match &event.kind {
        EventKind::Opening(opening) => Some(opening),
        _ => None,
    });
    assert_eq!(opening.unwrap().runtime().unwrap().0, "critape-simulator");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_budget_leave_a_gap_and_calls_go_on() {
    let setup = Setup::new();
    let _simulator = setup.simulator();
    let recording = setup.record(Config { memory: 600, ..setup.config() });
    let client = Client::connect(&setup.endpoint("critape.sock")).await.unwrap();
    let spec = v1::ImageSpec { image: "x".repeat(4000), ..Default::default() };
    let request = v1::ImageStatusRequest { image: Some(spec), verbose: false }.encode_to_vec();
    let _ = client.unary("/runtime.v1.ImageService/ImageStatus", request.clone().into(), None).await;
    client.unary(VERSION, Bytes::new(), None).await.unwrap();
    let events = recording.finish();
    let gap = events.iter().find_map(|event| match &event.kind {
        EventKind::Gap(gap) => Some(*gap),
        _ => None,
    });
    let gap = gap.unwrap();
    assert_eq!(gap.reason, GapReason::Overload);
    assert!(gap.calls >= 1 && gap.bytes >= request.len() as u64, "{gap:?}");
    let calls = calls(&setup);
    assert_eq!(calls.len(), 2, "both calls are known, whatever is missing of them");
    assert_eq!(calls[0].requests[0].body, Body::Shed(request.len() as u64));
    assert!(calls.iter().all(|call| call.outcome.ending == Ending::Status));
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_host_paths_are_noted_when_a_container_is_created() {
    let setup = Setup::new();
    let _simulator = setup.simulator();
    let recording = setup.record(setup.config());
    let client = Client::connect(&setup.endpoint("critape.sock")).await.unwrap();
    let here = setup.folder.path().to_string_lossy().into_owned();
    let mount = v1::Mount { host_path: here.clone(), container_path: "/x".into(), ..Default::default() };
    let config = v1::ContainerConfig { mounts: vec![mount], ..Default::default() };
    let request = v1::CreateContainerRequest { config: Some(config), ..Default::default() };
    let path = "/runtime.v1.RuntimeService/CreateContainer";
    client.unary(path, request.encode_to_vec().into(), None).await.unwrap_err();
    recording.finish();
    let calls = calls(&setup);
    assert_eq!(calls[0].host_paths.len(), 1);
    assert_eq!(
        (calls[0].host_paths[0].path.as_str(), calls[0].host_paths[0].kind),
        (here.as_str(), HostPathKind::Directory)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_crosses_an_early_end_is_kept() {
    let setup = Setup::new();
    let runtime = UnixListener::bind(setup.endpoint("runtime.sock").path()).unwrap();
    let recording = setup.record(setup.config());
    let mut client = UnixStream::connect(setup.endpoint("critape.sock").path()).await.unwrap();
    let (mut server, _) = runtime.accept().await.unwrap();
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let literal = |name: &str, value: &str| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let fields = |fields: &[(&str, &str)]| {
        fields.iter().flat_map(|(name, value)| literal(name, value)).collect::<Vec<_>>()
    };
    let settings = frame(4, 0, 0, &[]);
    let asked = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/runtime.v1.RuntimeService/Nope"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
    ]);
    let headers =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings.as_slice(), &frame(1, 4, 1, &asked)].concat();
    client.write_all(&headers).await.unwrap();
    let mut got = vec![0; headers.len()];
    server.read_exact(&mut got).await.unwrap();
    // As grpc-go refuses an unknown method: trailers and a reset, on the headers alone.
    let answer = fields(&[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]);
    let answer = [settings, frame(1, 5, 1, &answer), frame(3, 0, 1, &[0; 4])].concat();
    server.write_all(&answer).await.unwrap();
    let mut got = vec![0; answer.len()];
    client.read_exact(&mut got).await.unwrap();
    let message = frame(0, 1, 1, &[0, 0, 0, 0, 2, 8, 1]);
    client.write_all(&message).await.unwrap();
    let mut got = vec![0; message.len()];
    server.read_exact(&mut got).await.unwrap();
    recording.finish();
    let calls = calls(&setup);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].requests[0].body, Body::Kept(Bytes::from_static(&[8, 1])));
    assert_eq!(calls[0].outcome.code.to_string(), "UNIMPLEMENTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_not_ended_is_truncated() {
    let setup = Setup::new();
    let _simulator = setup.simulator();
    let recording = setup.record(setup.config());
    let client = Client::connect(&setup.endpoint("critape.sock")).await.unwrap();
    let path = "/runtime.v1.RuntimeService/GetContainerEvents";
    let _stream = client.stream(path, Bytes::new(), None).await.unwrap();
    recording.finish();
    assert_eq!(calls(&setup)[0].outcome.ending, Ending::Truncated);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtimes_own_socket_is_refused() {
    let setup = Setup::new();
    let entrance = Entrance::Listen(setup.endpoint("runtime.sock"));
    let config = Config { entrance, ..setup.config() };
    assert!(matches!(Recorder::bind(config).await, Err(RecordError::Upstream(_))));
    assert!(!setup.tape().exists());
}
