//! Removes what replays left that have crashed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cri::client::Clients;
use cri::endpoint::Endpoints;
use cri::{Generation, Service, v1};
use critape_differ::OWNED_LABEL;

use crate::footprint::cleanup::{Before, Made, clean, remove_sandbox};
use crate::footprint::{Life, Owner, Remains, find, in_the_way};
use crate::preflight::{DEADLINE, owned_by, read, refused};
use crate::replay::ReplayError;

/// What became of what earlier replays left.
#[derive(Debug, Default)]
pub struct Swept {
    /// Sandboxes that were removed.
    pub sandboxes: usize,
    /// Images that were removed.
    pub images: usize,
    /// Folders that were removed.
    pub folders: usize,
    /// What is not to be removed, each in a sentence: a replay goes on, or it is another runtime's.
    pub alone: Vec<String>,
    /// What could not be removed, each in a sentence.
    pub left: Vec<String>,
}

/// Removes the sandboxes, images and folders of replays that have ended without doing so themselves. Folders are looked for in
/// `temp`.
///
/// # Errors
/// Where the runtime does not answer.
pub async fn sweep(endpoints: &Endpoints, temp: &Path) -> Result<Swept, ReplayError> {
    let client = Clients::connect(endpoints).await?;
    let generation = client
        .of(Service::Runtime)
        .generation(DEADLINE)
        .await
        .map_err(|status| refused("Version", &status))?;
    let remains = find(temp).map_err(|error| {
        ReplayError::Scratch(io::Error::new(error.kind(), format!("{}: {error}", temp.display())))
    })?;
    let mut sweep = Sweep { client, generation, swept: Swept::default() };
    sweep.sandboxes().await?;
    let going = remains.iter().filter(|it| it.life != Life::Ended && it.is_of(endpoints));
    let going: BTreeSet<String> = going.flat_map(|it| it.pulled.clone()).collect();
    for remains in &remains {
        sweep.remains(remains, endpoints, &going).await;
    }
    Ok(sweep.swept)
}

struct Sweep {
    client: Clients,
    generation: Generation,
    swept: Swept,
}

impl Sweep {
    async fn sandboxes(&mut self) -> Result<(), ReplayError> {
        let list: v1::ListPodSandboxResponse =
            read(&self.client, self.generation, "ListPodSandbox", Bytes::new()).await?;
        let mut alone: BTreeMap<String, usize> = BTreeMap::new();
        for sandbox in list.items {
            let Some(label) = sandbox.labels.get(OWNED_LABEL) else { continue };
            match owned_by(&sandbox) {
                Some((_, Life::Ended)) => {
                    match remove_sandbox(&self.client, self.generation, &sandbox.id).await {
                        Ok(()) => self.swept.sandboxes += 1,
                        Err(message) => self.swept.left.push(format!("sandbox {}: {message}", sandbox.id)),
                    }
                }
                Some((owner, Life::Going)) => *alone.entry(goes_on(&owner)).or_default() += 1,
                _ => {
                    let why = format!("nothing tells here whether the replay {label} goes on");
                    *alone.entry(why).or_default() += 1;
                }
            }
        }
        let alone = alone.into_iter().map(|(why, count)| format!("{count} sandboxes: {why}"));
        self.swept.alone.extend(alone);
        Ok(())
    }

    /// What a run left beside its sandboxes. `going` are the images of runs that may go on.
    async fn remains(&mut self, remains: &Remains, endpoints: &Endpoints, going: &BTreeSet<String>) {
        let folder = remains.folder.display();
        if remains.life == Life::Going {
            self.swept.alone.push(format!("{folder}: {}", goes_on(&remains.owner)));
            return;
        }
        if remains.life == Life::Unknown {
            self.swept.alone.push(format!("{folder}: nothing tells here whether its replay goes on"));
            return;
        }
        if !remains.is_of(endpoints) {
            self.swept.alone.push(format!("{folder}: its replay was on another runtime"));
            return;
        }
        let run = remains.owner.to_string();
        let made = Made { run: &run, sandboxes: &remains.sandboxes, images: &remains.pulled };
        let before = Before { ids: &remains.before, names: &remains.names };
        let cleaned = clean(&self.client, self.generation, made, before, going).await;
        self.swept.sandboxes += cleaned.sandboxes;
        self.swept.images += cleaned.images;
        self.swept.alone.extend(cleaned.alone);
        let left: Vec<String> = cleaned.left.into_iter().chain(in_the_way(&remains.folder)).collect();
        if !left.is_empty() {
            self.swept.left.extend(left);
            return;
        }
        match remove(remains.folder.clone()).await {
            Ok(()) => self.swept.folders += 1,
            Err(error) => self.swept.left.push(format!("{folder}: {error}")),
        }
    }
}

fn goes_on(owner: &Owner) -> String {
    format!("its replay goes on in process {}", owner.pid())
}

/// A folder may hold much: it is removed where waiting is allowed.
async fn remove(folder: PathBuf) -> io::Result<()> {
    tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await.map_err(io::Error::other)?
}
