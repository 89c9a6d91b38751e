//! Writes one segment of an imported tape.

use std::path::Path;

use critape_calls::Stamp;

use super::ImportError;
use crate::chunk::{self, Effort};
use crate::export::format::{FooterStart, IndexEntry};
use crate::folder;
use crate::rewrite::Rewriting;
use crate::schema;
use crate::segment::footer_of;
use crate::{Result, TapeError};

/// A segment that is being written.
pub(super) struct Importing {
    segment: Rewriting,
    /// Where its header stands in the export.
    offset: u64,
}

impl Importing {
    pub(super) fn begin(
        tape: &Path,
        header: schema::SegmentHeader,
        descriptors: &[u8],
        offset: u64,
    ) -> std::result::Result<Self, ImportError> {
        let path = folder::segment(tape, header.number);
        let descriptors = chunk::compress(descriptors, Effort::Thorough)
            .map_err(TapeError::io("packing the descriptors of", &path))?;
        Ok(Self { segment: Rewriting::begin(path, header, descriptors)?, offset })
    }

    pub(super) fn number(&self) -> u32 {
        self.segment.header().number
    }

    /// Events so far.
    pub(super) fn events(&self) -> u64 {
        self.segment.events()
    }

    /// Appends an event; `method` is the path of the call it belongs to.
    pub(super) fn append(&mut self, event: schema::Event, method: &str) -> Result<()> {
        self.segment.append(event, method)
    }

    /// Ends it, with a footer where it was closed in order; gives what the index must say of it.
    pub(super) fn end(self, said: Option<&FooterStart>) -> Result<IndexEntry> {
        let Self { segment, offset } = self;
        let footer = said.map(|said| {
            let ended = Stamp(segment.header().started.saturating_add(said.ended));
            schema::SegmentFooter {
                events: segment.events(),
                mended: said.mended,
                ..footer_of(segment.header(), segment.summary(), ended)
            }
        });
        let entry = IndexEntry {
            number: segment.header().number,
            offset,
            events: segment.events(),
            calls: segment.summary().calls,
        };
        segment.end(footer.as_ref())?;
        Ok(entry)
    }
}
