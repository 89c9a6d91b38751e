//! What the runtime holds when a segment begins, asked on a connection of the recorder's own.

use std::time::Duration;

use bytes::Bytes;
use cri::client::Client;
use cri::{Endpoint, Generation, methods};
use critape_calls::{Opening, OpeningAnswer};

/// Reads only, and no events: a second subscriber would take them from kubelet on some runtimes.
const RPCS: [&str; 6] =
    ["Version", "Status", "RuntimeConfig", "ListPodSandbox", "ListContainers", "ListImages"];
/// How long one of them may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often to look for a runtime that is not there yet.
const RETRY: Duration = Duration::from_secs(1);

/// Waits for the runtime.
pub(crate) async fn connect(endpoint: &Endpoint) -> Client {
    loop {
        match Client::connect(endpoint).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Asks the runtime what it holds.
pub(crate) async fn ask(client: &Client) -> Opening {
    let generation = client.generation(DEADLINE).await.unwrap_or(Generation::V1);
    let mut answers = Vec::new();
    for rpc in RPCS {
        // Older generations don't have all of them.
        let Some(method) = methods().by_name(generation, rpc) else { continue };
        answers.push(answer(client, &method.path).await);
    }
    Opening { answers }
}

async fn answer(client: &Client, path: &str) -> OpeningAnswer {
    let request = Bytes::new();
    let answered = client.unary(path, request.clone(), Some(DEADLINE)).await;
    let (code, message, response) = match answered {
        Ok(reply) => (0, String::new(), reply.message),
        Err(status) => (status.code() as u32, status.message().to_owned(), Bytes::new()),
    };
    OpeningAnswer { path: path.to_owned(), request, code, message, response }
}
