//! What must be known of the live runtime before the first call.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::{Generation, Service, methods, v1};
use critape_differ::{OWNED_LABEL, SideInfo};
use prost::Message;
use tonic::{Code, Status};

use crate::replay::ReplayError;

/// How long one of these questions may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// The live runtime.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) side: SideInfo,
    /// The newest generation that it speaks.
    pub(crate) generation: Generation,
    /// Ids of the images that were there before.
    pub(crate) images: BTreeSet<String>,
}

/// Whether sandboxes of others may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    Refused,
    Shared,
}

/// Asks the runtime who it is and what it holds.
pub(crate) async fn look(
    client: &Clients,
    recorded: Option<Generation>,
    company: Company,
) -> Result<Target, ReplayError> {
    let generation = client
        .of(Service::Runtime)
        .generation(DEADLINE)
        .await
        .map_err(|status| refused("Version", &status))?;
    let version: v1::VersionResponse = read(client, generation, "Version", Bytes::new()).await?;
    if company == Company::Refused {
        refuse_foreign_sandboxes(client, generation).await?;
    }
    let images: v1::ListImagesResponse = read(client, generation, "ListImages", Bytes::new()).await?;
    Ok(Target {
        side: SideInfo {
            runtime: version.runtime_name,
            version: version.runtime_version,
            generation: recorded.unwrap_or(generation).to_string(),
        },
        generation,
        images: images.images.into_iter().map(|image| image.id).collect(),
    })
}

/// Whether this generation is served. Asking is not for nothing: containerd 1.7 takes note of whoever speaks an old one.
pub(crate) async fn speaks(client: &Clients, generation: Generation) -> bool {
    let Some(version) = methods().by_name(generation, "Version") else { return false };
    let answer = client.for_path(&version.path).unary(&version.path, Bytes::new(), Some(DEADLINE)).await;
    !answer.is_err_and(|status| status.code() == Code::Unimplemented)
}

async fn refuse_foreign_sandboxes(client: &Clients, generation: Generation) -> Result<(), ReplayError> {
    let list: v1::ListPodSandboxResponse = read(client, generation, "ListPodSandbox", Bytes::new()).await?;
    let foreign: Vec<_> = list
        .items
        .iter()
        .filter(|sandbox| sandbox.state() == v1::PodSandboxState::SandboxReady)
        .filter(|sandbox| !sandbox.labels.contains_key(OWNED_LABEL))
        .collect();
    let Some(first) = foreign.first() else { return Ok(()) };
    let name = first
        .metadata
        .as_ref()
        .map_or_else(|| first.id.clone(), |metadata| format!("{}/{}", metadata.namespace, metadata.name));
    Err(ReplayError::InUse { count: foreign.len(), example: name })
}

/// One question to the runtime, answered in the types of v1.
pub(crate) async fn read<M: Message + Default>(
    client: &Clients,
    generation: Generation,
    rpc: &'static str,
    request: Bytes,
) -> Result<M, ReplayError> {
    let path = methods().by_name(generation, rpc).map(|method| method.path.clone()).unwrap_or_default();
    let reply = client
        .for_path(&path)
        .unary(&path, request, Some(DEADLINE))
        .await
        .map_err(|status| refused(rpc, &status))?;
    M::decode(reply.message.as_ref()).map_err(|error| ReplayError::Runtime {
        rpc,
        code: "INTERNAL".to_owned(),
        message: error.to_string(),
    })
}

fn refused(rpc: &'static str, status: &Status) -> ReplayError {
    let code = critape_calls::Code(status.code() as u32).to_string();
    ReplayError::Runtime { rpc, code, message: status.message().to_owned() }
}
