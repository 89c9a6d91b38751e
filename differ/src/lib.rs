//! What counts as different.
//!
//! Compares what a runtime answered now with what was recorded: outcomes first, then which fields are there, then their
//! values, then order. How a field is compared is said by [`Rules`], data with a reason for every line; what no rule explains is
//! a [`Divergence`], and divergences of one [`Signature`] make one [`Finding`] of a [`Report`]. Nothing here opens a tape or a
//! socket: it is handed messages.
//!
//! Start from [`Comparer`] and [`Report`].

mod addresses;
mod agreed;
mod align;
mod asked;
mod baseline;
mod calibrate;
mod comparer;
mod divergence;
mod event_fields;
mod events;
mod evidence;
mod examples;
mod findings;
mod follows;
mod forms;
mod host_devices;
mod json;
mod known;
mod latency;
mod leaves;
mod limitation;
mod lists;
mod lockstep;
pub mod mutation;
mod oracles;
mod order;
mod outcome;
mod own;
mod path;
mod relation;
mod repeats;
mod report;
mod rule_numbers;
mod rules;
mod severity;
mod shown;
mod snapshots;
mod spread;
mod summary;
mod suppressed;
mod timing;
mod units;
mod walk;

pub use baseline::{Accepted, Baseline, BaselineError, BaselineUse, EntryUse, write_baseline};
pub use calibrate::{Calibration, calibrate};
pub use comparer::{
    CHECK_POD, Compared, Comparer, Memory, NoTrajectories, OWNED_LABEL, Passed, Trajectories,
};
pub use divergence::{Divergence, Kind, Severity, Signature};
pub use event_fields::event_kind;
pub use events::EventSequences;
pub use evidence::{EarlierCall, Evidence, Ids, MAX_BEFORE, Timeline, TimelineCall, Witness};
pub use findings::Findings;
pub use forms::{Color, Form, FormError, explain, render_limitations, repeat};
pub use known::{Judgement, Known};
pub use latency::{SlowCall, Timed};
pub use limitation::{Effect, Limitation, LimitationKind};
pub use oracles::{Against, Breach, EventStream, Exchange, ORACLES, Observer, Oracle, breaches_beyond};
pub use path::Path;
pub use relation::{Relation, TextPattern, Within};
pub use report::{
    CallCounts, Example, Finding, MethodCount, ReasonCount, Report, RuleCount, RuleText, SideInfo,
    Suppressed, Verdict,
};
pub use rules::{ListOrder, ListRule, Problem, ProblemKind, Rule, RuleCheck, Rules, RulesCheck, RulesError};
pub use severity::{FixedRule, fixed_rules};
pub use suppressed::{SuppressedExample, render_suppressed};
pub use timing::{Clocks, Times, Timing};
