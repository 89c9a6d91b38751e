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

mod check;
mod engine;
mod events;
mod footprint;
mod judging;
#[cfg(test)]
mod made_up;
mod one_call;
mod preflight;
mod recording;
mod replay;
mod schedule;
mod sending;
mod states;
mod tapes;

pub use check::{CheckConfig, check};
pub use footprint::sweep::{Swept, sweep};
pub use recording::hindsight::look_back;
pub use recording::itself::Itself;
pub use recording::slice::{Select, Selection};
pub use recording::{Recording, RecordingError};
pub use replay::{Config, Pace, Preflight, Progress, Replay, ReplayError};
pub use schedule::timer::Timer;
pub use sending::credentials::{Credentials, CredentialsError, MAX_CREDENTIALS_BYTES};
pub use sending::images::{ImageMapping, without_user};
pub use tapes::compare_tapes;
