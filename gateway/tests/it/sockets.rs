//! The gateway on real sockets.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::Bytes;
use critape_gateway::{Auth, Listen, Listener, ServeError, Token, serve};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake::{Fake, Reply};
use crate::http::config;

/// A gateway that runs until it is told to stop.
struct Running {
    at: Listen,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

async fn run(fake: &Fake, listen: &str, auth: Auth, grace: Duration) -> Running {
    let listener = Listener::bind(&listen.parse().unwrap()).await.unwrap();
    let at = listener.at().clone();
    let mut config = config(fake, auth);
    config.grace = grace;
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(serve(listener, config, async {
        let _ = stopped.await;
    }));
    Running { at, stop, ended }
}

impl Running {
    async fn connect(&self) -> SendRequest<Empty<Bytes>> {
        match &self.at {
            Listen::Tcp(address) => client(TcpStream::connect(address).await.unwrap()).await,
            Listen::Unix(endpoint) => client(UnixStream::connect(endpoint.path()).await.unwrap()).await,
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

async fn client<S>(stream: S) -> SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(client: &mut SendRequest<Empty<Bytes>>, path: &str, token: Option<&Token>) -> u16 {
    let mut request = Request::get(path).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.reveal()));
    }
    let response = client.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn on_a_port_the_token_opens() {
    let fake = Fake::started();
    fake.reply("Version", Reply::Message(Vec::new()));
    let token = Token::random().unwrap();
    let running = run(&fake, "127.0.0.1:0", Auth::Token(token.clone()), LONG).await;
    assert!(!running.at.to_string().ends_with(":0"), "{}", running.at);
    let mut client = running.connect().await;
    assert_eq!(ask(&mut client, "/cri/v1/version", None).await, 401);
    assert_eq!(ask(&mut client, "/cri/v1/version", Some(&token)).await, 200);
    assert_eq!(ask(&mut client, "/healthz", None).await, 200);
    running.stop().await;
}

#[tokio::test]
async fn on_a_unix_socket_its_mode_decides() {
    let fake = Fake::started();
    fake.reply("Version", Reply::Message(Vec::new()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.sock");
    let running = run(&fake, path.to_str().unwrap(), Auth::UnixSocket, LONG).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(running.at.to_string(), format!("unix://{}", path.display()));
    let mut client = running.connect().await;
    assert_eq!(ask(&mut client, "/cri/v1/version", None).await, 200);
    running.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_port_does_not_open_by_itself() {
    let fake = Fake::absent();
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let refused = serve(listener, config(&fake, Auth::UnixSocket), std::future::pending()).await;
    assert!(matches!(refused, Err(ServeError::NeedsToken(_))));
}

#[tokio::test]
async fn requests_under_way_end_before_the_gateway_does() {
    let fake = Fake::started();
    fake.reply("Version", Reply::Never);
    let running = run(&fake, "127.0.0.1:0", Auth::None, LONG).await;
    let mut client = running.connect().await;
    let asking = tokio::spawn(async move { ask(&mut client, "/cri/v1/version", None).await });
    until_seen(&fake, 1).await;

    let stopping = tokio::spawn(running.stop());
    // The runtime ends the call as it stops; the gateway has waited for that.
    let mut fake = fake;
    fake.stop().await;
    assert!(asking.await.unwrap() >= 500);
    stopping.await.unwrap();
}

#[tokio::test]
async fn requests_that_do_not_end_are_cut_off() {
    let fake = Fake::started();
    fake.reply("Version", Reply::Never);
    let running = run(&fake, "127.0.0.1:0", Auth::None, Duration::from_millis(10)).await;
    let mut client = running.connect().await;
    let request = Request::get("/cri/v1/version").header("host", "localhost").body(Empty::new()).unwrap();
    let asking = tokio::spawn(async move { client.send_request(request).await.map(drop) });
    until_seen(&fake, 1).await;
    running.stop().await;
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test]
async fn connections_without_a_request_do_not_hold_the_gateway_up() {
    let fake = Fake::absent();
    let running = run(&fake, "127.0.0.1:0", Auth::None, LONG).await;
    let Listen::Tcp(address) = running.at.clone() else { panic!("not on a port") };
    let mut used = TcpStream::connect(address).await.unwrap();
    used.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut some = [0; 1];
    used.read_exact(&mut some).await.unwrap();
    tokio::time::timeout(LONG / 2, running.stop()).await.unwrap();
    let mut rest = Vec::new();
    used.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(br#"{"status":"ok"}"#));
}

async fn until_seen(fake: &Fake, calls: usize) {
    let seeing = async {
        while fake.seen().len() < calls {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seeing).await.unwrap();
}
