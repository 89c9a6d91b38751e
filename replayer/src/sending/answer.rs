//! One call to the live runtime, and what came of it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cri::client::{Client, OWN_DEADLINE, is_from_the_way};
use critape_calls::{Code, DEADLINE_SLACK, Ending, Header, Metadata, Outcome};
use tokio::time::timeout;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Status, Streaming};

use crate::judging::pairs::End;

/// All messages of an answer together; one alone is at most what a client takes.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Most answers of a runtime that is on the same machine have come by then.
const MOMENT: Duration = Duration::from_micros(200);

/// How the live runtime answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The request path that was asked.
    pub(crate) path: String,
    /// What was asked.
    pub(crate) request: Bytes,
    /// How the call ended.
    pub(crate) outcome: Outcome,
    /// Whether it ended so because the connection broke or could not be made, and not by a word of the runtime.
    pub(crate) is_broken: bool,
    /// All response messages, as one.
    pub(crate) message: Bytes,
    /// When it had ended.
    pub(crate) ended: Instant,
    /// How long it took.
    pub(crate) lasted: Duration,
    /// How long it took from the first time that it was asked.
    pub(crate) settled_after: Duration,
}

impl Answer {
    pub(crate) fn end(&self) -> End<'_> {
        End { outcome: &self.outcome, message: &self.message, lasted: self.lasted }
    }
}

/// How long a call is waited for, beside its deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Until its end.
    Endless,
    /// Until it is broken off, as its client did.
    BreaksOff(Duration),
    /// Until nobody believes in its end any more.
    GivesUp(Duration),
}

/// Sends one call and waits for its end.
pub(crate) async fn ask(
    client: &Client,
    path: &str,
    request: Bytes,
    deadline: Option<Duration>,
    patience: Patience,
) -> Answer {
    let since = Instant::now();
    let mut messages = Vec::new();
    let call = collect(client, path, request.clone(), deadline, &mut messages);
    let end = match patience {
        Patience::Endless => call.await,
        Patience::BreaksOff(after) => timeout(after, call).await.unwrap_or_else(|_| Ok(cancelled())),
        Patience::GivesUp(after) => timeout(after, call).await.unwrap_or_else(|_| Ok(given_up(after))),
    };
    let is_broken = end.as_ref().is_err_and(is_from_the_way);
    let outcome = end.unwrap_or_else(|status| from_status(&status));
    let ended = Instant::now();
    let lasted = ended - since;
    // At the deadline the runtime may break the call off before our own timer does; clients call either the deadline.
    let late = deadline.is_some_and(|deadline| lasted + DEADLINE_SLACK >= deadline);
    let outcome = if late && outcome.code == Code::CANCELLED { deadline_exceeded() } else { outcome };
    let message = match messages.as_slice() {
        [one] => one.clone(),
        many => many.concat().into(),
    };
    Answer {
        path: path.to_owned(),
        request,
        outcome,
        is_broken,
        message,
        ended,
        lasted,
        settled_after: lasted,
    }
}

/// What comes of a call of a replay in a hurry: for a moment it looks for the answer again and again before its thread sleeps, because
/// being woken takes about as long as answering.
pub(crate) async fn at_once<T>(mut call: Pin<&mut impl Future<Output = T>>) -> T {
    let until = Instant::now() + MOMENT;
    while Instant::now() < until {
        tokio::select! {
            biased;
            answer = call.as_mut() => return answer,
            () = tokio::task::yield_now() => {}
        }
    }
    call.await
}

async fn collect(
    client: &Client,
    path: &str,
    request: Bytes,
    deadline: Option<Duration>,
    into: &mut Vec<Bytes>,
) -> Result<Outcome, Status> {
    // As a stream, whatever it is: then the trailers are to be had.
    let mut stream = client.stream(path, request, deadline).await?;
    let mut length = 0;
    while let Some(message) = stream.message().await? {
        length += message.len();
        if length > MAX_ANSWER_BYTES {
            return Err(Status::resource_exhausted(format!(
                "its answer has more than {MAX_ANSWER_BYTES} bytes"
            )));
        }
        into.push(message);
    }
    from_end(&mut stream).await
}

/// The outcome of a stream that ended well.
pub(crate) async fn from_end(stream: &mut Streaming<Bytes>) -> Result<Outcome, Status> {
    let trailers = stream.trailers().await?;
    Ok(Outcome {
        ending: Ending::Status,
        code: Code::OK,
        message: String::new(),
        details: Vec::new(),
        metadata: trailers.as_ref().map(metadata).unwrap_or_default(),
    })
}

/// The outcome that a status stands for.
pub(crate) fn from_status(status: &Status) -> Outcome {
    let mut headers = metadata(status.metadata());
    headers.0.push(header(b"grpc-status", &(status.code() as u32).to_string()));
    if !status.details().is_empty() {
        use base64::Engine as _;
        let details = base64::engine::general_purpose::STANDARD.encode(status.details());
        headers.0.push(header(b"grpc-status-details-bin", &details));
    }
    let mut outcome = Outcome::from_trailers(headers);
    status.message().clone_into(&mut outcome.message);
    if status.code() == tonic::Code::DeadlineExceeded && status.message() == OWN_DEADLINE {
        return deadline_exceeded();
    }
    outcome
}

/// The outcome of a call without a deadline that did not end.
fn given_up(after: Duration) -> Outcome {
    let message = format!("it had no deadline, and was given up after {} s", after.as_secs());
    Outcome { message, ..deadline_exceeded() }
}

/// The outcome of a call whose deadline came.
fn deadline_exceeded() -> Outcome {
    Outcome { ending: Ending::Deadline, code: Code::DEADLINE_EXCEEDED, ..cancelled() }
}

/// The outcome of a call that the replay broke off.
pub(crate) fn cancelled() -> Outcome {
    Outcome {
        ending: Ending::Cancelled,
        code: Code::CANCELLED,
        message: String::new(),
        details: Vec::new(),
        metadata: Metadata::default(),
    }
}

fn metadata(map: &MetadataMap) -> Metadata {
    let headers = map.iter().map(|entry| match entry {
        KeyAndValueRef::Ascii(name, value) => Header {
            name: Bytes::copy_from_slice(name.as_str().as_bytes()),
            value: Bytes::copy_from_slice(value.as_encoded_bytes()),
        },
        KeyAndValueRef::Binary(name, value) => Header {
            name: Bytes::copy_from_slice(name.as_str().as_bytes()),
            value: Bytes::copy_from_slice(value.as_encoded_bytes()),
        },
    });
    Metadata(headers.collect())
}

fn header(name: &'static [u8], value: &str) -> Header {
    Header { name: Bytes::from_static(name), value: Bytes::copy_from_slice(value.as_bytes()) }
}
