//! What must be known before the first call: who the live runtime is, what it holds, and what can't be faithful on it.

mod company;
mod host;
mod limits;
mod needs;
mod rehearsal;
mod tally;
mod verdict;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cri::client::Clients;
use cri::{Generation, Service, methods, v1};
use critape_calls::IdentityMap;
use critape_differ::{OWNED_LABEL, SideInfo};
use prost::Message;
use tonic::{Code, Status};

use crate::footprint::cleanup::Before;
use crate::footprint::{Life, Owner};
use crate::judging::older_names::OlderNames;
use crate::recording::script::Script;
use crate::replay::{Config, ReplayError};
use crate::sending::images::{self, full, repository};

pub(crate) use company::Company;
use host::Host;
use limits::Surroundings;
pub(crate) use limits::{Limits, names};
pub(crate) use needs::{Needs, has_token, names_no_image};
pub(crate) use tally::Tally;

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
    /// Their names.
    pub(crate) names: BTreeSet<String>,
    /// The runtime handlers that it lists.
    handlers: BTreeSet<String>,
    /// Its cgroup driver, where it tells.
    driver: Option<v1::CgroupDriver>,
    /// Sandboxes of replays that have ended without removing them.
    pub(crate) left_over: usize,
    /// Others that use the runtime.
    pub(crate) company: Option<Company>,
    /// Names of its images that the tape does not know, and of the tape's that it does not have.
    pub(crate) older_names: OlderNames,
    /// What can't be faithful on it.
    pub(crate) limits: Limits,
}

impl Target {
    /// The images that were there before.
    pub(crate) fn before(&self) -> Before<'_> {
        Before { ids: &self.images, names: &self.names }
    }

    /// Whether another listener would take events from those who are there.
    pub(crate) fn has_jealous_listeners(&self) -> bool {
        self.company.is_some() && self.gives_events_to_one()
    }

    /// Whether each event goes to one listener alone.
    pub(crate) fn gives_events_to_one(&self) -> bool {
        company::events_go_to_one(&self.side)
    }

    /// Whether an image of this id or reference was there before.
    pub(crate) fn has_image(&self, reference: &str) -> bool {
        let by_digest = reference.split_once('@').map(|(name, digest)| {
            let name = full(name).unwrap_or_default();
            format!("{}@{digest}", repository(&name))
        });
        self.images.contains(reference)
            || self.images.contains(&format!("sha256:{reference}"))
            || [Some(reference.to_owned()), full(reference), by_digest]
                .iter()
                .flatten()
                .any(|name| self.names.contains(name))
    }
}

/// Asks the runtime who it is and what it holds.
pub(crate) async fn look(client: &Clients, recorded: Option<Generation>) -> Result<Target, ReplayError> {
    let generation = client
        .of(Service::Runtime)
        .generation(DEADLINE)
        .await
        .map_err(|status| refused("Version", &status))?;
    let version: v1::VersionResponse = read(client, generation, "Version", Bytes::new()).await?;
    let list: v1::ListPodSandboxResponse = read(client, generation, "ListPodSandbox", Bytes::new()).await?;
    let left_over = list.items.iter().filter(|it| matches!(owned_by(it), Some((_, Life::Ended)))).count();
    let images: v1::ListImagesResponse = read(client, generation, "ListImages", Bytes::new()).await?;
    // What older runtimes don't tell is not known.
    let status: v1::StatusResponse =
        read(client, generation, "Status", Bytes::new()).await.unwrap_or_default();
    let config: v1::RuntimeConfigResponse =
        read(client, generation, "RuntimeConfig", Bytes::new()).await.unwrap_or_default();
    let names = images.images.iter().flat_map(|image| image.repo_tags.iter().chain(&image.repo_digests));
    Ok(Target {
        names: names.cloned().collect(),
        handlers: status.runtime_handlers.into_iter().map(|handler| handler.name).collect(),
        driver: config.linux.map(|linux| linux.cgroup_driver()),
        left_over,
        company: Company::of(&list.items),
        older_names: OlderNames::default(),
        limits: Limits::default(),
        side: SideInfo {
            runtime: version.runtime_name,
            version: version.runtime_version,
            generation: recorded.unwrap_or(generation).to_string(),
            ..SideInfo::default()
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

/// What can't be faithful where this script is replayed on that runtime.
pub(crate) async fn limits(script: &Script, config: &Config, client: &Clients, target: &Target) -> Limits {
    let needs = &script.survey.needs;
    let mut unserved = BTreeSet::new();
    // Where the tape speaks several, asking would tell the runtime of one before it was told when recorded.
    if let Some((spoken, _)) = needs.generations.iter().next().filter(|_| needs.generations.len() == 1)
        && *spoken != target.generation
        && !speaks(client, *spoken).await
    {
        unserved.insert(*spoken);
    }
    let mut ids = IdentityMap::default();
    script.survey.declare(&mut ids);
    images::bind(&config.map_images, script.survey.references(), &mut ids);
    let doubts = needs.rehearsal.run(&ids, &script.survey.trajectory);
    let host = Host::look(needs.of_the_host(), DEADLINE).await;
    Limits::of(&Surroundings {
        needs,
        doubts: &doubts,
        target,
        host: &host,
        ids: &ids,
        credentials: config.credentials.as_ref(),
        allow_node_changes: config.allow_node_changes,
        unserved: &unserved,
    })
}

/// Names that images had before, on one side alone.
pub(crate) fn older_names(script: &Script, config: &Config, target: &Target) -> OlderNames {
    let needs = &script.survey.needs;
    let mut ids = IdentityMap::default();
    images::bind(&config.map_images, script.survey.references(), &mut ids);
    let known: BTreeSet<&str> = script
        .survey
        .references()
        .flat_map(|name| [Some(name), ids.mapped_reference(name)])
        .flatten()
        .collect();
    let live = target.names.iter().filter(|name| !known.contains(name.as_str()));
    let recorded = needs.names_from_before().filter(|name| !target.names.contains(*name));
    OlderNames { recorded: recorded.cloned().collect(), live: live.cloned().collect() }
}

/// The replay that made a sandbox, and whether it goes on; nothing where no replay did, or its label does not tell.
pub(crate) fn owned_by(sandbox: &v1::PodSandbox) -> Option<(Owner, Life)> {
    let owner = Owner::parse(sandbox.labels.get(OWNED_LABEL)?)?;
    let life = owner.life();
    Some((owner, life))
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

pub(crate) fn refused(rpc: &'static str, status: &Status) -> ReplayError {
    let code = critape_calls::Code(status.code() as u32).to_string();
    ReplayError::Runtime { rpc, code, message: status.message().to_owned() }
}
