//! What counts as different.
//!
//! Compares what a runtime answered now with what was recorded: outcomes first, then which fields are there, then their
//! values, then order. How a field is compared is said by [`Rules`], data with a reason for every line; what no rule explains is
//! a [`Divergence`], and divergences of one [`Signature`] make one [`Finding`] of a [`Report`]. Nothing here opens a tape or a
//! socket: it is handed messages.
//!
//! Start from [`Comparer`] and [`Report`].

mod agreed;
mod align;
mod calibrate;
mod comparer;
mod divergence;
mod events;
mod json;
mod latency;
mod leaves;
mod lists;
mod oracles;
mod order;
mod outcome;
mod path;
mod relation;
mod report;
mod rules;
mod shown;
mod spread;
mod suppressed;
mod table;
mod walk;

pub use calibrate::{Calibration, calibrate};
pub use comparer::{Compared, Comparer, Memory, NoTrajectories, OWNED_LABEL, Passed, Trajectories};
pub use divergence::{Divergence, Kind, Severity, Signature};
pub use events::EventSequences;
pub use oracles::{Breach, EventStream, Exchange, ORACLES, Oracle, Witness, breaches_beyond};
pub use path::Path;
pub use relation::{Relation, TextPattern, Within};
pub use report::{
    CallCounts, Example, Finding, Findings, Known, ReasonCount, Report, RuleCount, SideInfo, Suppressed,
    Verdict,
};
pub use rules::{ListOrder, ListRule, Problem, ProblemKind, Rule, RuleCheck, Rules, RulesCheck, RulesError};
pub use suppressed::{SuppressedExample, render_suppressed};
pub use table::render as render_table;
