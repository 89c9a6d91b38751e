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
mod engine;
mod events;
mod hindsight;
mod itself;
mod node;
mod one_call;
mod oracles;
mod pairs;
mod preflight;
mod recording;
mod replay;
mod rewrite;
mod scratch;
mod script;
mod survey;
mod tapes;
mod trajectory;
mod uids;
mod witness;

pub use check::{CheckConfig, check};
pub use hindsight::look_back;
pub use itself::Itself;
pub use recording::{Recording, RecordingError};
pub use replay::{Config, Pace, Progress, Replay, ReplayError};
pub use script::Select;
pub use tapes::compare_tapes;
