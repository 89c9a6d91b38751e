//! What a recorded conversation is.
//!
//! The recorder sees [`Event`]s; [`Assembler`] makes [`Call`]s of them, each with exactly one [`Outcome`]; [`IdentityMap`]
//! says which id of one run stands for which id of another. Everything here is pure: no store, no sockets, no clock.
//!
//! Start from [`Event`] (what is written down), [`Call`] (what is read back) and [`IdentityMap`].

mod assembler;
mod call;
mod event;
mod graph;
mod identity;
mod listing;
mod mapped;
mod messages;
mod objects;
mod outcome;
mod repeats;
#[cfg(test)]
mod sample;
mod sealed;
mod summary;
mod terms;
mod texts;
mod translate;

pub use assembler::Assembler;
pub use call::{
    Body, Call, CallId, Connection, ConnectionId, Header, Metadata, Peer, RecordedMessage, Stamp,
};
pub use event::{
    Event, EventKind, Gap, GapReason, HostPath, HostPathKind, Opening, OpeningAnswer, Side, Surroundings,
};
pub use graph::{IdGraph, Thing, Times, Use};
pub use identity::{Identity, Spelling, identities};
pub use listing::{call_to_json, outcome_to_json, time_text};
pub use messages::{decode, merged};
pub use objects::{ContainerKey, ObjectIndex, ObjectName, SandboxKey};
pub use outcome::{Code, DEADLINE_SLACK, Ending, Outcome, StatusDetail};
pub use repeats::Repeats;
pub use sealed::{SEALED_PREFIX, sealed_apart};
pub use summary::{PeerSummary, Summary};
pub use translate::{IdentityMap, Resolution, Unbound};

/// A value of the recording, as against one of the runtime under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded<T>(pub T);

/// A value of the runtime under test, or of the second of two tapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live<T>(pub T);
