//! A CRI client that notes how each of its calls ended.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Client;
use cri::{Endpoint, Generation, methods};
use prost::Message;
use tonic::{Code, Status, Streaming};

/// No call of a session may take longer than this.
const DEADLINE: Duration = Duration::from_secs(30);

/// How one call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What the call was to show.
    pub what: String,
    /// Its request path.
    pub path: String,
    /// The gRPC code, as `NOT_FOUND`.
    pub code: String,
    /// The status message, with ids told apart only by what they name.
    pub message: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}] {} {}", self.what, self.path, self.code, self.message)
    }
}

/// One client with its notes.
pub struct Driver {
    client: Client,
    generation: Generation,
    lines: Vec<Line>,
    /// What ids stand for, the newest last.
    names: Vec<(String, String)>,
}

impl Driver {
    /// Connects to the socket at `socket`, to speak a generation whose messages are those of v1.
    pub async fn connect(socket: &Path, generation: Generation) -> Self {
        Self { client: client(socket).await, generation, lines: Vec::new(), names: Vec::new() }
    }

    /// From now on, texts of errors show `name` for `id`.
    pub fn learn(&mut self, id: &str, name: &str) {
        self.names.push((id.to_owned(), format!("<{name}>")));
    }

    /// One call of CRI.
    ///
    /// # Errors
    /// The status with which it ended, which is noted too.
    pub async fn call<Q: Message, A: Message + Default>(
        &mut self,
        what: &str,
        method: &str,
        request: &Q,
    ) -> Result<A, Status> {
        self.call_within(what, method, request, DEADLINE).await
    }

    /// The same, with a deadline of one's own.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_within<Q: Message, A: Message + Default>(
        &mut self,
        what: &str,
        method: &str,
        request: &Q,
        deadline: Duration,
    ) -> Result<A, Status> {
        let answer = self
            .raw(what, &path_of(self.generation, method), request.encode_to_vec().into(), deadline)
            .await?;
        A::decode(answer).map_err(|error| Status::internal(error.to_string()))
    }

    /// One unary call of any path with any bytes.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn raw(
        &mut self,
        what: &str,
        path: &str,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, Status> {
        let answer = self.client.unary(path, request, Some(deadline)).await;
        self.note(what, path, answer.as_ref().err());
        answer.map(|reply| reply.message)
    }

    /// One call of CRI whose answer is a stream, read to its end.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn drain<Q: Message>(
        &mut self,
        what: &str,
        method: &str,
        request: &Q,
    ) -> Result<Vec<Bytes>, Status> {
        let path = path_of(self.generation, method);
        let all = async {
            let mut stream =
                self.client.stream(&path, request.encode_to_vec().into(), Some(DEADLINE)).await?;
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok(messages)
        }
        .await;
        self.note(what, &path, all.as_ref().err());
        all
    }

    /// All notes; ids that nobody named are `<id>` in them.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    fn note(&mut self, what: &str, path: &str, status: Option<&Status>) {
        let (code, message) =
            status.map_or((Code::Ok, String::new()), |s| (s.code(), s.message().to_owned()));
        let message =
            self.names.iter().rev().fold(message, |text, (id, name)| text.replace(id.as_str(), name));
        self.lines.push(Line {
            what: what.to_owned(),
            path: path.to_owned(),
            code: code_name(code).to_owned(),
            message: hide_ids(&message),
        });
    }
}

/// A stream of CRI v1 on a connection of its own, to be read as it goes.
///
/// # Errors
/// The status with which the runtime refused it.
pub async fn open_stream<Q: Message>(
    socket: &Path,
    method: &str,
    request: &Q,
) -> Result<Streaming<Bytes>, Status> {
    client(socket).await.stream(&path_of(Generation::V1, method), request.encode_to_vec().into(), None).await
}

async fn client(socket: &Path) -> Client {
    let endpoint = match Endpoint::at(socket) {
        Ok(endpoint) => endpoint,
        Err(error) => panic!("{error}"),
    };
    match Client::connect(&endpoint).await {
        Ok(client) => client,
        Err(error) => panic!("{error}"),
    }
}

/// What a generation lacks is asked of v1, as nobody has it elsewhere.
fn path_of(generation: Generation, method: &str) -> String {
    let by_name = |generation| methods().by_name(generation, method);
    match by_name(generation).or_else(|| by_name(Generation::V1)) {
        Some(method) => method.path.clone(),
        None => panic!("CRI has no {method}"),
    }
}

/// A code as tapes and reports spell it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// `text` with every run of 64 hexadecimal digits replaced.
fn hide_ids(text: &str) -> String {
    let ids: HashSet<&str> =
        text.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() == 64).collect();
    ids.into_iter().fold(text.to_owned(), |text, id| text.replace(id, "<id>"))
}
