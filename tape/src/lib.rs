//! The recording on disk.
//!
//! A tape is a folder of segments; a segment is one sled database with a header, the descriptors of its messages, and
//! compressed chunks of events ([`proto/critape/tape/v1/tape.proto`] is its schema). One [`Writer`] appends to the last
//! segment; a [`Tape`] reads those that are closed, and through the writer the open one. Secrets are sealed before they are stored.
//! The only socket of this crate is the writer's, in the tape's folder; no other crate names sled.
//!
//! ```text
//! TAPE/critape-tape          marker: "critape tape, format 1"
//! TAPE/lock                  held by the one writer, with its process id
//! TAPE/live                  the writer's socket, on which it shows the open segment
//! TAPE/key                   opens what is sealed; of the tape's owner only
//! TAPE/known                 tokens of secrets to look for in error texts
//! TAPE/segments/00000001/    a segment
//! TAPE/damaged/00000001/     what a repair replaced, as it was
//! ```
//!
//! Start from [`Writer`] and [`Tape`].

mod chunk;
mod convert;
mod elements;
mod error;
mod events;
mod export;
mod folder;
#[doc(hidden)]
pub mod fuzz;
mod import;
mod live;
mod mark;
mod ongoing;
mod open;
mod packer;
mod reader;
mod repair;
mod retention;
mod rewrite;
mod room;
mod seal;
mod secrets;
mod segment;
mod store;
mod verify;
mod writer;

pub use error::{Result, TapeError};
pub use events::Events;
pub use export::{Chosen, ExportError, ExportKey, Exported, Slice, export};
pub use folder::is_tape;
pub use import::{ImportError, Imported, import};
pub use packer::pack_segment;
pub use reader::{Info, SegmentInfo, Tape};
pub use repair::{Repair, Repaired, repair};
pub use retention::{Pruned, Retention, prune};
pub use room::Room;
pub use secrets::{Needed, Resealer, Seal, SealPolicy, needs_key, without_secrets};
pub use verify::{Damage, Verified};
pub use writer::Writer;

/// The newest format this program writes and reads.
pub const FORMAT: u32 = 1;

#[allow(missing_docs, clippy::pedantic, rust_2018_idioms)]
mod schema {
    include!(concat!(env!("OUT_DIR"), "/critape.tape.v1.rs"));
}
