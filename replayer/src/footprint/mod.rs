//! What a replay leaves on a node while it runs: a label on its sandboxes, a folder for host paths, ports, and a journal of all that.

pub(crate) mod cleanup;
pub(crate) mod node;
pub(crate) mod sweep;

mod journal;
mod mounts;
mod owner;
mod ports;
mod scratch;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use cri::Generation;
use cri::client::Clients;
use cri::endpoint::Endpoints;

use cleanup::{Before, Cleaned, Made};
pub(crate) use journal::FOLDER_PREFIX;
use journal::Journal;
pub(crate) use journal::{Remains, find};
use mounts::mounted_below;
pub(crate) use owner::{Life, Owner};
pub(crate) use ports::Ports;
pub(crate) use scratch::{Scratch, goes_up, stays};

/// What one run makes.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// The value of the label on its sandboxes.
    pub(crate) label: String,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) ports: RefCell<Ports>,
    journal: RefCell<Journal>,
    /// References and ids of images that it pulled or began to pull, and that were not there.
    images: RefCell<BTreeSet<String>>,
    /// Ids of sandboxes that it made.
    sandboxes: RefCell<BTreeSet<String>>,
}

impl Footprint {
    /// Begins one against this runtime, which has these images.
    pub(crate) fn begin(owner: &Owner, endpoints: &Endpoints, before: Before<'_>) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let journal = Journal::begin(scratch.path(), owner, endpoints, before)?;
        Ok(Self {
            label: owner.to_string(),
            scratch: RefCell::new(scratch),
            ports: RefCell::default(),
            journal: RefCell::new(journal),
            images: RefCell::default(),
            sandboxes: RefCell::default(),
        })
    }

    /// An image is about to be pulled that is not there.
    pub(crate) fn pulling(&self, reference: &str) {
        self.images.borrow_mut().insert(reference.to_owned());
        self.note(|journal| journal.pulling(reference));
    }

    /// An image was pulled that was not there.
    pub(crate) fn pulled(&self, id: &str) {
        self.images.borrow_mut().insert(id.to_owned());
        self.note(|journal| journal.pulled(id));
    }

    /// A sandbox was made.
    pub(crate) fn made(&self, sandbox: &str) {
        self.sandboxes.borrow_mut().insert(sandbox.to_owned());
        self.note(|journal| journal.made(sandbox));
    }

    /// Whether it made this sandbox.
    pub(crate) fn has_made(&self, sandbox: &str) -> bool {
        self.sandboxes.borrow().contains(sandbox)
    }

    /// Removes what is left on the runtime. The folder goes with this, unless something could not be removed.
    pub(crate) async fn clean(
        &self,
        client: &Clients,
        generation: Generation,
        before: Before<'_>,
    ) -> Cleaned {
        let (images, sandboxes) = (self.images.borrow().clone(), self.sandboxes.borrow().clone());
        let made = Made { run: &self.label, sandboxes: &sandboxes, images: &images };
        let mut cleaned = cleanup::clean(client, generation, made, before, &BTreeSet::new()).await;
        cleaned.left.extend(in_the_way(self.scratch.borrow().path()));
        cleaned
    }

    /// Leaves the folder, for a later run to clean up.
    pub(crate) fn keep(&self) {
        self.scratch.borrow_mut().keep();
    }

    fn note(&self, write: impl FnOnce(&mut Journal) -> io::Result<()>) {
        if let Err(error) = write(&mut self.journal.borrow_mut()) {
            tracing::warn!(%error, "the replay's journal can't be written: after a crash, what it made could stay");
        }
    }
}

/// Why a folder must not be removed, where something is mounted in it.
pub(crate) fn in_the_way(folder: &Path) -> Option<String> {
    match mounted_below(folder) {
        Ok(place) => {
            place.map(|place| format!("{}: something is mounted at {}", folder.display(), place.display()))
        }
        Err(error) => Some(format!("{}: looking for what is mounted in it: {error}", folder.display())),
    }
}
