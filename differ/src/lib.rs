//! What counts as different.
//!
//! Compares what a runtime answered now with what was recorded: outcomes first, then which fields are there, then their
//! values, then order. How a field is compared is said by [`Rules`], data with a reason for every line; what no rule explains is
//! a [`Divergence`], and divergences of one [`Signature`] make one [`Finding`] of a [`Report`]. Nothing here opens a tape or a
//! socket: it is handed messages.
//!
//! Start from [`Comparer`] and [`Report`].

mod baseline;
mod calibrate;
mod comparing;
mod events;
mod forms;
pub mod mutation;
mod oracles;
mod report;
mod rules;

pub use baseline::{Accepted, Baseline, BaselineError, BaselineUse, EntryUse, write_baseline};
pub use calibrate::{Calibration, calibrate};
pub use comparing::comparer::{
    CHECK_POD, Change, Compared, Comparer, Memory, NoTrajectories, OWNED_LABEL, Passed, Trajectories,
};
pub use comparing::lateness::is_beyond_lateness;
pub use comparing::path::Path;
pub use events::event_fields::event_kind;
pub use events::{EVENT_SEQUENCE, EventSequences};
pub use forms::{Color, Form, FormError, explain, render_limitations, repeat};
pub use oracles::{Against, Breach, EventStream, Exchange, ORACLES, Observer, Oracle, breaches_beyond};
pub use report::causes::Objects;
pub use report::divergence::{Divergence, Kind, Severity, Signature, Subject};
pub use report::evidence::{EarlierCall, Evidence, Ids, MAX_BEFORE, Timeline, TimelineCall, Witness};
pub use report::findings::Findings;
pub use report::known::{Judgement, Known};
pub use report::latency::{SlowCall, Timed};
pub use report::limitation::{Effect, Limitation, LimitationKind};
pub use report::suppressed::{SuppressedExample, render_suppressed};
pub use report::timing::{Clocks, Times, Timing};
pub use report::{
    CallCounts, Example, Finding, MethodCount, ReasonCount, Report, RuleCount, RuleText, SideInfo,
    Suppressed, Verdict,
};
pub use rules::relation::{Relation, TextPattern, Within};
pub use rules::severity::{FixedRule, fixed_rules};
pub use rules::{ListOrder, ListRule, Problem, ProblemKind, Rule, RuleCheck, Rules, RulesCheck, RulesError};
