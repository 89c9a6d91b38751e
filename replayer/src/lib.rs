//! Re-issues a tape against a runtime and compares the answers.
//!
//! [`Replay`] sends every recorded call in recorded order and pace, with the ids of the recording replaced by those that the live
//! runtime gave; asks reads again until the live objects have reached the state that was recorded; and removes what it made.
//! What counts as different is the differ's to say. [`compare_tapes`] does without a runtime: it compares two recordings of the
//! same workload.
//!
//! ```text
//! tape ─▶ Recording ─▶ schedule ─▶ rewrite ─▶ live runtime
//!            │                        ▲            │
//!            │ states of objects      │ ids        ▼
//!            └──────────────▶ settle ─┴──▶ differ ─▶ report
//! ```
//!
//! Start from [`Replay`].

mod answer;
mod binding;
mod check;
mod cleanup;
mod clock;
mod credentials;
mod engine;
mod events;
mod footprint;
mod hindsight;
mod images;
mod itself;
mod ledger;
mod left_out;
mod list_streams;
mod lives;
#[cfg(test)]
mod made_up;
mod moments;
mod node;
mod older_names;
mod one_call;
mod oracles;
mod order;
mod pairs;
mod places;
mod polls;
mod preflight;
mod presence;
mod read_ahead;
mod recording;
mod replay;
mod replays;
mod rewrite;
mod schedule;
mod script;
mod shelf;
mod slice;
mod stand_in_images;
mod streams;
mod survey;
mod sweep;
mod tapes;
mod timer;
mod trajectory;
mod transient;
mod uids;
mod ways;
mod witness;

pub use check::{CheckConfig, check};
pub use credentials::{Credentials, CredentialsError, MAX_CREDENTIALS_BYTES};
pub use hindsight::look_back;
pub use images::{ImageMapping, without_user};
pub use itself::Itself;
pub use recording::{Recording, RecordingError};
pub use replay::{Config, Pace, Preflight, Progress, Replay, ReplayError};
pub use slice::{Select, Selection};
pub use sweep::{Swept, sweep};
pub use tapes::compare_tapes;
pub use timer::Timer;
