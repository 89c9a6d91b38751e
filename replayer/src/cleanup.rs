//! Removes what a replay made.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::{Generation, methods, v1};
use critape_differ::OWNED_LABEL;
use prost::Message;

use crate::preflight::read;

/// How long stopping and removing one thing may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What was removed, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Cleaned {
    pub(crate) sandboxes: usize,
    pub(crate) left: Vec<String>,
}

/// Stops and removes the sandboxes of this run, then the images that it pulled.
pub(crate) async fn clean(
    client: &Clients,
    generation: Generation,
    run: &str,
    images: &BTreeSet<String>,
) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let filter = v1::PodSandboxFilter {
        label_selector: [(OWNED_LABEL.to_owned(), run.to_owned())].into(),
        ..Default::default()
    };
    let request = v1::ListPodSandboxRequest { filter: Some(filter) };
    let list: Result<v1::ListPodSandboxResponse, _> =
        read(client, generation, "ListPodSandbox", request.encode_to_vec().into()).await;
    let sandboxes = match list {
        Ok(list) => list.items,
        Err(error) => {
            cleaned.left.push(format!("the sandboxes with the label {OWNED_LABEL}={run}: {error}"));
            Vec::new()
        }
    };
    for sandbox in sandboxes {
        match remove_sandbox(client, generation, &sandbox.id).await {
            Ok(()) => cleaned.sandboxes += 1,
            Err(message) => cleaned.left.push(format!("sandbox {}: {message}", sandbox.id)),
        }
    }
    for image in images {
        if let Err(message) = remove_image(client, generation, image).await {
            cleaned.left.push(format!("image {image}: {message}"));
        }
    }
    cleaned
}

/// Stops and removes a sandbox; gives what the runtime said against it.
pub(crate) async fn remove_sandbox(client: &Clients, generation: Generation, id: &str) -> Result<(), String> {
    let stop = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() }.encode_to_vec();
    let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() }.encode_to_vec();
    // Removing is what counts; it says itself if stopping did not work.
    let _ = call(client, generation, "StopPodSandbox", stop.into()).await;
    call(client, generation, "RemovePodSandbox", remove.into()).await
}

/// Removes an image; gives what the runtime said against it.
pub(crate) async fn remove_image(
    client: &Clients,
    generation: Generation,
    image: &str,
) -> Result<(), String> {
    let spec = v1::ImageSpec { image: image.to_owned(), ..Default::default() };
    let remove = v1::RemoveImageRequest { image: Some(spec) }.encode_to_vec();
    call(client, generation, "RemoveImage", remove.into()).await
}

async fn call(client: &Clients, generation: Generation, rpc: &str, request: Bytes) -> Result<(), String> {
    let path = methods().by_name(generation, rpc).map(|method| method.path.clone()).unwrap_or_default();
    client
        .for_path(&path)
        .unary(&path, request, Some(DEADLINE))
        .await
        .map(drop)
        .map_err(|status| status.message().to_owned())
}
