//! Exports made of pieces, imported.

use std::fs;
use std::io;
use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};

use super::{pieces, put_field};
use crate::chunk::{self, Effort};
use crate::export::format::{EXPORT_FORMAT, FooterStart, Index, IndexEntry, Kind, MAGIC};
use crate::schema;
use crate::{ExportKey, Imported, Slice, Tape};

/// The lower bits of a piece's control byte are the kind of its block; 0 is for bytes that are none.
const KIND_BITS: u32 = 3;
/// The other bits, where they are not 0, number the field of an event that the content is; the content is the whole event here.
pub(super) const WHOLE_EVENT: u8 = 1;

/// Imports what was made of `data` into the empty `folder`, and reads it where it was taken. An export is imported as it is; else
/// `data` is pieces that become one.
///
/// # Panics
/// Where anything is left of an export that was refused, or of one that was taken anything can't be read. Where `folder` can't be
/// used.
pub fn import(data: &[u8], folder: &Path) {
    let made;
    let file = if data.starts_with(&MAGIC) {
        data
    } else {
        made = Maker::make(data);
        made.as_slice()
    };
    let path = folder.join("tape");
    let imported = crate::import(file, Path::new("export"), &path);
    if let Ok(imported) = imported {
        read(&path, imported);
        let removed = fs::remove_dir_all(&path);
        assert!(removed.is_ok(), "{removed:?}");
    }
    let left =
        fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    assert!(left.as_ref().is_ok_and(Vec::is_empty), "{left:?} of {imported:?}");
}

fn read(path: &Path, imported: Imported) {
    let tape = Tape::open(path);
    let Ok(tape) = tape else { return assert!(tape.is_ok(), "{tape:?}") };
    let verified = tape.verify();
    let Ok(verified) = verified else { return assert!(verified.is_ok(), "{verified:?}") };
    assert!(verified.damage.is_empty(), "{verified:?}");
    assert_eq!((verified.segments, verified.calls), (imported.segments, imported.calls));
    // Kinds of events that a later program wrote are not counted here.
    assert!(verified.events <= imported.events, "{verified:?} of {imported:?}");
    assert!(tape.calls().all(|call| call.is_ok()));
    // Another may have changed what is sealed.
    if let Ok(opened) = tape.unsealed() {
        opened.calls().take_while(Result::is_ok).for_each(drop);
    }
    let exported = crate::export(&tape, &Slice::All, ExportKey::Included, io::sink());
    let Ok(exported) = exported else { return assert!(exported.is_ok(), "{exported:?}") };
    assert_eq!(
        (exported.segments, exported.events, exported.calls),
        (imported.segments, imported.events, imported.calls)
    );
}

/// Makes an export whose lengths, sums and counts are right.
#[derive(Default)]
pub(super) struct Maker {
    out: Vec<u8>,
    index: Index,
    /// Of the block that is being gathered.
    events: Vec<u8>,
    segment: IndexEntry,
}

impl Maker {
    pub(super) fn make(data: &[u8]) -> Vec<u8> {
        let mut maker = Self::default();
        maker.out.extend_from_slice(&MAGIC);
        maker.out.extend_from_slice(&EXPORT_FORMAT.to_le_bytes());
        for (control, content) in pieces(data) {
            let (number, field) = (control & ((1 << KIND_BITS) - 1), control >> KIND_BITS);
            match Kind::of(number) {
                None => maker.out.extend_from_slice(content),
                Some(Kind::Events) => maker.event(field, content),
                Some(kind) => maker.block(kind, field, content),
            }
        }
        maker.put_events();
        maker.end()
    }

    fn event(&mut self, field: u8, content: &[u8]) {
        match field {
            // A block as it is.
            0 => {
                self.put_events();
                self.events.extend_from_slice(content);
                self.put_events();
            }
            WHOLE_EVENT => self.put_event(content),
            field => {
                let mut event = Vec::new();
                put_field(&mut event, field, content);
                self.put_event(&event);
            }
        }
    }

    fn put_event(&mut self, event: &[u8]) {
        prost::encoding::encode_varint(event.len() as u64, &mut self.events);
        self.events.extend_from_slice(event);
    }

    fn put_events(&mut self) {
        let events = std::mem::take(&mut self.events);
        if events.is_empty() {
            return;
        }
        let mut rest = events.as_slice();
        while let Ok(event) = schema::Event::decode_length_delimited(&mut rest) {
            self.segment.events += 1;
            self.segment.calls += u64::from(matches!(event.kind, Some(schema::event::Kind::CallStarted(_))));
            if rest.is_empty() {
                break;
            }
        }
        self.put(Kind::Events, &events);
    }

    fn block(&mut self, kind: Kind, field: u8, content: &[u8]) {
        self.put_events();
        match kind {
            Kind::Segment => {
                let number = schema::SegmentHeader::decode(content).map_or(0, |header| header.number);
                self.segment = IndexEntry { number, offset: self.out.len() as u64, events: 0, calls: 0 };
            }
            Kind::Closed | Kind::Unclosed => self.index.segments.push(self.segment),
            _ => {}
        }
        match (kind, field, FooterStart::decode(content)) {
            (Kind::Closed, 0, Ok(footer)) => {
                let footer = FooterStart { events: self.segment.events, ..footer };
                self.put(kind, &footer.encode_to_vec());
            }
            _ => self.put(kind, content),
        }
    }

    fn put(&mut self, kind: Kind, raw: &[u8]) {
        let stored = chunk::compress(raw, Effort::Quick).unwrap_or_default();
        self.out.push(kind.number());
        self.out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        self.out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        self.out.extend_from_slice(&stored);
    }

    fn end(mut self) -> Vec<u8> {
        let offset = self.out.len() as u64;
        let index = self.index.encode_to_vec();
        self.put(Kind::End, &index);
        self.out.extend_from_slice(&offset.to_le_bytes());
        let digest = Sha256::digest(&self.out);
        self.out.extend_from_slice(&digest);
        self.out
    }
}
