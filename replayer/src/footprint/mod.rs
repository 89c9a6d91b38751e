//! What a replay leaves on a node while it runs: a label on its sandboxes, a folder for host paths, ports, and a journal of all that.

mod journal;
mod owner;
mod ports;
mod scratch;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;

use cri::endpoint::Endpoints;

use journal::Journal;
pub(crate) use journal::{Remains, find};
pub(crate) use owner::{Life, Owner};
pub(crate) use ports::Ports;
pub(crate) use scratch::Scratch;

/// What one run makes.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// The value of the label on its sandboxes.
    pub(crate) label: String,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) ports: RefCell<Ports>,
    journal: RefCell<Journal>,
}

impl Footprint {
    /// Begins one against this runtime, which has the images of these ids.
    pub(crate) fn begin(owner: &Owner, endpoints: &Endpoints, images: &BTreeSet<String>) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let journal = Journal::begin(scratch.path(), owner, endpoints, images)?;
        Ok(Self {
            label: owner.to_string(),
            scratch: RefCell::new(scratch),
            ports: RefCell::default(),
            journal: RefCell::new(journal),
        })
    }

    /// An image is about to be pulled that is not there.
    pub(crate) fn pulling(&self, reference: &str) {
        self.note(|journal| journal.pulling(reference));
    }

    /// An image was pulled that was not there.
    pub(crate) fn pulled(&self, id: &str) {
        self.note(|journal| journal.pulled(id));
    }

    /// Leaves the folder, for a later run to clean up.
    pub(crate) fn keep(&self) {
        self.scratch.borrow_mut().keep();
    }

    fn note(&self, write: impl FnOnce(&mut Journal) -> io::Result<()>) {
        if let Err(error) = write(&mut self.journal.borrow_mut()) {
            tracing::warn!(%error, "the replay's journal can't be written: after a crash, images that it pulled would stay");
        }
    }
}
