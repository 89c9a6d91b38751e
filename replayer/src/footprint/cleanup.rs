//! Removes what a replay made.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::{Generation, methods, v1};
use critape_differ::OWNED_LABEL;
use prost::Message;

use crate::preflight::read;
use crate::replay::ReplayError;

/// How long stopping and removing one thing may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a run may have left on a runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made<'a> {
    /// The value of the label on its sandboxes.
    pub(crate) run: &'a str,
    /// Ids of sandboxes that it made, which may have lost their label.
    pub(crate) sandboxes: &'a BTreeSet<String>,
    /// References and ids of images that it pulled, or began to pull.
    pub(crate) images: &'a BTreeSet<String>,
}

impl Made<'_> {
    /// Whether it made this sandbox.
    fn has(&self, sandbox: &v1::PodSandbox) -> bool {
        sandbox.labels.get(OWNED_LABEL).is_some_and(|run| run == self.run)
            || self.sandboxes.contains(&sandbox.id)
    }
}

/// The images that were there before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before<'a> {
    pub(crate) ids: &'a BTreeSet<String>,
    pub(crate) names: &'a BTreeSet<String>,
}

/// What was removed, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Cleaned {
    pub(crate) sandboxes: usize,
    pub(crate) images: usize,
    /// What is not to be removed, each in a sentence.
    pub(crate) alone: Vec<String>,
    /// What could not be removed, each in a sentence.
    pub(crate) left: Vec<String>,
}

/// Stops and removes the sandboxes of a run, then the images that it pulled; those that `others` pulled as well stay.
pub(crate) async fn clean(
    client: &Clients,
    generation: Generation,
    made: Made<'_>,
    before: Before<'_>,
    others: &BTreeSet<String>,
) -> Cleaned {
    let mut cleaned = Cleaned::default();
    // All of them: whether the runtime knows how to look for a label is what may be under test.
    let list: Result<v1::ListPodSandboxResponse, _> =
        read(client, generation, "ListPodSandbox", Bytes::new()).await;
    let sandboxes = match list {
        Ok(list) => list.items,
        Err(error) => {
            cleaned.left.push(format!("the sandboxes with the label {OWNED_LABEL}={}: {error}", made.run));
            Vec::new()
        }
    };
    for sandbox in sandboxes.iter().filter(|it| made.has(it)) {
        match remove_sandbox(client, generation, &sandbox.id).await {
            Ok(()) => cleaned.sandboxes += 1,
            Err(message) => cleaned.left.push(format!("sandbox {}: {message}", sandbox.id)),
        }
    }
    if let Err(error) = remove_images(client, generation, made.images, before, others, &mut cleaned).await {
        cleaned.left.push(format!("the images that were pulled: {error}"));
    }
    cleaned
}

/// Removes images, unless they were there before, have a name that was there before, or somebody has a use for them.
async fn remove_images(
    client: &Clients,
    generation: Generation,
    pulled: &BTreeSet<String>,
    before: Before<'_>,
    others: &BTreeSet<String>,
    cleaned: &mut Cleaned,
) -> Result<(), ReplayError> {
    if pulled.is_empty() {
        return Ok(());
    }
    let list: v1::ListContainersResponse = read(client, generation, "ListContainers", Bytes::new()).await?;
    let used: BTreeSet<String> = list
        .containers
        .into_iter()
        .flat_map(|it| [it.image.map(|image| image.image).unwrap_or_default(), it.image_ref, it.image_id])
        .collect();
    let mut done = BTreeSet::new();
    for name in pulled {
        let spec = v1::ImageSpec { image: name.clone(), ..Default::default() };
        let request = v1::ImageStatusRequest { image: Some(spec), verbose: false };
        let status: v1::ImageStatusResponse =
            read(client, generation, "ImageStatus", request.encode_to_vec().into()).await?;
        let Some(image) = status.image else { continue };
        if before.ids.contains(&image.id) || !done.insert(image.id.clone()) {
            continue;
        }
        let names: Vec<&String> =
            image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id, name]).collect();
        if let Some(older) = names.iter().find(|name| before.names.contains(**name)) {
            cleaned.alone.push(format!("image {name}: {older}, which was there before, names it now"));
        } else if names.iter().any(|name| used.contains(*name) || others.contains(*name)) {
            cleaned.alone.push(format!("image {name}: it is in use"));
        } else {
            match remove_image(client, generation, &image.id).await {
                Ok(()) => cleaned.images += 1,
                Err(message) => cleaned.left.push(format!("image {name}: {message}")),
            }
        }
    }
    Ok(())
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
async fn remove_image(client: &Clients, generation: Generation, image: &str) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_sandboxes_are_known_by_their_label_or_their_id() {
        let (sandboxes, images) = (["made".to_owned()].into(), BTreeSet::new());
        let made = Made { run: "this", sandboxes: &sandboxes, images: &images };
        let has = |id: &str, label: Option<&str>| {
            let labels = label.map(|run| (OWNED_LABEL.to_owned(), run.to_owned())).into_iter().collect();
            made.has(&v1::PodSandbox { id: id.to_owned(), labels, ..Default::default() })
        };
        assert!(has("x", Some("this")) && has("made", None), "its label may be lost");
        assert!(!has("x", None) && !has("x", Some("other")));
    }
}
